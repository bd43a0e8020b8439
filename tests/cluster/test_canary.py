"""A canary over the two pods of a release: what callers see decides, and the cluster keeps how far it is.

In order: the tests share one release. Shown with -rP: what became of the calls, and what the tasks printed.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import onnx
import pytest

from scripts.packaging.package import package
from scripts.sources.source import Source
from tests.cluster.deployment import Deployment, Offer, deployment
from tests.cluster.model_store import ModelStore, model_store
from tests.cluster.node import Node
from tests.cluster.traffic import Traffic, traffic
from tests.cluster.user import RELEASE, ROOT
from tests.doubles import small_classifiers
from tests.doubles.brittle_models import FATAL, brittle
from tests.waiting import wait_until

# Of what a test does itself: what it stands on may have to be built first.
pytestmark = pytest.mark.timeout(240, func_only=True)
GOOD, BRITTLE = 4, 5
EXPIRES_S = 15
CONFIG = f"""
every = 1
expires = {EXPIRES_S}
shadow = 0
[[steps]]
share = 0.2
calls = 60
seconds = 8
[[steps]]
share = 0.5
calls = 200
seconds = 8
[limits]
calibration = 300
slower = 4
"""


@pytest.fixture(scope="module")
def store(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelStore]:
    """Give an S3 with an empty model store."""
    with model_store(node.plane, folder=tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture(scope="module")
def deployed(
    node: Node, offer: Offer, store: ModelStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Deploy two pods that serve versions 1 and 2; a good version is published, and one that fails for some images."""
    folder = tmp_path_factory.mktemp("own")
    models = shutil.copytree(offer.models, folder / "models")
    for version, model in (
        (GOOD, small_classifiers.packaged(seed=2)),
        (BRITTLE, brittle(small_classifiers.packaged(seed=2), pixels="input")),
    ):
        path = folder / f"{version}.onnx"
        onnx.save(model, path)
        package(Source.onnx(path), model=offer.model, repository=models, version=version, progress=lambda _: None)
        store.publish(models, model=offer.model, version=version)
    values = folder / "values.json"
    values.write_text(json.dumps(json.loads(offer.values.read_text()) | {"agent": store.values}))
    (folder / "canary.toml").write_text(CONFIG)
    with deployment(node.plane, attrs.evolve(offer, values=values), restricted=True) as found:
        own = {**store.settings, "TRITON_PLAN_FILE": str(folder / "serving.yaml"), "XDG_STATE_HOME": str(folder)}
        made = attrs.evolve(found, user=attrs.evolve(found.user, inside=node.plane.inside, own=own))
        made.deployed("--set=replicas=2")
        yield made


@pytest.fixture(scope="module")
def calls(deployed: Deployment, node: Node) -> Iterator[Traffic]:
    """Call the pods by the name of their Service as their traffic plan says, with images that `brittle` cannot bear."""
    name = f"{RELEASE}-headless.{deployed.user.namespace}.svc.cluster.local"
    log = node.plane.folder / "logs" / "traffic-canary.log"
    with (
        log.open("ab") as stream,
        traffic(
            node.inside, f"dns:///{name}:8001", model=deployed.offer.model, log=stream,
            plan=f"http://{name}:8003", brightest=FATAL,
        ) as running,
    ):  # fmt: skip
        yield running


def command(of: Deployment, version: int) -> list[str]:
    """Return the task of a canary."""
    config = Path(of.user.own["TRITON_PLAN_FILE"]).with_name("canary.toml")
    return ["canary", f"--model={of.offer.model}", f"--version={version}", f"--config={config}", "--for=3m"]


def canary(of: Deployment, version: int, status: int) -> str:
    """Run a canary, which must end so, and return what it printed."""
    done = of.user.invoke(*command(of, version), within_s=200)
    sys.stdout.write(done.stdout)
    assert done.returncode == status, done.stdout
    return done.stdout


def served(of: Deployment) -> list[tuple[list[int], int | None]]:
    """Return the versions that each pod that is ready serves, and its candidate."""
    found = []
    for pod in of.pods():
        path = f"/api/v1/namespaces/{of.user.namespace}/pods/{pod}:8003/proxy/v1/state"
        model = json.loads(of.user.kubectl("get", f"--raw={path}"))["models"][of.offer.model]
        versions = sorted(int(number) for number, one in model["versions"].items() if one["phase"] == "serving")
        found.append((versions, model["candidate"] and model["candidate"]["version"]))
    return found


