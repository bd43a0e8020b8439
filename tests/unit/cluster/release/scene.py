"""A cluster on which a release is deployed, whose kubectl and helm answer by a script."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from scripts.cluster.patience import Patience
from scripts.cluster.release.chart import Chart, Installation
from scripts.cluster.release.deploy import Deployer
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.host.settings import ROOT, load
from scripts.host.shell import Command, Completed
from scripts.registry.reference import Reference
from tests.doubles.kubernetes import (
    DIGEST,
    NAME,
    WHERE,
    Answer,
    Cluster,
    Lines,
    Time,
    container,
    deployment,
    failed,
    node,
    pod,
    rollout,
    text,
)

DONE = rollout(pod("new", ready=True), whole=True)
MISSING = rollout(
    pod("new", containerStatuses=[container(state={"waiting": {"reason": "ErrImagePull", "message": "not found"}})])
)
UNSCHEDULED = pod(
    "new",
    conditions=[
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: no GPU."}
    ],
)
GROUPS = {"groups": [{"name": "apps", "versions": [{"version": "v1"}]}]}
NO_RELEASE = failed("Error: release: not found")


def crowded(*, ready: int, proven: bool, old: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    """Return a rollout of which *ready* pods are, and one more was asked for that no node takes."""
    message = f'ReplicaSet "{NAME}-2" has successfully progressed.'
    said = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": message}
    pods = [pod(f"ready-{n}", ready=True) for n in range(ready)]
    conditions = [said] if proven else []
    return rollout(*pods, UNSCHEDULED, *old, wanted=ready + 1, available=ready, conditions=conditions)


def autoscaler(*, least: int, most: int, keda: bool = False) -> dict[str, Any]:
    """Return what decides how many pods there are; of an API that every cluster here has."""
    kind, unit = ("ScaledObject", "ReplicaCount") if keda else ("HorizontalPodAutoscaler", "Replicas")
    spec = {"scaleTargetRef": {"name": NAME}, f"min{unit}": least, f"max{unit}": most}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": NAME}, "spec": spec}


def history(*statuses: str) -> str:
    """Return what `helm history` prints."""
    return json.dumps([{"revision": n, "status": s, "updated": "today"} for n, s in enumerate(statuses, 1)])


class World:
    """A cluster with a deployer; by default all is well, nothing is deployed yet, and the pods come up."""

    def __init__(self, *wanted: dict[str, Any], answers: Mapping[str, Any] | None = None) -> None:
        self.wanted = text(*(wanted or (deployment(),)))
        self.said = Lines()
        script: dict[str, Answer | list[Answer]] = {
            "kubectl version --client": {"clientVersion": {"gitVersion": "v1.34.0"}},
            "kubectl get --raw=/version": {"gitVersion": "v1.33.1"},
            "kubectl get --raw=/apis": GROUPS,
            "kubectl get namespace": "namespace/triton",
            "kubectl create": "{}",
            "kubectl get nodes": {"items": [node()]},
            "kubectl get pods": {"items": []},
            "kubectl get deployments,replicasets,pods": DONE,
            "kubectl get deployments/": {"kind": "List", "items": list(wanted or (deployment(),))},
            "kubectl get events": {"items": []},
            "kubectl get configmap": "",
            "kubectl annotate": "",
            "kubectl get deployments --selector": {"items": []},
            "helm version": "v4.3.1",
            "helm template": self.wanted,
            "helm history": [NO_RELEASE, history("deployed")],
            "helm upgrade": "",
            "helm rollback": "",
            "helm uninstall": "",
            "helm get manifest": self.wanted,
            "helm get values": "{}",
            "helm get hooks": "",
        }
        script.update(answers or {})
        self.cluster = _Helmsman(answers=script, rendered=self.wanted)
        self.deployer = Deployer(
            target=Target(),
            where=WHERE,
            installation=Installation(chart=Chart(name="chart"), image=Reference.parse(f"127.0.0.1:5000/x@{DIGEST}")),
            settings=load(ROOT / "no-such-folder", environ={}),
            runner=self.cluster,
            show=self.said.show,
            patience=Patience(clock=(time := Time()).clock, tell=self.said.lines.append),
            clock=time.clock,
        )

    def refused(self) -> str:
        """Deploy, which must be refused before anything is changed, and return the message."""
        with pytest.raises(TaskFailure) as raised:
            self.deployer.deploy(timeout_s=100)
        assert self.cluster.changes == []
        return str(raised.value)

    def fails(self) -> str:
        """Deploy, which must fail, and return the message."""
        with pytest.raises(TaskFailure) as raised:
            self.deployer.deploy(timeout_s=100)
        return str(raised.value)


class _Helmsman(Cluster):
    """Answers the simulated upgrade with what is rendered, and what asks for permissions with yes.

    Of several histories the next one holds as soon as Helm has changed something.
    """

    def __init__(self, *, answers: dict[str, Answer | list[Answer]], rendered: str) -> None:
        super().__init__(answers=answers)
        self.rendered = rendered
        self.denied: frozenset[str] = frozenset()

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:
        """Answer."""
        histories = self.answers["helm history"]
        if isinstance(histories, list) and command.argv[1] in ("upgrade", "rollback", "uninstall"):
            if len(histories) > 1 and "--dry-run=server" not in command.argv:
                histories.pop(0)
        elif isinstance(histories, list) and command.argv[:2] == ("helm", "history"):
            histories.insert(0, histories[0])  # it is read as often as one likes
        if "--dry-run=server" in command.argv:
            return Completed(status=0, output=json.dumps({"manifest": self.rendered, "config": {}}))
        if command.argv[0] == "kubectl" and command.stdin and "items" in json.loads(command.stdin.reveal()):
            asked = json.loads(command.stdin.reveal())["items"]
            verdicts = [
                {"kind": "X", "status": {"allowed": a["spec"]["resourceAttributes"]["resource"] not in self.denied}}
                for a in asked
            ]
            self.answers["kubectl create"] = "\n".join(map(json.dumps, verdicts))
        return super().capture(command, timeout_s=timeout_s)
