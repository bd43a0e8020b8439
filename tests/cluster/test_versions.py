"""Versions on the pods of a release: promoted under traffic, rolled back, kept by every pod that comes later.

In order: the tests share one release. Shown with -rP: what became of the calls, and what the tasks printed.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from tests.cluster.deployment import Deployment, Offer, deployment
from tests.cluster.model_store import ModelStore, model_store
from tests.cluster.node import Node
from tests.cluster.traffic import Totals, Traffic, traffic
from tests.cluster.user import RELEASE, ROOT
from tests.waiting import wait_until

# Of what a test does itself: what it stands on may have to be built first.
pytestmark = pytest.mark.timeout(240, func_only=True)
LEAST = 2000
# The chart's own pauses and its one replica: what shortens other tests is no default.
DEFAULTS = ("preStopSeconds=10", "exitTimeoutSeconds=30", "rollout.minReadySeconds=5", "replicas=1")
OPTIONS = [f"--set={each}" for each in DEFAULTS]


@pytest.fixture(scope="module")
def store(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelStore]:
    """Give an S3 with an empty model store."""
    with model_store(node.plane, folder=tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture(scope="module")
def deployed(
    node: Node, offer: Offer, store: ModelStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Deploy one pod whose image has versions 1 and 2; version 3 is published."""
    folder = tmp_path_factory.mktemp("own")
    values = folder / "values.json"
    values.write_text(json.dumps(json.loads(offer.values.read_text()) | {"agent": store.values}))
    store.publish(offer.models, model=offer.model, version=3)
    with deployment(node.plane, attrs.evolve(offer, values=values), restricted=True) as found:
        own = {**store.settings, "TRITON_PLAN_FILE": str(folder / "serving.yaml")}
        made = attrs.evolve(found, user=attrs.evolve(found.user, inside=node.plane.inside, own=own))
        made.deployed(*OPTIONS)
        yield made


@pytest.fixture
def calls(deployed: Deployment, node: Node) -> Iterator[Traffic]:
    """Call the pods by the name of their Service; nobody names a version."""
    url = f"dns:///{RELEASE}-headless.{deployed.user.namespace}.svc.cluster.local:8001"
    log = node.plane.folder / "logs" / "traffic.log"
    with log.open("ab") as stream, traffic(node.inside, url, model=deployed.offer.model, log=stream) as running:
        yield running


def pods(of: Deployment) -> dict[str, tuple[str, int]]:
    """Return each pod's uid, and how often its containers were started anew."""
    selector = f"--selector=app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=server"
    found = json.loads(of.user.kubectl("get", "pods", selector, "--output=json"))["items"]
    return {
        pod["metadata"]["name"]: (
            pod["metadata"]["uid"],
            sum(
                each["restartCount"]
                for kind in ("initContainerStatuses", "containerStatuses")
                for each in pod["status"].get(kind, ())
            ),
        )
        for pod in found
        if "deletionTimestamp" not in pod["metadata"]
    }


def change(of: Deployment, task: str, *arguments: str) -> str:
    """Run promote or rollback, which must succeed, and return what it printed."""
    said = of.user.succeed(task, f"--model={of.offer.model}", *arguments)
    sys.stdout.write(said)
    return said


def state(of: Deployment, pod: str) -> dict[str, Any]:
    """Return what a pod's agent says of the model."""
    path = f"/api/v1/namespaces/{of.user.namespace}/pods/{pod}:8003/proxy/v1/state"
    found: dict[str, Any] = json.loads(of.user.kubectl("get", f"--raw={path}"))
    return found


def served(of: Deployment) -> dict[str, list[int]]:
    """Return the versions that each pod that is ready serves."""
    found = {}
    for pod in of.pods():
        versions = state(of, pod)["models"][of.offer.model]["versions"]
        found[pod] = sorted(int(number) for number, one in versions.items() if one["phase"] == "serving")
    return found


def none_failed(totals: Totals, *, least: int) -> None:
    """Check that no caller saw a failure."""
    sys.stdout.write(f"{totals}\n")
    assert totals.failed == 0, totals.errors
    assert totals.calls >= least


def test_a_new_version_under_traffic_drops_nothing_and_restarts_nothing(deployed: Deployment, calls: Traffic) -> None:
    """One pod, the chart's pauses: version 3, which the image does not have, answers within seconds."""
    before = pods(deployed)
    assert calls.until(100).versions.keys() == {2}
    said = change(deployed, "promote", "--version=3")
    assert re.search(r"get version 3 since \d+\.\d\d s after the order", said), said
    during = calls.until(LEAST)
    none_failed(during, least=LEAST)
    assert during.versions.keys() <= {2, 3}
    assert calls.until(100).versions.keys() == {3}
    assert pods(deployed) == before
    assert list(served(deployed).values()) == [[2, 3]]


