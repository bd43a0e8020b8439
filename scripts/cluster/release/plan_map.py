"""The ConfigMap that the pods of a release read their plans from, as it is in the cluster."""

import json
from collections.abc import Mapping
from typing import Any, Protocol, Self

import attrs

from scripts.cluster.kubectl import Kubectl
from scripts.cluster.release.record import MANAGER
from scripts.cluster.says import explain
from scripts.cluster.serving import KEY
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret

# What the API answers if somebody else was faster.
_CHANGED = ("the object has been modified", "(Conflict)")


class Held(Protocol):
    """The ConfigMap at one moment, however it is reached."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def data(self) -> Mapping[str, str]:
        """Its keys."""

    def write(self, changes: Mapping[str, str]) -> bool:
        """Set some keys, if nothing has changed since it was read; return whether that is so."""


@attrs.frozen(kw_only=True)
class PlanMap:
    """The ConfigMap at one moment, reached by kubectl.

    Attributes:
        kubectl: Set to its namespace.
        name: Its name.
        version: What the API calls this state of it.
        data: Its keys.
    """

    kubectl: Kubectl
    name: str
    version: str
    data: Mapping[str, str]

    @classmethod
    def read(cls, kubectl: Kubectl, target: Target) -> Self:
        """Read it.

        Raises:
            TaskFailure: If there is none, or the cluster cannot be asked.
        """
        selector = f"--selector={target.owned}"
        for each in kubectl.json("get", "configmaps", selector, doing="read the plans")["items"]:
            if KEY in (data := each.get("data") or {}):
                meta = each["metadata"]
                return cls(kubectl=kubectl, name=meta["name"], version=meta["resourceVersion"], data=data)
        raise TaskFailure(f"Release {target.release} has no serving plan in the namespace {target.namespace}.")

    def write(self, changes: Mapping[str, str]) -> bool:
        """Set some keys, if nothing has changed since it was read; return whether that is so.

        The chart has no such keys, so Helm leaves them as they are, and they go with the release.

        Raises:
            ClusterFailure: If the cluster does not take it.
        """
        done = self.kubectl.run(
            *("patch", "configmap", self.name, "--type=merge", f"--field-manager={MANAGER}"),
            "--patch-file=/dev/stdin",
            stdin=Secret(json.dumps(patch_of(changes, version=self.version))),
        )
        if not done.status:
            return True
        if any(words in done.errors for words in _CHANGED):
            return False
        raise explain(done.errors or done.output, doing="write the traffic plan")


def patch_of(changes: Mapping[str, str], *, version: str) -> Mapping[str, Any]:
    """Return the merge patch that sets some keys, if the ConfigMap is still at *version*."""
    return {"metadata": {"resourceVersion": version}, "data": dict(changes)}
