"""What becomes of the namespace of a release that is removed."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scripts.cluster.kubectl import Kubectl
from scripts.cluster.release.change import HELM_TIMEOUT_S
from scripts.cluster.release.left import listed, names
from scripts.cluster.says import ClusterFailure
from scripts.cluster.target import CREATED_BY, Target
from scripts.host.errors import TaskFailure
from scripts.host.shell import Command

# Every namespace has these.
_EVERYWHERE = {"serviceaccount/default", "configmap/kube-root-ca.crt"}
# Listed like objects, but gone with what they tell about.
_NO_OBJECTS = ("events", "events.events.k8s.io", "pods.metrics.k8s.io")


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


def inhabitants(kubectl: Kubectl, *, without: str = "") -> list[str]:
    """Return what is in the namespace, as ``KIND/NAME``, but for what every namespace has.

    Args:
        kubectl: Set to the namespace.
        without: Leave out what has these labels.

    Raises:
        ClusterFailure: If that cannot be told for every kind of object.
    """
    doing = "look for what else is in the namespace"
    listed = kubectl.text("api-resources", "--verbs=list", "--namespaced", "--output=name", doing=doing).split()
    kinds = ",".join(kind for kind in listed if kind not in _NO_OBJECTS)
    found = names(kubectl, kinds, doing=doing)
    leaving = set(names(kubectl, kinds, f"--selector={without}", doing=doing)) if without else set()
    return [name for name in found if name not in _EVERYWHERE | leaving]


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
        return _not_ours(name) if wanted else ""
    if obstacle := _obstacle(kubectl, target):
        return obstacle
    if wanted or agree(f"Remove the namespace {name}, which deploy-triton made, too?"):
        remove_namespace(kubectl, name, progress=progress)
        return f"The namespace {name} is removed."
    return f"The empty namespace {name} stays; `invoke destroy-triton{target.options} --with-namespace` removes it."


def intended(kubectl: Kubectl, target: Target, *, gone: Iterable[str]) -> str:
    """Return the command that would remove the namespace after the release, or why it would stay.

    Args:
        kubectl: The cluster.
        target: The release, which may still be there.
        gone: What goes with it, beside what has its label, as ``KIND/NAME``.

    Raises:
        TaskFailure: If the cluster cannot be asked.
    """
    if not is_ours(kubectl, target.namespace):
        return _not_ours(target.namespace)
    return _obstacle(kubectl, target, gone=gone) or str(delete_namespace(kubectl, target.namespace))


def _not_ours(name: str) -> str:
    return f"The namespace {name} was not made by deploy-triton, or is gone: it is left as it is."


def _obstacle(kubectl: Kubectl, target: Target, *, gone: Iterable[str] | None = None) -> str:
    """Return why the namespace must stay, now or when *gone* and all with the release's label is gone; or nothing."""
    name = target.namespace
    try:
        others = inhabitants(kubectl, without="" if gone is None else target.owned)
    except ClusterFailure as error:
        if error.cause != "forbidden":
            raise
        remove = delete_namespace(kubectl, name)
        return (
            f"The namespace {name} stays, because this login may not see all that may be in it. "
            f"If somebody who may sees that the namespace is empty, this removes it:\n  {remove}"
        )
    own = f"secret/sh.helm.release.v1.{target.release}.v"
    leaving = set(gone or ())
    others = [each for each in others if gone is None or not (each in leaving or each.startswith(own))]
    return f"The namespace {name} stays, because this is in it: {listed(others)}." if others else ""


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