def test_what_is_served_can_be_seen(deployed: Deployment) -> None:
    """In the versions' table, in the status, in the smoke test, and in the file for git."""
    said = deployed.user.succeed("versions", "--json")
    found = {each["version"]: each for each in json.loads(said[said.index("[\n") :])}
    assert {n: (each["in_store"], each["in_image"], each["planned"]) for n, each in found.items()} == {
        1: (False, True, None),
        2: (False, True, "serve"),
        3: (True, False, "serve"),
    }
    assert (found[3]["served"], found[3]["servers"], found[3]["stable"], found[3]["source"]) == (1, 1, True, "store")
    assert found[3]["requests"] > 100
    told = deployed.user.succeed("status")
    assert re.search(rf"^ *plan +generation 1: {deployed.offer.model} 2, 3 *$", told, re.MULTILINE), told
    (pod,) = deployed.pods()
    assert re.search(rf"^ *{pod} +ok +serves generation 1 *$", told, re.MULTILINE), told
    smoked = deployed.user.succeed("smoke-test", f"--repository={deployed.offer.models}")
    assert re.search(r"ok +pod +serving plan +serves generation 1", smoked), smoked
    written = yaml.safe_load(Path(deployed.user.own["TRITON_PLAN_FILE"]).read_text())
    assert written["models"][deployed.offer.model]["digests"]["3"] == found[3]["sha256"]


def test_the_successor_of_a_pod_serves_what_was_rolled_back_to(deployed: Deployment) -> None:
    """The plan is the release's, so it outlives the pod."""
    change(deployed, "rollback")
    (pod,) = deployed.pods()
    assert served(deployed) == {pod: [1, 2]}
    deployed.user.kubectl("delete", "pod", pod, "--grace-period=1")
    wait_until(lambda: deployed.pods().keys() - {pod} != set(), "a new pod", within_s=90, every_s=0.5)
    assert served(deployed) == {name: [1, 2] for name in deployed.pods()}
    assert deployed.ask() == "2"


def test_a_pod_that_comes_during_a_promotion_serves_it_too(deployed: Deployment) -> None:
    """Two pods, of which one was not there when the promotion began; neither is restarted."""
    with running(deployed, "promote", "--version=3") as task:
        task.until("takes the plan")
        deployed.user.kubectl("scale", f"deployment/{RELEASE}", "--replicas=2")
        task.ends(0)
    wait_until(lambda: len(deployed.pods()) == 2, "two pods", within_s=90, every_s=0.5)
    wait_until(
        lambda: list(served(deployed).values()) == [[2, 3], [2, 3]], "both serve", within_s=120, every_s=1,
        told=lambda: str(served(deployed)),
    )  # fmt: skip
    assert [restarts for _, restarts in pods(deployed).values()] == [0, 0]


def test_a_pod_that_goes_silent_takes_the_change_back_on_all(deployed: Deployment) -> None:
    """Its agent stops in the middle: the other pod serves again what it served, and so does the release."""
    first, second = sorted(deployed.pods())
    before = pods(deployed)
    with running(deployed, "rollback", "--to=2") as task:
        task.until("goes into revision")
        with stopped(deployed, second):
            said = task.ends(1)
    assert f"{second} does not answer" in said
    assert "Everything is put back" in said
    assert served(deployed)[first] == [2, 3]
    assert deployed.ask(version=3) == "3"
    wait_until(lambda: served(deployed).get(second) == [2, 3], "the other one too", within_s=150, every_s=1)
    assert {name: uid for name, (uid, _) in pods(deployed).items()} == {name: uid for name, (uid, _) in before.items()}


def test_an_upgrade_of_the_image_keeps_what_was_promoted(deployed: Deployment, tmp_path: Path) -> None:
    """By somebody who has not got the commit with the plan; it has version 3, and would serve 1 as well."""
    elsewhere = attrs.evolve(
        deployed, user=attrs.evolve(deployed.user, own={**deployed.user.own, "TRITON_PLAN_FILE": str(tmp_path / "no")})
    )
    before, quick = deployed.pods(), "--set=replicas=1"  # and without the chart's pauses
    said = elsewhere.deployed(quick, image=deployed.offer.successor)
    assert "It stays; --take-back deploys the files' plan instead" in said
    assert not deployed.pods().keys() & before.keys()
    assert list(served(deployed).values()) == [[2, 3]]
    assert deployed.ask() == "3"
    assert "unchanged" in elsewhere.deployed(quick, image=deployed.offer.successor)
    deployed.user.succeed("destroy-triton", "--yes")
    assert deployed.contents() == set()


@attrs.frozen
class Task:
    """A task that runs."""

    process: subprocess.Popen[str]
    said: list[str]

    def until(self, words: str) -> None:
        """Read on until it says something."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if words in line:
                return
        pytest.fail("".join(self.said))

    def ends(self, status: int) -> str:
        """Wait until it has ended so, and return what it said."""
        assert self.process.stdout is not None
        self.said.extend(self.process.stdout)
        said = "".join(self.said)
        sys.stdout.write(said)
        assert self.process.wait(10) == status, said
        return said


@contextlib.contextmanager
def running(of: Deployment, task: str, *arguments: str) -> Iterator[Task]:
    """Run promote or rollback beside the block."""
    with subprocess.Popen(
        of.user.command(task, f"--model={of.offer.model}", *arguments),
        cwd=ROOT,
        env=of.user.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield Task(process, [])
        finally:
            process.terminate()


@contextlib.contextmanager
def stopped(of: Deployment, pod: str) -> Iterator[None]:
    """Stop a pod's agent, as if its node hung; it goes on after the block."""
    found = json.loads(of.user.kubectl("get", "pod", pod, "--output=json"))["status"]["initContainerStatuses"]
    container = next(each["containerID"].partition("://")[2] for each in found if each["name"] == "agent")
    numbers = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cgroup")
        if container in _text(path) and int(path.parent.name) > 1
    ]
    assert numbers, container
    for number in numbers:
        _signal(number, signal.SIGSTOP)
    try:
        yield
    finally:
        for number in numbers:
            _signal(number, signal.SIGCONT)


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


def _signal(number: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, what)
