"""Deployments of an image that cannot run, stopped at many moments: what serves afterwards is what served before."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.deployment import Deployment, Offer, deployment
from tests.cluster.plane import Access, ControlPlane
from tests.cluster.registries import registry
from tests.cluster.user import RELEASE, ROOT
from tests.image.conftest import lack
from tests.image.ground import Missing

pytestmark = pytest.mark.timeout(2400, func_only=True)
NO_SUCH = f"triton@sha256:{'0' * 64}"
HELM, NEW_POD = rf"helm upgrade --install {RELEASE}", r"pod \S+ \(new\)"
# What is printed, and so many seconds after that; for each signal a little later than for the one before: 21 in all.
MOMENTS = [("image  ", 0.0), *((HELM, after_s) for after_s in (0.0, 0.5, 1.0, 1.7)), (NEW_POD, 0.0), (NEW_POD, 1.7)]
LATER_S = {signal.SIGTERM: 0.0, signal.SIGHUP: 0.15, signal.SIGKILL: 0.3}
WITHIN_S = 180.0


@pytest.fixture(scope="module")
def serving(access: Access, offer: Offer) -> Iterator[Deployment]:
    """Deploy one pod."""
    with deployment(access, offer, restricted=True) as made:
        made.deployed()
        yield made


@pytest.fixture(scope="module")
def broken(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return an image that no registry has."""
    try:
        with registry(plane, port=5082, login=False, folder=tmp_path_factory.mktemp("registry")) as address:
            yield f"{address}/{NO_SUCH}"
    except Missing as reason:
        lack(reason)


def stopped(on: Deployment, image: str, number: signal.Signals, *, after: str, wait_s: float) -> tuple[int, str]:
    """Deploy *image*, send the task (with SIGKILL: all that it started, too) a signal, and return how it ended."""
    with subprocess.Popen(
        [sys.executable, "-m", "invoke", *on.command(image=image)],
        cwd=ROOT,
        env=on.user.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as task:
        assert task.stdout is not None
        guard = threading.Timer(WITHIN_S, os.killpg, (task.pid, signal.SIGKILL))
        guard.start()
        said = ""
        for line in task.stdout:
            said += line
            if re.search(after, line):
                break
        time.sleep(wait_s)
        os.killpg(task.pid, number) if number == signal.SIGKILL else task.send_signal(number)
        said += task.stdout.read()
        guard.cancel()
    return task.returncode, said


@pytest.mark.parametrize("number", LATER_S, ids=lambda number: number.name)
def test_what_served_before_serves_afterwards(serving: Deployment, broken: str, number: signal.Signals) -> None:
    """At each moment; then after the same command again, which fails, and after one that deploys what was there."""
    before, stable = serving.pods(), serving.offer.versions[0]
    assert len(before) == 1

    def serves() -> None:
        assert serving.pods() == before
        assert serving.ask(version=stable) == str(stable)

    for after, wait_s in MOMENTS:
        status, said = stopped(serving, broken, number, after=after, wait_s=wait_s + LATER_S[number])
        if number != signal.SIGKILL:
            assert status == 130, said
            assert "Stopped." in said
        serves()
        again = serving.deploy(image=broken, within_s=WITHIN_S)
        assert again.returncode == 1, again.stdout
        assert "is deployed again and serves: 1 of 1" in again.stdout, again.stdout
        serves()
        serving.deployed()
        serves()
        assert serving.revision()[1] == "deployed"


def test_status_tells_what_never_became_ready(serving: Deployment, broken: str) -> None:
    """After a deployment that was killed; the next one mends it."""
    good, _ = serving.revision()
    stopped(serving, broken, signal.SIGKILL, after=NEW_POD, wait_s=1.0)
    assert f"revision {good + 1} never became ready; {good} serves" in serving.user.succeed("status")
    serving.deployed()
    assert "never became ready" not in serving.user.succeed("status")


def test_without_surge_the_image_is_there_before_the_old_pod_goes(
    serving: Deployment, broken: str, tmp_path: Path
) -> None:
    """One that cannot be had is found while the old pod serves, and no revision is made."""
    revision, pods = serving.revision(), serving.pods()
    values = tmp_path / "surge.yaml"
    values.write_text("rollout: {surge: false}\n", encoding="utf-8")
    done = serving.deploy(f"--values={values}", image=broken, within_s=WITHIN_S)
    assert done.returncode == 1
    assert "Pulling the image on" in done.stdout, done.stdout
    assert "Nothing was changed." in done.stdout, done.stdout
    assert (serving.revision(), serving.pods()) == (revision, pods)
