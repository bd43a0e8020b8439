"""Remove a deployment, and make sure that nothing of it is left."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from scripts.cluster.helm import Helm, Revision
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.objects import Rendered
from scripts.cluster.release.change import uninstall
from scripts.cluster.release.left import leftovers, listed, why_it_stays
from scripts.cluster.target import Target
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.host.shell import Command

# What Helm leaves where an object asks for it.
_KEEP = "helm.sh/resource-policy"
# Beside what the chart has: what Kubernetes makes of it.
_MADE = (("v1", "Pod"), ("apps/v1", "ReplicaSet"))
INTERVAL_S = 1.0
# Beyond the grace period of the pods, in seconds.
PATIENCE_S = 60.0


@attrs.frozen(kw_only=True)
class Removal:
    """What will be removed.

    Attributes:
        target: The release.
        revision: Its last revision.
        rendered: Its objects.
        hooks: What its tests make, as ``KIND/NAME``: Helm does not count that among its objects.
    """

    target: Target
    revision: Revision
    rendered: Rendered
    hooks: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Say in a line what this is."""
        state = f", {self.revision.status}" if self.revision.status != "deployed" else ""
        return (
            f"To be removed: release {self.target.release}, revision {self.revision.number}{state}, "
            f"in the namespace {self.target.namespace}."
        )

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """Kind and name of each object, and what becomes of it."""
        found = [
            (o["kind"], o["metadata"]["name"], "kept: it asks for that" if _is_kept(o) else "")
            for o in self.rendered.objects
        ]
        return sorted(found)

    @property
    def names(self) -> list[str]:
        """What goes with it, as ``KIND/NAME``."""
        own = (o for o in self.rendered.objects if not _is_kept(o))
        return [*map(_named, own), *self.hooks]

    @property
    def grace_s(self) -> int:
        """How long a pod may take to end, in seconds."""
        return max((int(w.pod.get("terminationGracePeriodSeconds", 30)) for w in self.rendered.workloads), default=30)

    @property
    def resources(self) -> tuple[str, ...]:
        """The kinds that can be left over, as kubectl takes them."""
        return tuple(sorted(resource(*kind) for kind in {*self.rendered.kinds, *_MADE}))

    def commands(self, kubectl: Kubectl, helm: Helm) -> list[Command]:
        """Return what `remove` runs."""
        left = ("get", ",".join(self.resources), f"--selector={self.target.owned}", "--output=name")
        forgotten = [kubectl.command(*self.forgotten)] if self.hooks else []
        return [helm.uninstall(self.target.release), *forgotten, kubectl.command(*left)]

    @property
    def forgotten(self) -> tuple[str, ...]:
        """What kubectl shall do to remove the hooks."""
        return ("delete", *self.hooks, "--ignore-not-found", "--wait=false")


def plan(helm: Helm, target: Target) -> Removal | None:
    """Return what there is to remove; None where there is no release.

    Raises:
        TaskFailure: If the cluster cannot be asked.
    """
    revisions = helm.history(target.release)
    if not revisions or revisions[-1].status == "uninstalled":  # with a history that was kept
        return None
    rendered, hooks = Rendered.parse(helm.manifest(target.release)), Rendered.parse_hooks(helm.hooks(target.release))
    return Removal(target=target, revision=revisions[-1], rendered=rendered, hooks=tuple(map(_named, hooks)))


def remove(
    removal: Removal, *, kubectl: Kubectl, helm: Helm, progress: Callable[[str], None], clock: Clock | None = None
) -> None:
    """Uninstall the release and wait until all that belonged to it is gone.

    Raises:
        TaskFailure: If Helm fails, or something stays; the message names it and says what to do.
    """
    clock = clock or Clock()
    release = removal.target.release
    progress(f"Uninstalling {release}")
    uninstall(helm, release)
    kept = {_short(o["kind"], o["metadata"]["name"]) for o in removal.rendered.objects if _is_kept(o)}
    deadline = clock.now() + removal.grace_s + PATIENCE_S
    told: list[str] = []
    if removal.hooks:
        # Helm forgets what its tests made, and a test that failed leaves its pod.
        kubectl.text(*removal.forgotten, doing="remove what the tests made")
    kinds, owned = removal.resources, removal.target.owned
    own = {_short(*name.split("/", 1)) for name in removal.names}
    if stayed := [n for n in leftovers(kubectl, kinds, owned) if _short(*n.split("/", 1)) in own]:
        # Helm forgets a release even if the API has not taken each of its orders.
        kubectl.text("delete", *stayed, "--ignore-not-found", "--wait=false", doing="remove what Helm has left")
    while left := [n for n in leftovers(kubectl, kinds, owned) if _short(*n.split("/", 1)) not in kept]:
        if left != told:
            progress(f"Waiting for {listed(left)} (a pod may take its grace period of {removal.grace_s} s)")
            told = left
        if clock.now() > deadline:
            raise TaskFailure(
                f"The release {release} is uninstalled, but this is still there: {listed(left)}.\n"
                f"{why_it_stays(kubectl, left)}"
            )
        clock.sleep(INTERVAL_S)


def resource(version: str, kind: str) -> str:
    """Return a kind as kubectl takes it, so that it is no other group's: ``deployment.v1.apps``."""
    group, _, number = version.rpartition("/")
    return f"{kind}.{number}.{group}".lower()


def _named(found: Mapping[str, Any]) -> str:
    """Return an object's name as ``kubectl --output=name`` prints it."""
    group, kind = str(found["apiVersion"]).rpartition("/")[0], str(found["kind"]).lower()
    return f"{kind}.{group}/{found['metadata']['name']}" if group else f"{kind}/{found['metadata']['name']}"


def _is_kept(found: Mapping[str, Any]) -> bool:
    return (found["metadata"].get("annotations") or {}).get(_KEEP) == "keep"


def _short(kind: str, name: str) -> str:
    return f"{kind.partition('.')[0].lower()}/{name}"
