"""Remove a deployment, and make sure that nothing of it is left."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from scripts.cluster.helm import Helm, Revision
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.objects import Rendered
from scripts.cluster.release.change import HELM_TIMEOUT_S, uninstall
from scripts.cluster.says import ClusterFailure
from scripts.cluster.target import CREATED_BY, Target
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.host.shell import Command

# What Helm leaves where an object asks for it.
_KEEP = "helm.sh/resource-policy"
# Beside what the chart has: what Kubernetes makes of it.
_MADE = (("v1", "Pod"), ("apps/v1", "ReplicaSet"))
# Every namespace has these.
_EVERYWHERE = {"serviceaccount/default", "configmap/kube-root-ca.crt"}
# Listed like objects, but gone with what they tell about.
_NO_OBJECTS = ("events", "events.events.k8s.io", "pods.metrics.k8s.io")
INTERVAL_S = 1.0
# Beyond the grace period of the pods, in seconds.
PATIENCE_S = 60.0
_SHOWN = 10


@attrs.frozen(kw_only=True)
class Removal:
    """What will be removed.

    Attributes:
        target: The release.
        revision: Its last revision.
        rendered: Its objects.
    """

    target: Target
    revision: Revision
    rendered: Rendered

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
    def grace_s(self) -> int:
        """How long a pod may take to end, in seconds."""
        return max((int(w.pod.get("terminationGracePeriodSeconds", 30)) for w in self.rendered.workloads), default=30)

    @property
    def resources(self) -> tuple[str, ...]:
        """The kinds that can be left over, as kubectl takes them."""
        return tuple(sorted(resource(*kind) for kind in {*self.rendered.kinds, *_MADE}))

    def commands(self, kubectl: Kubectl, helm: Helm) -> list[Command]:
        """Return what `remove` runs."""
        return [helm.uninstall(self.target.release), kubectl.command(*self._left())]

    def _left(self) -> tuple[str, ...]:
        return ("get", ",".join(self.resources), f"--selector={self.target.owned}", "--output=name")


def plan(helm: Helm, target: Target) -> Removal | None:
    """Return what there is to remove; None where there is no release.

    Raises:
        TaskFailure: If the cluster cannot be asked.
    """
    revisions = helm.history(target.release)
    if not revisions or revisions[-1].status == "uninstalled":  # with a history that was kept
        return None
    return Removal(target=target, revision=revisions[-1], rendered=Rendered.parse(helm.manifest(target.release)))


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
    while left := [name for name in leftovers(kubectl, removal) if _short(*name.split("/", 1)) not in kept]:
        if left != told:
            progress(f"Waiting for {listed(left)} (a pod may take its grace period of {removal.grace_s} s)")
            told = left
        if clock.now() > deadline:
            raise TaskFailure(
                f"The release {release} is uninstalled, but this is still there: {listed(left)}.\n"
                f"`{kubectl.command('describe', left[0])}` says why (a finalizer? a node that is gone?); "
                f"this removes it by force:\n  {kubectl.command('delete', *left, '--force', '--grace-period=0')}"
            )
        clock.sleep(INTERVAL_S)


def leftovers(kubectl: Kubectl, removal: Removal) -> list[str]:
    """Return what still bears the label of the release, as ``KIND/NAME``."""
    selector = f"--selector={removal.target.owned}"
    try:
        return _names(kubectl, ",".join(removal.resources), selector)
    except ClusterFailure as error:
        if not _is_unseen(error):
            raise
    # One kind that the cluster does not know any more, or that we may not see, fails them all.
    found: list[str] = []
    for kind in removal.resources:
        try:
            found += _names(kubectl, kind, selector)
        except ClusterFailure as error:
            if not _is_unseen(error):
                raise
    return found


def is_ours(kubectl: Kubectl, namespace: str) -> bool:
    """Say whether deploy-triton made the namespace, and it is there still."""
    try:
        found: Mapping[str, Any] = kubectl.json("get", "namespace", namespace, doing=f"read the namespace {namespace}")
    except ClusterFailure as error:
        if error.cause not in ("not found", "forbidden"):
            raise
        return False
    metadata = found["metadata"]
    return CREATED_BY in (metadata.get("annotations") or {}) and "deletionTimestamp" not in metadata


def inhabitants(kubectl: Kubectl) -> list[str]:
    """Return what is in the namespace, as ``KIND/NAME``, but for what every namespace has.

    Raises:
        ClusterFailure: If that cannot be told for every kind of object.
    """
    doing = "look for what else is in the namespace"
    listed = kubectl.text("api-resources", "--verbs=list", "--namespaced", "--output=name", doing=doing).split()
    kinds = ",".join(kind for kind in listed if kind not in _NO_OBJECTS)
    return [name for name in _names(kubectl, kinds, doing=doing) if name not in _EVERYWHERE]


def settle_namespace(
    kubectl: Kubectl,
    target: Target,
    *,
    wanted: bool,
    agree: Callable[[str], bool],
    progress: Callable[[str], None],
) -> str:
    """Remove the namespace of a removed release if that is wanted and does no harm.

    Args:
        kubectl: The cluster.
        target: The release that was there.
        wanted: Whether the removal is asked for already.
        agree: Puts a question to a person; false where there is nobody to ask.
        progress: Takes a line for each stage.

    Returns:
        What became of the namespace; empty where that is nobody's concern.

    Raises:
        TaskFailure: If the cluster cannot be asked, or the namespace may not be removed, or stays.
    """
    name = target.namespace
    if not is_ours(kubectl, name):
        return f"The namespace {name} was not made by deploy-triton, or is gone: it is left as it is." if wanted else ""
    if others := inhabitants(kubectl):
        return f"The namespace {name} stays, since this is in it: {listed(others)}."
    if wanted or agree(f"Remove the namespace {name}, which deploy-triton made, too?"):
        remove_namespace(kubectl, name, progress=progress)
        return f"The namespace {name} is removed."
    return f"The empty namespace {name} stays; `invoke destroy-triton{target.options} --with-namespace` removes it."


def remove_namespace(kubectl: Kubectl, namespace: str, *, progress: Callable[[str], None]) -> None:
    """Remove the namespace and wait until it is gone.

    Raises:
        TaskFailure: If it may not be removed, or stays.
    """
    progress(f"Removing the namespace {namespace}")
    command = delete_namespace(kubectl, namespace)
    done = kubectl.patience.ask(lambda: kubectl.runner.capture(command, timeout_s=HELM_TIMEOUT_S + 30))
    if done.status:
        raise TaskFailure(f"The namespace {namespace} was not removed: {(done.errors or done.output).strip()}")


def delete_namespace(kubectl: Kubectl, namespace: str) -> Command:
    """Return the command that removes the namespace and waits."""
    return kubectl.command("delete", "namespace", namespace, "--ignore-not-found", f"--timeout={HELM_TIMEOUT_S:.0f}s")


def resource(version: str, kind: str) -> str:
    """Return a kind as kubectl takes it, so that it is no other group's: ``deployment.v1.apps``."""
    group, _, number = version.rpartition("/")
    return f"{kind}.{number}.{group}".lower()


def _names(kubectl: Kubectl, kinds: str, *options: str, doing: str = "look for what is left") -> list[str]:
    return kubectl.text("get", kinds, *options, "--output=name", doing=doing).split()


def _is_unseen(error: ClusterFailure) -> bool:
    return error.cause == "forbidden" or "have a resource type" in str(error)


def _is_kept(found: Mapping[str, Any]) -> bool:
    return (found["metadata"].get("annotations") or {}).get(_KEEP) == "keep"


def _short(kind: str, name: str) -> str:
    return f"{kind.partition('.')[0].lower()}/{name}"


def listed(names: Iterable[str]) -> str:
    """Return names in a line, and how many more there are."""
    found = list(names)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{', '.join(found[:_SHOWN])}{more}"
