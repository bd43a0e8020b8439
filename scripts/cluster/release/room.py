"""Whether a node can hold one more pod while a deployment changes: its devices, CPU and memory."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from scripts.cluster.objects import Workload
from scripts.cluster.release.capacity import Node

Object = Mapping[str, Any]
COUNTED = ("cpu", "memory")
_SHOWN = 8
_UNITS = {"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3")}
_UNITS |= {unit: Decimal(1000) ** n for n, unit in enumerate(("", "k", "M", "G", "T", "P", "E"))}
_UNITS |= {f"{unit}i": Decimal(1024) ** n for n, unit in enumerate("KMGTPE", 1)}


def quantity(text: object) -> Decimal:
    """Return what a quantity such as ``250m`` or ``4Gi`` says, in cores or bytes."""
    # A letter may be an exponent's (1e3) or a unit (1E).
    found = re.fullmatch(r"([+-]?[\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)", str(text))
    return Decimal(found[1]) * _UNITS[found[2]] if found else Decimal()


def requests(pod: Object) -> dict[str, Decimal]:
    """Return how much CPU and memory a pod asks for, as the scheduler counts it."""
    together, first = dict.fromkeys(COUNTED, Decimal()), dict.fromkeys(COUNTED, Decimal())
    for container in pod.get("containers") or ():
        for name, asked in _asked(container).items():
            together[name] += asked
    for container in pod.get("initContainers") or ():
        for name, asked in _asked(container).items():
            if container.get("restartPolicy") == "Always":
                together[name] += asked
            else:
                first[name] = max(first[name], asked)
    overhead = pod.get("overhead") or {}
    return {name: max(together[name], first[name]) + quantity(overhead.get(name, 0)) for name in COUNTED}


def too_small(workload: Workload, *, nodes: Sequence[Object], pods: Sequence[Object]) -> str:
    """Return that no node has the CPU and memory for one pod more, and what to do; empty where one has.

    Args:
        workload: What is upgraded.
        nodes: The cluster's nodes.
        pods: The cluster's pods that have not ended.
    """
    asked = requests(workload.pod)
    held = {node["metadata"]["name"]: dict.fromkeys(COUNTED, Decimal()) for node in nodes}
    for pod in pods:
        on = (pod.get("spec") or {}).get("nodeName", "")
        if on in held:
            held[on] = {name: held[on][name] + value for name, value in requests(pod["spec"]).items()}
    free = {}
    for item in nodes:
        node = Node.parse(item)
        having = all(node.allocatable.get(device) for device in workload.devices)
        if having and not node.keeps_away(workload.pod):
            allocatable = (item.get("status") or {}).get("allocatable") or {}
            free[node.name] = {n: quantity(allocatable.get(n, 0)) - held[node.name][n] for n in COUNTED}
    if not free or any(all(left[name] >= asked[name] for name in COUNTED) for left in free.values()):
        return ""
    listed = "; ".join(f"{name}: {_say(left)}" for name, left in list(free.items())[:_SHOWN])
    return (
        f"No node can hold one more pod while {workload.name} is upgraded. A pod asks for {_say(asked)}, and there is "
        f"free on {listed}. Give --set rollout.surge=false (an old pod goes before its successor comes), ask for less "
        "in resources.requests, or add a node."
    )


def _asked(container: Object) -> dict[str, Decimal]:
    resources = container.get("resources") or {}
    # What has a limit alone asks for as much.
    found = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: quantity(found[name]) for name in COUNTED if name in found}


def _say(amounts: Mapping[str, Decimal]) -> str:
    return (
        f"{max(Decimal(), amounts['cpu']):.2f} CPU and {max(Decimal(), amounts['memory']) / 1024**3:.1f} Gi of memory"
    )
