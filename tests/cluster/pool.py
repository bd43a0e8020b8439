"""Somebody who deploys servers to a pool of simulated GPUs, and what else is there."""

import contextlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from tests.cluster.plane import Access, ControlPlane
from tests.cluster.simulated import GPU
from tests.cluster.user import RELEASE, User
from tests.waiting import wait_until

IMAGE = f"triton-test/none@sha256:{'0' * 64}"
VALUES = {"rollout": {"minReadySeconds": 0}}


@attrs.frozen
class Owner:
    """Who deploys servers with GPUs, and looks where they are."""

    user: User
    values: Path

    def command(self, *options: str) -> list[str]:
        """Return the task that deploys."""
        return ["deploy-triton", f"--values={self.values}", f"--image={IMAGE}", *(f"--set={each}" for each in options)]

    def deploy(self, *options: str) -> str:
        """Deploy, which must succeed, and return what was printed."""
        return self.user.succeed(*self.command(*options))

    def refused(self, *options: str) -> str:
        """Deploy, which must be refused before anything changes, and return what was printed."""
        before = self.state()
        done = self.user.invoke(*self.command(*options))
        assert done.returncode == 1, done.stdout
        assert "Nothing was changed." in done.stdout
        assert self.state() == before
        return done.stdout

    def state(self) -> tuple[str, str]:
        """Return what changes with each deployment."""
        revisions = self.user.kubectl("get", "secret", "--selector=owner=helm", "--output=name")
        return revisions, self.user.kubectl("get", "deployment", "--output=jsonpath={.items[*].metadata.generation}")

    def pods(self) -> list[dict[str, Any]]:
        """Return the servers' pods."""
        return found(self.user.plane, "pods", f"-n{self.user.namespace}", f"-lapp.kubernetes.io/instance={RELEASE}")

    def nodes(self) -> list[str]:
        """Return the node of each of them."""
        return [pod["spec"]["nodeName"] for pod in self.pods()]


@contextlib.contextmanager
def space(plane: ControlPlane) -> Iterator[str]:
    """Give the name of a namespace that is not there yet, and remove it with all that is in it."""
    name = f"triton-test-{secrets.token_hex(4)}"
    try:
        yield name
    finally:
        # While somebody still ends the pods of its nodes; the namespace itself takes longer than all else.
        gone = ("--all", "--cascade=foreground", "--timeout=60s")
        plane.kubectl("--namespace", name, "delete", "deployments,pods", *gone)
        plane.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


@contextlib.contextmanager
def owning(plane: ControlPlane, folder: Path) -> Iterator[Owner]:
    """Give an owner with a namespace of their own."""
    values = folder / "values.json"
    values.write_text(json.dumps(VALUES))
    with space(plane) as name:
        yield Owner(User(plane=plane, namespace=name), values)


def gpu_pod(name: str, *, node: str = "", gpus: int = 1) -> dict[str, Any]:
    """Return a pod with GPUs, on one node if that is named."""
    container = {"name": "main", "image": "triton-test/none:1", "resources": {"limits": {GPU: str(gpus)}}}
    spec: dict[str, Any] = {"containers": [container], "tolerations": [{"key": GPU, "operator": "Exists"}]}
    chosen = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec | chosen}


def deployment(name: str, labels: dict[str, str], replicas: int, spec: dict[str, Any]) -> dict[str, Any]:
    """Return a Deployment."""
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def create(plane: Access, namespace: str, *objects: dict[str, Any]) -> None:
    """Create *objects*."""
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    plane.kubectl("--namespace", namespace, "create", "--filename=-", stdin=json.dumps(listed))


def found(plane: Access, kind: str, *which: str) -> list[dict[str, Any]]:
    """Return objects of the cluster."""
    answer = json.loads(plane.kubectl("get", kind, *which, "--output=json"))
    items: list[dict[str, Any]] = answer.get("items", [answer])
    return items


def names(pods: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the names of pods."""
    return {pod["metadata"]["name"] for pod in pods}


def row(said: str, name: str) -> str:
    """Return what stands beside *name* in a table that a task printed."""
    beside = re.search(rf"^ *{name}  +(.*?) *$", said, re.MULTILINE)
    assert beside is not None, said
    return beside[1]


def wait_for(what: str, look: Callable[[], object], expected: object, *, within_s: float = 60) -> None:
    """Wait until *look* gives what is expected."""
    seen: list[object] = []

    def as_expected() -> bool:
        seen[:] = [look()]
        return seen == [expected]

    wait_until(as_expected, what, within_s=within_s, every_s=0.5, told=lambda: f"It is {seen[0]}, not {expected}.")
