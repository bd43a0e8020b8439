"""What is left of a release, why it does not go, and what makes it go."""

from collections.abc import Iterable, Mapping
from typing import Any

from scripts.cluster.kubectl import Kubectl
from scripts.cluster.says import ClusterFailure

_SHOWN = 10


def names(kubectl: Kubectl, kinds: str, *options: str, doing: str = "look for what is left") -> list[str]:
    """Return what is there of some kinds, as ``KIND/NAME``.

    Raises:
        ClusterFailure: If the cluster cannot be asked.
    """
    return kubectl.text("get", kinds, *options, "--output=name", doing=doing).split()


def is_unseen(error: ClusterFailure) -> bool:
    """Say whether a kind is one that the cluster does not know, or that this login may not look at."""
    return error.cause == "forbidden" or "have a resource type" in str(error)


def leftovers(kubectl: Kubectl, kinds: Iterable[str], selector: str) -> list[str]:
    """Return what there is of *kinds* with the labels *selector*, as ``KIND/NAME``."""
    kinds, chosen = tuple(kinds), f"--selector={selector}"
    try:
        return names(kubectl, ",".join(kinds), chosen)
    except ClusterFailure as error:
        if not is_unseen(error):
            raise
    # One kind that the cluster does not know any more, or that we may not see, fails them all.
    found: list[str] = []
    for kind in kinds:
        try:
            found += names(kubectl, kind, chosen)
        except ClusterFailure as error:
            if not is_unseen(error):
                raise
    return found


def why_it_stays(kubectl: Kubectl, left: Iterable[str]) -> str:
    """Return, line by line, why each object is still there, and the command that makes it go."""
    lines = []
    for name in list(left)[:_SHOWN]:
        try:
            found = kubectl.json("get", name, "--show-managed-fields", doing=f"look at {name}")
        except ClusterFailure as error:
            lines.append(str(error) if error.cause != "not found" else f"{name} is gone by now.")
            continue
        lines += _why(kubectl, name, found["metadata"])
    return "\n".join(lines)


def _why(kubectl: Kubectl, name: str, metadata: Mapping[str, Any]) -> list[str]:
    if finalizers := metadata.get("finalizers") or ():
        owner = _owner(metadata)
        by = f", which {owner} has put there" if owner else ""
        patch = kubectl.command("patch", name, "--type=merge", '--patch={"metadata":{"finalizers":null}}')
        # Without the order to go it would stay, with or without the finalizer.
        order = [] if "deletionTimestamp" in metadata else [f"  {kubectl.command('delete', name, '--wait=false')}"]
        return [
            f"{name} waits for the finalizer {', '.join(finalizers)}{by}: does its controller run, and what does its "
            "log say? If it is gone for good, this lets the object go, and what it would have cleaned up stays:",
            *order,
            f"  {patch}",
        ]
    if "deletionTimestamp" not in metadata:
        return [
            f"{name} has no order to go, because it is not of the release's chart. This removes it:",
            f"  {kubectl.command('delete', name)}",
        ]
    return [
        f"{name} has the order to go, and does not go: is its node lost? If it is, this removes the object:",
        f"  {kubectl.command('delete', name, '--force', '--grace-period=0')}",
    ]


def _owner(metadata: Mapping[str, Any]) -> str:
    """Return who has put the finalizers on an object, as the API has written it down."""
    managers = (
        each["manager"]
        for each in metadata.get("managedFields") or ()
        if "f:finalizers" in ((each.get("fieldsV1") or {}).get("f:metadata") or {})
    )
    return ", ".join(dict.fromkeys(managers))


def listed(names: Iterable[str]) -> str:
    """Return names in a line, and how many more there are."""
    found = list(names)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{', '.join(found[:_SHOWN])}{more}"