def kept(of: Deployment) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the traffic plan and the log that the cluster keeps."""
    data = json.loads(of.user.kubectl("get", "configmap", f"{RELEASE}-plan", "--output=json"))["data"]
    return json.loads(data[f"traffic.{of.offer.model}.json"]), json.loads(data[f"canary.{of.offer.model}.json"])


def test_a_good_version_is_promoted_on_every_pod(deployed: Deployment, calls: Traffic) -> None:
    """Step by step; no call fails, no pod is restarted, and everybody gets it then."""
    before = deployed.pods()
    assert calls.until(100).versions.keys() == {2}
    said = canary(deployed, GOOD, 0)
    assert re.search(rf"get version {GOOD} since \d+\.\d\d s after the order", said), said
    during = calls.taken()
    sys.stdout.write(f"{during}\n")
    assert (during.failed, set(during.versions)) == (0, {2, GOOD}), during.errors
    assert calls.until(100).failed == 0
    wait_until(lambda: calls.until(100).versions.keys() == {GOOD}, "the plan to be over for all", within_s=5)
    assert served(deployed) == [([2, GOOD], None)] * 2
    assert deployed.pods() == before
    plan, log = kept(deployed)
    assert (plan["routes"], log["verdict"]) == ({}, "promoted")
    assert [one["decision"] for one in log["decisions"]] == ["begin", "pass", "begin", "pass", "promote"]


def test_status_shows_what_callers_saw_and_what_each_pod_measures(deployed: Deployment, calls: Traffic) -> None:
    """Reports of both pods' agents together, by version; and the percentiles of each pod's own Triton."""
    made = calls.until(100)
    sys.stdout.write(deployed.user.succeed("status"))
    found = deployed.status()
    told = {one["version"]: one for one in found["callers"] if one["model"] == deployed.offer.model}
    assert told.keys() == {"2", str(GOOD)}
    for one in told.values():
        assert one["calls"] >= 100
        assert one["failures"] == {}
        assert 0.5 < one["latency_ms"]["p50"] <= one["latency_ms"]["p95"] <= one["latency_ms"]["p99"] < 1000
    assert made.failed == 0
    assert len(found["servers"]) == 2
    for server in found["servers"]:
        (latency,) = [one["latency_ms"] for one in server["versions"] if one["version"] == str(GOOD)]
        assert 0.1 < latency["p50"] <= latency["p95"] <= latency["p99"] < 1000


def test_a_deployment_and_a_rollback_leave_the_log_alone(deployed: Deployment) -> None:
    """Nothing of it is taken for a change by hand."""
    plan, log = kept(deployed)
    assert "by hand" not in deployed.deployed("--set=replicas=2")
    deployed.user.succeed("rollback", f"--model={deployed.offer.model}", "--to=2")
    assert kept(deployed) == (plan, log)
    assert served(deployed) == [([2], None)] * 2


def test_a_bad_version_is_taken_back_on_every_pod(deployed: Deployment, calls: Traffic) -> None:
    """Nobody but its own callers notices."""
    calls.taken()
    assert calls.until(100).versions.keys() == {2}
    said = canary(deployed, BRITTLE, 1)
    assert f"All calls go to version 2 again. Version {BRITTLE} is taken away." in said
    during = calls.until(100)
    sys.stdout.write(f"{during}\n")
    assert 0 < during.failed < 0.4 * during.calls
    assert set(during.versions) == {2}
    assert all("reshape" in error.lower() for error in during.errors), during.errors
    assert served(deployed) == [([2], None)] * 2
    plan, log = kept(deployed)
    assert (plan["routes"], log["verdict"]) == ({}, "aborted")
    assert calls.until(100).failed == 0


def test_a_job_judges_in_the_cluster_though_its_judge_is_killed(deployed: Deployment, calls: Traffic) -> None:
    """With the release's own image and no more rights than it needs: its next pod goes on, and promotes."""
    before = deployed.pods()
    calls.taken()
    with running(deployed, GOOD, "--job") as process:
        wait_until(lambda: GOOD in calls.until(20).versions, "calls of the candidate", within_s=120)
        time.sleep(EXPIRES_S / 2)  # until it has renewed its plan, and its log with it
        os.kill(judge(deployed), signal.SIGKILL)
        said, _ = process.communicate(timeout=150)
    sys.stdout.write(said)
    assert process.returncode == 0, said
    assert "This goes on with the canary that was looked at last at" in said
    assert f"Version {GOOD} of flowers has passed all steps. All calls go to version {GOOD}." in said
    during = calls.taken()
    sys.stdout.write(f"{during}\n")
    assert (during.failed, set(during.versions)) == (0, {2, GOOD}), during.errors
    wait_until(lambda: calls.until(100).versions.keys() == {GOOD}, "the plan to be over for all", within_s=5)
    assert served(deployed) == [([2, GOOD], None)] * 2
    assert deployed.pods() == before
    plan, log = kept(deployed)
    assert (plan["routes"], log["verdict"]) == ({}, "promoted")
    wait_until(lambda: "canary" not in rights(deployed), "its rights to go")


