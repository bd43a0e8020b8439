"""Three hundred answers that the API did not give, at calls that chance picks: no good deployment is rolled back."""

import json
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import attrs
import pytest

from scripts.cluster.helm import Helm
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.patience import Patience
from scripts.cluster.pod_checks import check_pods
from scripts.cluster.release import destroy
from scripts.cluster.release.chart import Chart, Installation
from scripts.cluster.release.deploy import Deployer
from scripts.cluster.status.look import look
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.host.settings import ROOT, load
from scripts.host.shell import Command, Completed
from scripts.registry.reference import Reference
from scripts.server.result import Result
from tests.doubles import cluster as running
from tests.doubles.kubernetes import (
    DIGEST,
    WHERE,
    Answer,
    Cluster,
    Lines,
    Time,
    deployment,
    failed,
    node,
    pod,
    rollout,
    text,
)
from tests.unit.cluster.test_patience import AWAY

INJECTED = 300
SHARE = 0.25
TARGET = Target()


@attrs.define(kw_only=True)
class Flaky(Cluster):
    """A cluster with a release, whose API is away at some calls; of a change it may be the answer only that is lost.

    Attributes:
        chance: Picks the calls.
        injected: How many answers were not given.
        revisions: The states of the release's revisions.
        image: The image that is deployed.
    """

    chance: random.Random
    injected: int = 0
    revisions: list[str] = attrs.field(factory=lambda: ["deployed"])

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:
        """Answer, or not."""
        changes = command.argv[0] == "helm" and command.argv[1] in ("upgrade", "rollback", "uninstall")
        changes = changes and "--dry-run=server" not in command.argv
        assert timeout_s > 0
        online = any(word.startswith(("--server=", "--kube-apiserver=")) for word in command.argv)
        online = online and command.argv[1] != "template" and "--client" not in command.argv  # which ask nobody
        if not online or self.chance.random() > SHARE:
            return self._answer(command, changes=changes)
        self.injected += 1
        if changes and self.chance.random() < 0.5:
            self._answer(command, changes=changes)
        return failed(self.chance.choice(AWAY))

    def _answer(self, command: Command, *, changes: bool) -> Completed:
        if changes:
            verb = command.argv[1]
            self.revisions = [] if verb == "uninstall" else [*["superseded"] * len(self.revisions), "deployed"]
        if command.argv[:2] == ("helm", "history"):
            if not self.revisions:
                return failed("Error: release: not found")
            entries = [{"revision": n, "status": s} for n, s in enumerate(self.revisions, 1)]
            return Completed(status=0, output=json.dumps(entries))
        if "--dry-run=server" in command.argv:
            return Completed(status=0, output=json.dumps({"manifest": text(deployment(image="two")), "config": {}}))
        if command.argv[0] == "kubectl" and command.stdin:
            asked = json.loads(command.stdin.reveal())["items"]
            return Completed(status=0, output="\n".join(['{"kind": "X", "status": {"allowed": true}}'] * len(asked)))
        return Cluster.capture(self, command)


DONE = rollout(pod("new", ready=True), whole=True)
SERVING = {"items": [running.pod("new")]}
ANSWERS: dict[str, Answer | list[Answer]] = {
    "kubectl version --client": {"clientVersion": {"gitVersion": "v1.34.0"}},
    "kubectl get --raw=/version": {"gitVersion": "v1.33.1"},
    "kubectl get --raw=/apis": {"groups": [{"name": "apps", "versions": [{"version": "v1"}]}]},
    "kubectl get namespace": "namespace/triton",
    "kubectl get namespace triton --output=json": {"metadata": {}},
    "kubectl get nodes": {"items": [node()]},
    "kubectl get pods": SERVING,
    "kubectl get deployments,replicasets,pods": DONE,
    "kubectl get deployments/": {"kind": "List", "items": [deployment()]},
    "kubectl get deployments --selector": {"items": []},
    "kubectl get deployment triton-infer": deployment(),
    "kubectl get deployment.v1.apps": "",
    "kubectl get events": {"items": []},
    "kubectl get horizontalpodautoscalers": {"items": []},
    "kubectl get secret": failed("Error from server (NotFound): secrets not found"),
    "kubectl annotate": "",
    "kubectl delete": "",
    "helm version": "v4.3.1",
    "helm template": text(deployment(image="two")),
    "helm upgrade": "",
    "helm uninstall": "",
    "helm get manifest": text(deployment()),
    "helm get hooks": "",
    "helm get values": "{}",
}


def no_ports(*_: object, **__: object) -> AbstractContextManager[Any]:
    """Forward nothing."""
    raise TaskFailure("none here")


def reaching(cluster: Flaky) -> tuple[Kubectl, Helm, Patience, Time]:
    """Return what asks *cluster*."""
    time = Time()
    patience = Patience(clock=time.clock)
    kubectl = Kubectl(cluster, where=WHERE, namespace="triton", patience=patience)
    return kubectl, Helm(cluster, where=WHERE, namespace="triton", patience=patience), patience, time


def deploy(cluster: Flaky) -> None:
    """Deploy another image."""
    _, _, patience, time = reaching(cluster)
    deployer = Deployer(
        target=TARGET,
        where=WHERE,
        installation=Installation(chart=Chart(name="chart"), image=Reference.parse(f"127.0.0.1:5000/x@{DIGEST}")),
        settings=load(ROOT / "no-such-folder", environ={}),
        runner=cluster,
        show=Lines().show,
        patience=patience,
        clock=time.clock,
    )
    assert deployer.deploy(timeout_s=900).revision == 2
    assert cluster.revisions == ["superseded", "deployed"]


def status(cluster: Flaky) -> None:
    """Look."""
    kubectl, helm, _, _ = reaching(cluster)
    assert look(kubectl, helm, TARGET, progress=lambda _: None, forward=no_ports).pods


def smoke_test(cluster: Flaky) -> None:
    """Check the pods."""
    kubectl, _, _, _ = reaching(cluster)
    done = Result(check="x", subject="x", state="ok", figure="")
    forward = running.no_forwarding
    results = check_pods(
        kubectl, TARGET, repository=Path("r"), all_pods=False, progress=lambda _: None, forward=forward,
        check=lambda *_, **__: iter([done]),
    )  # fmt: skip
    assert [result.state for result in results] == ["ok", "skipped"]


def destroy_triton(cluster: Flaky) -> None:
    """Remove all."""
    kubectl, helm, _, time = reaching(cluster)
    removal = destroy.plan(helm, TARGET)
    assert removal is not None
    destroy.remove(removal, kubectl=kubectl, helm=helm, progress=lambda _: None, clock=time.clock)
    assert cluster.revisions == []


@pytest.mark.parametrize("task", [deploy, status, smoke_test, destroy_triton])
def test_no_answer_that_is_missing_makes_a_task_fail(task: Callable[[Flaky], None]) -> None:
    """Nor is anything rolled back, for which it would not be enough that the task succeeds."""
    injected, seed = 0, 0
    while injected < INJECTED:
        cluster = Flaky(answers=dict(ANSWERS), chance=random.Random(seed))
        task(cluster)
        injected, seed = injected + cluster.injected, seed + 1
        assert not [change for change in cluster.changes if "rollback" in change]
