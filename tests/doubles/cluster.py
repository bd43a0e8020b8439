"""A cluster that answers by a script, and a kubectl that forwards ports by one."""

import contextlib
import json
import queue
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import attrs

from scripts.cluster.helm import Helm
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.target import Target
from scripts.host.shell import Command, Completed, Running
from tests.doubles.runners import Script

TARGET = Target()
FORWARDS = [
    f"Forwarding from 127.0.0.1:{here} -> {there}" for here, there in ((41000, 8000), (41001, 8001), (41002, 8002))
]
DEPLOYED = [{"revision": 3, "status": "deployed", "chart": "triton-0.1.0", "updated": "2026-01-02T03:04:05.6+00:00"}]
SELECTED = f"kubectl --namespace=triton get pods --selector={TARGET.selector}"


class Cluster(Script):
    """A runner whose failures speak on standard error, as kubectl and helm do."""

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:
        """Answer."""
        done = super().capture(command, timeout_s=timeout_s)
        return Completed(status=done.status, output="", errors=done.output) if done.status else done

    @property
    def kubectl(self) -> Kubectl:
        """The kubectl of this cluster."""
        return Kubectl(self, namespace="triton")

    @property
    def helm(self) -> Helm:
        """The helm of this cluster."""
        return Helm(self, namespace="triton")

    def asked(self) -> list[str]:
        """Return the commands that were run."""
        return [str(command) for command in self.ran]


def items(*found: Mapping[str, Any]) -> tuple[int, str]:
    """Return the answer that lists *found*."""
    return 0, json.dumps({"items": found})


def pod(name: str = "a", *, ready: bool = True, gpus: int = 0, **status: object) -> dict[str, Any]:
    """Return a pod as the API gives it: running, unless *status* says otherwise."""
    state = {
        "name": "triton", "ready": ready, "started": True, "restartCount": 0,
        "state": {"running": {}}, "imageID": f"r/x@sha256:{'1' * 64}",
    }  # fmt: skip
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": "n", "containers": [{"name": "triton", "resources": {"limits": limits}}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [state],
            **status,
        },
    }


@contextlib.contextmanager
def no_forwarding(*_: object, **__: object) -> Iterator[Any]:
    """Give ports that lead nowhere, for checks that ask nobody."""
    yield SimpleNamespace(endpoint=lambda _: None, trouble="", restarts=0)


class FakeForward(Running):
    """A kubectl that forwards ports: it prints *lines*, and ends after them where the last is None."""

    def __init__(self, lines: Sequence[str | None]) -> None:
        self.printed: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.stopped = self.ended = False
        for line in lines:
            self.printed.put(line)

    def line(self, *, timeout_s: float) -> str | None:
        """Return the next line."""
        try:
            line = self.printed.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            self.ended = True
            self.printed.put(None)
        return line

    def poll(self) -> int | None:
        """Return a status, once its end was seen."""
        return 1 if self.ended else None

    def stop(self) -> None:
        """End."""
        self.stopped = True
        self.printed.put(None)


@attrs.frozen
class Forwards:
    """Starts scripted kubectls, one after the other.

    Attributes:
        scripts: What each prints.
        commands: What was started.
        started: The kubectls.
    """

    scripts: Sequence[Sequence[str | None]]
    commands: list[Command] = attrs.field(factory=list)
    started: list[FakeForward] = attrs.field(factory=list)

    def __call__(self, command: Command) -> Running:
        """Start the next."""
        fake = FakeForward(self.scripts[len(self.started)])
        self.commands.append(command)
        self.started.append(fake)
        return fake
