"""What somebody changed or added by hand in the objects of a release, as the API has written down who set what."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from scripts.cluster.kubectl import Kubectl
from scripts.cluster.release.access import plural
from scripts.cluster.release.record import MANAGER

Object = Mapping[str, Any]
# Programs that set fields as a part of their work; `kubectl rollout restart` changes nothing that lasts.
_MACHINES = re.compile(
    rf"^(?:helm|{MANAGER}|kubectl-rollout|kubelet|kube-.*|argocd.*|flux.*|keda.*)$|controller|operator|autoscaler", re.I
)
_ABSENT = object()


@attrs.frozen(kw_only=True)
class Touch:
    """A field that somebody set by hand.

    Attributes:
        kind: The kind of the object.
        name: Its name.
        path: The field, as one would say it.
        pointer: The same as a JSON pointer (RFC 6901).
        by: The program that set it.
        added: Whether the chart has no such field: then deploying leaves it as it is.
    """

    kind: str
    name: str
    path: str
    pointer: str
    by: str
    added: bool

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.path} (by {self.by})"


def look(kubectl: Kubectl, wanted: Sequence[Object]) -> list[Object]:
    """Return the objects that the cluster has of *wanted*, with who set what.

    Raises:
        ClusterFailure: If the cluster cannot be asked.
    """
    names = {f"{plural(each['kind'])}/{each['metadata']['name']}" for each in wanted}
    command = ("get", *sorted(names), "--ignore-not-found", "--show-managed-fields", "--output=json")
    found = json.loads(kubectl.text(*command, doing="look at what is deployed") or '{"items": []}')
    objects: list[Object] = found.get("items", [found])
    return objects


def touches(wanted: Sequence[Object], found: Sequence[Object]) -> list[Touch]:
    """Return what somebody set by hand in *found*, where that is not what *wanted* says."""
    there = {_key(each): each for each in found}
    return [touch for each in wanted if _key(each) in there for touch in _of(each, there[_key(each)])]


def removal(kubectl: Kubectl, added: Sequence[Touch]) -> list[str]:
    """Return the commands that take out what was added by hand."""
    commands = []
    for kind, name in dict.fromkeys((touch.kind, touch.name) for touch in added):
        pointers = [touch.pointer for touch in added if (touch.kind, touch.name) == (kind, name)]
        # The last of a list first, so that the others stay where they are.
        patch = json.dumps([{"op": "remove", "path": pointer} for pointer in reversed(pointers)])
        commands.append(str(kubectl.command("patch", plural(kind), name, "--type=json", f"--patch={patch}")))
    return commands


def _key(found: Object) -> tuple[str, str]:
    return found["kind"], found["metadata"]["name"]


def _of(wanted: Object, found: Object) -> Iterator[Touch]:
    for entry in found["metadata"].get("managedFields") or ():
        if entry.get("subresource") or _MACHINES.search(entry.get("manager", "")):
            continue
        for path, pointer, added in _walk(entry.get("fieldsV1") or {}, wanted, found):
            kind, name = _key(found)
            yield Touch(kind=kind, name=name, path=path, pointer=pointer, by=entry["manager"], added=added)


def _walk(
    fields: Object, wanted: Any, found: Any, path: str = "", pointer: str = ""
) -> Iterator[tuple[str, str, bool]]:
    """Yield path, pointer and whether it was added, of each field of a managed set that is not as it is wanted."""
    for key, below in fields.items():
        if key == ".":
            continue
        step, at, there = _step(key, found)
        if there is _ABSENT:
            continue
        _, _, asked = _step(key, wanted)
        here, place = f"{path}{step}".removeprefix("."), f"{pointer}/{at}"
        if asked is _ABSENT:
            yield here, place, True
        elif below:
            yield from _walk(below, asked, there, here, place)
        elif asked != there:
            yield here, place, False


def _step(key: str, within: Any) -> tuple[str, str, Any]:
    """Return what a key of a managed set stands for in *within*: in words, as a part of a pointer, and its value."""
    kind, _, name = key.partition(":")
    if kind == "f":
        value = within.get(name, _ABSENT) if isinstance(within, Mapping) else _ABSENT
        return f".{name}", name.replace("~", "~0").replace("/", "~1"), value
    wanted = json.loads(name)
    shown = "/".join(map(str, wanted.values())) if isinstance(wanted, dict) else str(wanted)
    for index, item in enumerate(within if isinstance(within, Sequence) else ()):
        fits = wanted.items() <= item.items() if isinstance(wanted, dict) else item == wanted
        if fits:
            return f"[{shown}]", str(index), item
    return f"[{shown}]", "", _ABSENT
