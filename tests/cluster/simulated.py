"""Nodes that only the API knows: kwok says of their pods that they run, so a hundred GPU nodes cost nothing."""

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping, Sequence

import attrs

from tests.cluster.plane import ControlPlane
from tests.cluster.processes import child, wait_until_ready

# kwok manages the nodes of one block, and leaves all others alone: the real one too.
MANAGED = "triton-test/simulated"
GPU = "nvidia.com/gpu"


@attrs.frozen(kw_only=True)
class Taint:
    """What keeps pods from a node that do not tolerate it."""

    key: str = GPU
    value: str = "present"
    effect: str = "NoSchedule"


# What NVIDIA's device plugin and feature discovery, and a managed node group of EKS, say about a node.
GPU_LABELS = {
    "nvidia.com/gpu.present": "true",
    "nvidia.com/gpu.product": "NVIDIA-A10G",
    "node.kubernetes.io/instance-type": "g5.xlarge",
    "eks.amazonaws.com/nodegroup": "gpu",
    "eks.amazonaws.com/capacityType": "ON_DEMAND",
}


@contextlib.contextmanager
def simulated_nodes(
    plane: ControlPlane,
    count: int,
    *,
    name: str = "gpu",
    gpus: int = 1,
    taints: Sequence[Taint] = (Taint(),),
    labels: Mapping[str, str] = GPU_LABELS,
) -> Iterator[list[str]]:
    """Add nodes to a cluster until the block ends, spread over three zones; return their names when they are ready.

    Their pods run and are ready at once, unless they are to be deleted: then they are gone at once.

    Args:
        plane: The cluster's control plane.
        count: How many nodes.
        name: What their names begin with; two blocks at a time need two names.
        gpus: GPUs of each.
        taints: Of each.
        labels: Of each, beside the ones that every node has.
    """
    names = [f"{name}-{number}" for number in range(count)]
    nodes = [_node(one, place, name, gpus, taints, labels) for place, one in enumerate(names)]
    log = f"kwok-{name}"
    command = [
        *(*plane.inside, str(plane.bin / "kwok")),
        f"--kubeconfig={plane.kubeconfig}",
        f"--manage-nodes-with-label-selector={MANAGED}={name}",
        *("--node-ip=127.0.0.1", f"--cidr={plane.network.simulated_cidr}"),
        # Without leases of theirs the nodes would be lost after a minute.
        "--node-lease-duration-seconds=40",
        # No file of the machine's user is read.
        "--config=/dev/null",
    ]
    ready = functools.partial(_ready, plane, name, count)
    with child(log, command, logs=plane.folder / "logs", environment=plane.environment()) as kwok:
        try:
            plane.kubectl(
                "create", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes})
            )
            wait_until_ready("kwok", ready, process=kwok, log=plane.folder / "logs" / f"{log}.log")
            yield names
        finally:
            plane.kubectl("delete", "node", f"--selector={MANAGED}={name}", "--wait=false")
            _forget_pods(plane, set(names))


def _ready(plane: ControlPlane, name: str, count: int) -> bool:
    """Say whether all nodes are ready, and the controllers have let pods onto them."""
    nodes = json.loads(plane.kubectl("get", "node", f"--selector={MANAGED}={name}", "--output=json"))["items"]
    return count == sum(
        any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", ()))
        and not any(taint["key"].startswith("node.kubernetes.io/") for taint in node["spec"].get("taints", ()))
        for node in nodes
    )


def _forget_pods(plane: ControlPlane, nodes: set[str]) -> None:
    """Delete the pods of *nodes*, which are gone; the controllers would take a minute to see that."""
    pods = json.loads(plane.kubectl("get", "pod", "--all-namespaces", "--output=json"))["items"]
    listed = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [pod for pod in pods if pod["spec"].get("nodeName") in nodes],
    }
    if listed["items"]:
        now = ("--grace-period=0", "--force", "--wait=false", "--ignore-not-found")
        plane.kubectl("delete", "--filename=-", *now, stdin=json.dumps(listed))


def _node(
    name: str, place: int, group: str, gpus: int, taints: Sequence[Taint], labels: Mapping[str, str]
) -> dict[str, object]:
    capacity = {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "100Gi", "pods": "110"}
    if gpus:
        capacity[GPU] = str(gpus)
    own = {
        MANAGED: group,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": f"zone-{'abc'[place % 3]}",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": own | dict(labels)},
        "spec": {"taints": [attrs.asdict(taint) for taint in taints]},
        "status": {
            **{"capacity": capacity, "allocatable": capacity},
            # Nothing listens there: what asks for a log is refused at once, and not by the real node's kubelet.
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 1}},
        },
    }
