"""Whether a node can hold one more pod while an upgrade has both."""

from decimal import Decimal
from typing import Any

import pytest

from scripts.cluster.objects import Workload
from scripts.cluster.release.room import quantity, requests, too_small
from tests.doubles.kubernetes import deployment, node


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), (2, 2), ("250m", "0.25"), ("0.5", "0.5"), ("4Gi", 4 * 1024**3), ("1k", 1000), ("1e3", 1000),
        ("2E", 2 * 10**18), ("1Ei", 1024**6), ("100u", "0.0001"), ("5n", "5e-9"), ("128974848", 128974848),
    ],
)  # fmt: skip
def test_a_quantity_is_read_as_kubernetes_does(text: object, value: object) -> None:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity"""
    assert quantity(text) == Decimal(str(value))


def test_a_pod_asks_for_its_containers_or_for_its_largest_beginning() -> None:
    """Init containers run before the others, sidecars beside them; a limit alone is a request."""

    def one(cpu: str, **more: Any) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    pod = {
        "containers": [one("1"), {"resources": {"limits": {"cpu": "2", "memory": "1Gi"}}}],
        "initContainers": [one("7"), one("500m", restartPolicy="Always")],
    }
    assert requests(pod) == {"cpu": 7, "memory": 1024**3}
    assert requests({**pod, "initContainers": [], "overhead": {"cpu": "100m"}})["cpu"] == Decimal("3.1")


def running(memory: str, *, on: str = "gpu-1") -> dict[str, Any]:
    """Return a pod that holds so much."""
    return {"metadata": {}, "spec": {"nodeName": on, "containers": [{"resources": {"requests": {"memory": memory}}}]}}


def upgraded(**more: Any) -> Workload:
    """Return a Deployment that surges; its pods ask for 1 Gi of memory."""
    return Workload.parse(deployment(surge=1, **more))


def test_a_node_that_is_full_is_told_with_the_way_out() -> None:
    """How much is asked for, and how much is free; one other node with room is enough."""
    said = too_small(upgraded(), nodes=[node()], pods=[running("31.5Gi")])
    assert "rollout.surge=false" in said
    assert "asks for 0.00 CPU and 1.0 Gi of memory" in said
    assert "gpu-1: 8.00 CPU and 0.5 Gi of memory" in said
    assert too_small(upgraded(), nodes=[node(), node("b")], pods=[running("31.5Gi")]) == ""
    assert too_small(upgraded(), nodes=[node()], pods=[running("31.5Gi", on="gone")]) == ""


def test_only_nodes_that_could_take_it_count() -> None:
    """One that is cordoned or has no GPU helps nobody; where there is none, another check says so."""
    nodes = [node(), node("b", unschedulable=True), node("c", gpus=0)]
    assert "b: " not in too_small(upgraded(gpus=1), nodes=nodes, pods=[running("32Gi")])
    assert "c: " not in too_small(upgraded(gpus=1), nodes=nodes, pods=[running("32Gi")])
    assert too_small(upgraded(gpus=1), nodes=[node("c", gpus=0)], pods=[]) == ""
