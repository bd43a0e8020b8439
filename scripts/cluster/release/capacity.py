"""Whether the cluster has the GPUs that a deployment asks for, and who has them if not."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import attrs

from scripts.cluster.objects import Workload, devices

Object = Mapping[str, Any]
_SHOWN = 8


@attrs.frozen(kw_only=True)
class Node:
    """A node, as far as it decides whether a pod fits.

    Attributes:
        name: Its name.
        labels: Its labels.
        taints: Its taints that keep pods away.
        cordoned: Whether it takes no new pods.
        allocatable: How many of each device it has.
    """

    name: str
    labels: Mapping[str, str]
    taints: Sequence[Object]
    cordoned: bool
    allocatable: Mapping[str, int]

    @classmethod
    def parse(cls, item: Object) -> Self:
        """Read a node as the API gives it."""
        spec, allocatable = item.get("spec") or {}, (item.get("status") or {}).get("allocatable") or {}
        return cls(
            name=item["metadata"]["name"],
            labels=item["metadata"].get("labels") or {},
            taints=[t for t in spec.get("taints") or () if t.get("effect") in ("NoSchedule", "NoExecute")],
            cordoned=bool(spec.get("unschedulable")),
            allocatable={k: int(v) for k, v in allocatable.items() if "/" in k and str(v).isdecimal()},
        )

    def keeps_away(self, pod: Object) -> str:
        """Return why a pod cannot run here, whatever is free; empty where it can."""
        if self.cordoned:
            return "cordoned"
        wanted = pod.get("nodeSelector") or {}
        if absent := [f"{k}={v}" for k, v in wanted.items() if self.labels.get(k) != str(v)]:
            return f"no label {', '.join(absent)}"
        required = ((pod.get("affinity") or {}).get("nodeAffinity") or {}).get(
            "requiredDuringSchedulingIgnoredDuringExecution"
        )
        if required and not any(self._matches(term) for term in required.get("nodeSelectorTerms") or ()):
            return "not chosen by the node affinity"
        tolerations = pod.get("tolerations") or ()
        if barring := [t["key"] for t in self.taints if not any(_tolerates(each, t) for each in tolerations)]:
            return f"taint {', '.join(barring)} is not tolerated"
        return ""

    def _matches(self, term: Object) -> bool:
        fields = {"metadata.name": self.name}
        return all(_holds(each, self.labels) for each in term.get("matchExpressions") or ()) and all(
            _holds(each, fields) for each in term.get("matchFields") or ()
        )


@attrs.frozen(kw_only=True)
class Holder:
    """A pod that holds devices on a node.

    Attributes:
        name: ``NAMESPACE/NAME``.
        node: The node.
        labels: Its labels.
        devices: How many of each device it holds.
    """

    name: str
    node: str
    labels: Mapping[str, str]
    devices: Mapping[str, int]

    @classmethod
    def parse_all(cls, items: Iterable[Object]) -> "list[Holder]":
        """Read those of the cluster's pods that hold devices: not those that have ended or have no node."""
        found = []
        for item in items:
            spec, metadata = item.get("spec") or {}, item["metadata"]
            held = devices(spec)
            if held and spec.get("nodeName") and (item.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
                name = f"{metadata.get('namespace', '')}/{metadata['name']}"
                labels = metadata.get("labels") or {}
                found.append(cls(name=name, node=spec["nodeName"], labels=labels, devices=held))
        return found


def overview(nodes: Sequence[Node], holders: Sequence[Holder]) -> str:
    """Return how many devices there are and how many are free, in a line; empty where there are none."""
    parts = []
    for device in sorted({name for node in nodes for name, count in node.allocatable.items() if count}):
        having = [node for node in nodes if node.allocatable.get(device)]
        total, held = sum(node.allocatable[device] for node in having), _by_node(holders, device).total()
        parts.append(
            f"{total} {device} on {len(having)} node{'s' if len(having) > 1 else ''}, {max(0, total - held)} free"
        )
    return "; ".join(parts)


def shortages(
    workload: Workload, *, namespace: str, replaced: bool, nodes: Sequence[Node], holders: Sequence[Holder]
) -> list[str]:
    """Return what keeps the workload's pods from running, for each device that is too scarce; what is known of it.

    Args:
        workload: What is to run.
        namespace: Where.
        replaced: Whether pods of it that run now are replaced, so that both must fit for a while.
        nodes: The cluster's nodes.
        holders: The pods that hold devices.
    """
    return [
        text
        for device, count in workload.devices.items()
        if (text := _shortage(workload, device, count, namespace, replaced, nodes, holders))
    ]


def _shortage(
    workload: Workload,
    device: str,
    count: int,
    namespace: str,
    replaced: bool,
    nodes: Sequence[Node],
    holders: Sequence[Holder],
) -> str:
    having = [node for node in nodes if node.allocatable.get(device)]
    if not having:
        return (
            f"No node has {device}, and each pod asks for {count}. Is the device plugin installed (for NVIDIA: "
            "k8s-device-plugin or the GPU operator), and is a GPU node there? Without GPUs: --cpu (gpu.enabled=false)."
        )
    kept = {node.name: why for node in having if (why := node.keeps_away(workload.pod))}
    fitting = [node for node in having if node.name not in kept]
    if not fitting:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(kept.items())[:_SHOWN])
        verb = "is" if len(having) == 1 else "are"
        return (
            f"There {verb} {_nodes(having)} with {device}, and none takes these pods ({reasons}). Correct "
            "nodeSelector, tolerations or affinity in the values, or label the nodes."
        )
    own: list[Holder] = []
    others: list[Holder] = []
    for holder in holders:
        is_own = holder.name.startswith(f"{namespace}/") and workload.selector.items() <= holder.labels.items()
        (own if is_own and workload.selector else others).append(holder)
    held, taken = _by_node(own, device), _by_node(others, device)
    free = {node.name: node.allocatable[device] - held[node.name] - taken[node.name] for node in fitting}
    at_last = sum(max(0, free[name] + held[name]) // count for name in free)
    extra = sum(max(0, number) // count for number in free.values())
    stuck = replaced and not workload.unavailable and extra < 1
    if at_last >= workload.replicas and not stuck:
        return ""
    total = sum(node.allocatable[device] for node in fitting)
    pods = f"{workload.replicas} pod{'s' if workload.replicas > 1 else ''}"
    surge = f", and {workload.surge} more while it is upgraded" if replaced and workload.surge else ""
    said = (
        f"Too few {device}: {pods} with {count} each{surge}; {_nodes(fitting)} for them with {total} in all, "
        f"{sum(max(0, number) for number in free.values())} free, {sum(held[n] for n in free)} held by this release."
    )
    if taken_by := [
        f"{h.name} ({h.devices[device]} on {h.node})" for h in others if h.devices.get(device) and h.node in free
    ]:
        more = f" and {len(taken_by) - _SHOWN} more" if len(taken_by) > _SHOWN else ""
        said += f" Held by others: {', '.join(taken_by[:_SHOWN])}{more}."
    if kept:
        said += f" Not for these pods: {'; '.join(f'{n}: {why}' for n, why in list(kept.items())[:_SHOWN])}."
    if at_last >= workload.replicas:
        return f"{said} Give --set rollout.surge=false (an old pod goes before its successor comes), or add a node."
    fewer = "replicas" if workload.most is None else "autoscaling.maxReplicas"
    return (
        f"{said} Ask for fewer replicas (--set {fewer}={at_last}), or add nodes."
        if at_last
        else (f"{said} Free some, or add nodes.")
    )


def _by_node(holders: Iterable[Holder], device: str) -> "Counter[str]":
    counted: Counter[str] = Counter()
    for holder in holders:
        counted[holder.node] += holder.devices.get(device, 0)
    return counted


def _nodes(nodes: Sequence[Node]) -> str:
    return "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    key = toleration.get("key")
    if not key:
        return toleration.get("operator") == "Exists"
    if key != taint.get("key"):
        return False
    return toleration.get("operator") == "Exists" or (toleration.get("value") or "") == (taint.get("value") or "")


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
    value = labels.get(key)
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    # Gt and Lt compare whole numbers.
    if value is None or not value.lstrip("-").isdecimal():
        return False
    return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])
