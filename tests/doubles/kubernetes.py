"""Kubernetes' objects as its API gives them, as small as they can be, and a cluster that answers by a script."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import yaml

from scripts.cluster.release.rollout import Show
from scripts.cluster.target import Where
from scripts.host.clock import Clock
from scripts.host.shell import Command, Completed

Object = dict[str, Any]
GPU = "nvidia.com/gpu"
NAME, DIGEST = "triton-infer", "sha256:" + "a" * 64
WHERE = Where(context="here", server="https://api.example")


def deployment(*, image: str = "one", replicas: int = 1, gpus: int = 0, surge: int = 0, **pod: Any) -> Object:
    """Return a Deployment as a chart renders it."""
    limits = {"memory": "1Gi"} | ({GPU: gpus} if gpus else {})
    container = {"name": "triton", "image": image, "resources": {"limits": limits}}
    labels = {"app.kubernetes.io/instance": NAME}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": 0 if surge else 1}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], **pod}},
        },
    }


def secret(key: str) -> Object:
    """Return a Secret as a chart renders it; *key* is in base64."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{NAME}-admin"}, "data": {"key": key}}


def text(*objects: Object) -> str:
    """Return *objects* as Helm prints them."""
    return "\n---\n".join(yaml.safe_dump(each) for each in objects)


def node(name: str = "gpu-1", *, gpus: int = 1, labels: Mapping[str, str] | None = None, **spec: Any) -> Object:
    """Return a node."""
    allocatable = {"cpu": "8", "memory": "32Gi"} | ({GPU: str(gpus)} if gpus else {})
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": spec,
        "status": {"allocatable": allocatable},
    }


def holder(name: str, *, on: str | None, gpus: int = 1, namespace: str = "other", phase: str = "Running") -> Object:
    """Return a pod that holds GPUs on a node; those in the namespace ``triton`` belong to the release."""
    labels = {"app.kubernetes.io/instance": NAME} if namespace == "triton" else {}
    container = {"name": "c", "resources": {"limits": {GPU: str(gpus)}}}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": on, "containers": [container]} if on else {"containers": [container]},
        "status": {"phase": phase},
    }


def rollout(
    *pods: Object,
    wanted: int = 1,
    whole: bool = False,
    available: int = 0,
    conditions: Sequence[Object] = (),
    failures: Mapping[str, Object] | None = None,
) -> Object:
    """Return Deployment, ReplicaSets (with the conditions *failures*) and pods; the ReplicaSet 2 is the new one."""
    counts = {"replicas": wanted, "updatedReplicas": wanted, "availableReplicas": wanted if whole else available}
    return {
        "items": [
            {
                "kind": "Deployment",
                "metadata": {"name": NAME, "uid": "d", "generation": 2},
                "spec": {"replicas": wanted, "template": _template("2")},
                "status": {"observedGeneration": 2, **counts, "conditions": list(conditions)},
            },
            *(
                {
                    "kind": "ReplicaSet",
                    "metadata": {"name": f"{NAME}-{n}", "uid": n, **_owner("d")},
                    "spec": {"template": _template(n, hashed=True)},
                    "status": {"conditions": [failures[n]] if failures and n in failures else []},
                }
                for n in ("1", "2")
            ),
            *pods,
        ]
    }


def pod(name: str, *, of: str = "2", ready: bool = False, leaving: bool = False, **status: Any) -> Object:
    """Return a pod of the ReplicaSet *of*, with *status* as the API gives it."""
    conditions = [{"type": "Ready", "status": str(ready)}, *status.pop("conditions", ())]
    gone = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if leaving else {}
    return {
        "kind": "Pod",
        "metadata": {"name": name, **_owner(of), **gone},
        "spec": {"nodeName": "gpu-1"},
        "status": {"conditions": conditions, **status},
    }


def container(*, restarts: int = 0, **states: Any) -> Object:
    """Return a container's status; ``state=`` and ``lastState=`` are the API's."""
    return {"name": "triton", "restartCount": restarts, **states}


def event(about: str, reason: str, message: str, *, warning: bool = True, uid: str = "e") -> Object:
    """Return an event."""
    return {
        "metadata": {"uid": uid, "name": uid},
        "involvedObject": {"name": about},
        "reason": reason,
        "message": message,
        "type": "Warning" if warning else "Normal",
    }


def _owner(uid: str) -> Object:
    return {"ownerReferences": [{"uid": uid}]}


def _template(image: str, *, hashed: bool = False) -> Object:
    labels = {"a": "b"} | ({"pod-template-hash": image} if hashed else {})
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"image": image}]}}


@attrs.define
class Time:
    """A clock that only sleeping moves."""

    seconds: float = 0.0

    @property
    def clock(self) -> Clock:
        """The clock."""
        return Clock(now=lambda: self.seconds, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.seconds += seconds


@attrs.define
class Lines:
    """Keeps the lines that a person would see."""

    lines: list[str] = attrs.field(factory=list)

    @property
    def show(self) -> Show:
        """Where progress goes."""
        return Show(line=self.lines.append, status=lambda _: None)


Plain = str | Object | Completed | BaseException
# An answer may be made when it is asked for: then something may happen in the cluster meanwhile.
Answer = Plain | Callable[[], Plain]


@attrs.define(kw_only=True)
class Cluster:
    """Runs kubectl and helm by a script: what a command answers, by the words that it begins with.

    The options for context, namespace and time do not count. Of a list each answer is given once, the last for ever.

    Attributes:
        answers: The answers by those words; the longest that fit count.
        ran: What was run, without those options.
        failing: What happens to commands that change something, by their first words.
    """

    answers: dict[str, Answer | list[Answer]]
    ran: list[str] = attrs.field(factory=list)
    commands: list[Command] = attrs.field(factory=list)

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:
        """Answer."""
        assert timeout_s > 0
        left_out = ("--context", "--server=", "--kube-context", "--kube-apiserver", "--namespace=", "--request-timeout")
        line = " ".join(word for word in command.argv if not word.startswith(left_out))
        self.ran.append(line)
        self.commands.append(command)
        fitting = [words for words in self.answers if line.startswith(words)]
        assert fitting, f"no answer to: {line}"
        answer = self.answers[max(fitting, key=len)]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer()
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Completed):
            return answer
        return Completed(status=0, output=answer if isinstance(answer, str) else json.dumps(answer))

    def stream(self, command: Command, *, show: Callable[[str], None]) -> Completed:
        """Answer, line by line."""
        done = self.capture(command)
        for line in done.output.splitlines():
            show(line)
        return done

    @property
    def changes(self) -> list[str]:
        """The commands that change something, their first words only."""
        return list(self._changes())

    def _changes(self) -> Iterator[str]:
        for line in self.ran:
            words = line.split()
            if words[:2] in (["helm", "rollback"], ["helm", "uninstall"], ["helm", "repo"]):
                yield " ".join(word for word in words[:4] if not word.startswith("--"))
            elif words[:2] == ["helm", "upgrade"] and "--dry-run=server" not in words:
                yield "helm upgrade"
            elif words[:3] == ["kubectl", "annotate", "namespace"]:
                yield " ".join(words[:4])


def failed(said: str) -> Completed:
    """Return the end of a program that failed."""
    return Completed(status=1, output=said, errors=said)