def test_helm_goes_on_from_what_the_job_wrote(deployed: Deployment) -> None:
    """A deployment finds that nothing differs from what Helm makes, and nothing changed by hand; Helm can read it."""
    number, status = deployed.revision()
    assert status == "deployed"
    values = json.loads(deployed.helm("get", "values", RELEASE, "--output=json"))
    assert values["models"]["flowers"]["serve"] == [2, GOOD]
    assert "by hand" not in deployed.deployed("--set=replicas=2")
    assert deployed.revision() == (number, "deployed")
    deployed.helm("rollback", RELEASE, str(number), "--server-side=true")
    assert served(deployed) == [([2, GOOD], None)] * 2
    deployed.user.succeed("rollback", f"--model={deployed.offer.model}", "--to=2")
    assert served(deployed) == [([2], None)] * 2


def test_a_job_that_is_removed_takes_everything_back(deployed: Deployment, calls: Traffic) -> None:
    """Its judge has a name and rights until then, and gives them back; who has followed it is told."""
    before = served(deployed)
    calls.taken()
    with running(deployed, GOOD, "--job") as process:
        wait_until(lambda: GOOD in calls.until(20).versions, "calls of the candidate", within_s=120)
        (name,) = deployed.user.kubectl("get", "jobs", "--output=name").split()
        deployed.user.kubectl("delete", name)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert "was removed. What its judge has begun, it takes back." in said
    wait_until(lambda: "canary" not in rights(deployed), "its rights to go", within_s=60)
    assert served(deployed) == before
    plan, log = kept(deployed)
    assert (plan["routes"], log["verdict"], log["decisions"][-1]["why"]) == ({}, "ended", "It was stopped.")
    assert calls.taken().failed == 0
    assert calls.until(100).versions.keys() == {2}
    assert deployed.revision()[1] == "deployed"


def test_another_machine_goes_on_with_the_canary_of_a_judge_that_was_killed(
    deployed: Deployment, calls: Traffic, tmp_path: Path
) -> None:
    """Its plan is over by itself; what it knew stands in the cluster."""
    with running(deployed, GOOD) as process:
        wait_until(lambda: GOOD in calls.until(20).versions, "calls of the candidate", within_s=90)
        time.sleep(EXPIRES_S / 2)  # until it has renewed its plan, and its log with it
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: calls.until(50).versions.keys() == {2}, "the plan to be over", within_s=EXPIRES_S + 30)
    elsewhere = attrs.evolve(
        deployed, user=attrs.evolve(deployed.user, own={**deployed.user.own, "XDG_STATE_HOME": str(tmp_path)})
    )
    said = canary(elsewhere, GOOD, 0)
    assert "This goes on with the canary that was looked at last at" in said
    assert served(deployed) == [([2, GOOD], None)] * 2
    assert calls.until(100).failed == 0


def test_a_removal_leaves_nothing_of_it(deployed: Deployment) -> None:
    """Plan and log go with the release."""
    deployed.user.succeed("destroy-triton", "--yes")
    assert deployed.contents() == set()


@contextlib.contextmanager
def running(of: Deployment, version: int, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a canary beside the block."""
    with subprocess.Popen(
        of.user.command(*command(of, version), *options),
        cwd=ROOT,
        env=of.user.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def rights(of: Deployment) -> str:
    """Return who has rights in the namespace, and which."""
    return of.user.kubectl("get", "roles,rolebindings,serviceaccounts", "--output=name")


def judge(of: Deployment) -> int:
    """Return the process of the judge in its pod, as this machine numbers it."""
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0") if process.name.isdecimal() else []
            if b"scripts.canary" in words and any(of.user.namespace.encode() in word for word in words):
                return int(process.name)
    raise AssertionError("no judge runs")
