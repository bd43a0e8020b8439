"""GPU arithmetic: what fits where, who has it, and what a person is told when it does not."""

from typing import Any

import pytest

from scripts.cluster.objects import Workload, devices
from scripts.cluster.release.capacity import Holder, Node, overview, shortages
from tests.doubles.kubernetes import GPU, deployment, holder, node

TAINT = {"key": GPU, "value": "true", "effect": "NoSchedule"}


def short(
    *nodes: dict[str, Any], held: tuple[dict[str, Any], ...] = (), replaced: bool = False, **wanted: Any
) -> list[str]:
    """Return what the workload is short of."""
    workload = Workload.parse(deployment(**{"gpus": 1, **wanted}))
    return shortages(
        workload,
        namespace="triton",
        replaced=replaced,
        nodes=[Node.parse(each) for each in nodes],
        holders=Holder.parse_all(held),
    )


def test_free_gpus_are_enough() -> None:
    """As many as there are replicas, on one node or on several."""
    assert short(node(gpus=2), replicas=2) == []
    assert short(node("a"), node("b"), replicas=2) == []
    assert short(node(gpus=4), replicas=2, gpus=2) == []
    assert short(gpus=0) == []


def test_a_pod_needs_its_gpus_on_one_node() -> None:
    """Two nodes with a GPU each have none for a pod with two."""
    (said,) = short(node("a"), node("b"), gpus=2)
    assert "1 pod with 2 each; 2 nodes for them with 2 in all, 2 free" in said
    assert "Free some, or add nodes" in said


def test_who_has_the_gpus_is_told() -> None:
    """By namespace, name, number and node; those that ended or wait for a node hold none."""
    ended = (holder("done", on="gpu-1", phase="Succeeded"), holder("waiting", on=None, phase="Pending"))
    assert short(node(), held=ended) == []
    (said,) = short(node(gpus=3), held=(holder("train", on="gpu-1", gpus=2), *ended), replicas=2)
    assert "3 in all, 1 free, 0 held by this release" in said
    assert "other/train (2 on gpu-1)" in said
    assert "done" not in said
    assert "--set replicas=1" in said


def test_of_an_autoscaler_less_is_asked() -> None:
    """Replicas are its own to choose: what can be given is how many it may make."""
    workload = Workload.parse(deployment(gpus=1, replicas=3), most=4)
    (said,) = shortages(workload, namespace="triton", replaced=True, nodes=[Node.parse(node(gpus=2))], holders=[])
    assert "--set autoscaling.maxReplicas=2" in said


def test_many_holders_are_counted_not_listed() -> None:
    """A cluster of a hundred GPUs that are all taken makes no page of names."""
    held = tuple(holder(f"job-{n}", on="gpu-1") for n in range(100))
    (said,) = short(node(gpus=100), held=held)
    assert "and 92 more" in said
    assert len(said) < 900


def test_what_this_release_holds_is_its_own() -> None:
    """An upgrade in place uses the GPU of the pod that goes; one that first starts another needs a spare one."""
    held = (holder("old", on="gpu-1", namespace="triton"),)
    assert short(node(), held=held, replaced=True) == []
    assert short(node(), held=held, replaced=False, surge=1) == []
    assert short(node(gpus=2), held=held, replaced=True, surge=1) == []
    (said,) = short(node(), held=held, replaced=True, surge=1)
    assert "and 1 more while it is upgraded" in said
    assert "0 free, 1 held by this release" in said
    assert "--set rollout.surge=false" in said


def test_the_same_labels_in_another_namespace_are_not_its_own() -> None:
    """A second release of the same name elsewhere holds what it holds."""
    other = holder("old", on="gpu-1", namespace="triton") | {}
    other["metadata"]["namespace"] = "staging"
    (said,) = short(node(), held=(other,))
    assert "staging/old" in said


def test_no_gpu_at_all_names_the_device_plugin_and_the_way_without() -> None:
    """The commonest mistake on a new cluster."""
    (said,) = short(node(gpus=0))
    assert "device plugin" in said
    assert "--cpu" in said


@pytest.mark.parametrize(
    ("there", "wanted", "why"),
    [
        ({"taints": [TAINT]}, {}, f"taint {GPU} is not tolerated"),
        ({"unschedulable": True}, {"tolerations": [{"operator": "Exists"}]}, "cordoned"),
        ({"labels": {"zone": "a"}}, {"nodeSelector": {"zone": "b"}}, "no label zone=b"),
        (
            {"labels": {"zone": "a"}},
            {"affinity": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]},
            "not chosen by the node affinity",
        ),
    ],
)
def test_nodes_that_do_not_take_the_pods_are_told_with_the_reason(
    there: dict[str, Any], wanted: dict[str, Any], why: str
) -> None:
    """They have GPUs, and those are of no use."""
    if "affinity" in wanted:
        wanted = {"affinity": affinity(wanted["affinity"])}
    (said,) = short(node(**there), **wanted)
    assert f"gpu-1: {why}" in said
    assert "Correct nodeSelector, tolerations" in said


@pytest.mark.parametrize(
    "toleration",
    [
        {"operator": "Exists"},
        {"key": GPU, "operator": "Exists"},
        {"key": GPU, "operator": "Exists", "effect": "NoSchedule"},
        {"key": GPU, "value": "true"},
        {"key": GPU, "operator": "Equal", "value": "true", "effect": "NoSchedule"},
    ],
)
def test_a_toleration_opens_the_node(toleration: dict[str, str]) -> None:
    """Each way to write it."""
    assert short(node(taints=[TAINT]), tolerations=[toleration]) == []


@pytest.mark.parametrize(
    "toleration",
    [
        {"key": GPU, "operator": "Exists", "effect": "NoExecute"},
        {"key": GPU, "value": "false"},
        {"key": "other", "operator": "Exists"},
        {"key": GPU},
    ],
)
def test_another_toleration_does_not(toleration: dict[str, str]) -> None:
    """Another effect, value or key."""
    assert short(node(taints=[TAINT]), tolerations=[toleration])


def affinity(expressions: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a node affinity that requires *expressions*."""
    terms = {"nodeSelectorTerms": [{"matchExpressions": expressions}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


@pytest.mark.parametrize(
    ("operator", "values", "fits"),
    [
        ("In", ["a", "b"], True),
        ("In", ["c"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
        ("NotIn", ["c"], True),
        ("Gt", ["1"], False),
    ],
)
def test_the_node_affinity_counts(operator: str, values: list[str], fits: bool) -> None:
    """Each operator, as Kubernetes reads it."""
    wanted = affinity([{"key": "zone", "operator": operator, "values": values}])
    assert (short(node(labels={"zone": "a"}), affinity=wanted) == []) is fits


def test_affinity_compares_numbers() -> None:
    """Gt and Lt take whole numbers."""
    for operator, fits in (("Gt", True), ("Lt", False)):
        wanted = affinity([{"key": "memory", "operator": operator, "values": ["40"]}])
        assert (short(node(labels={"memory": "80"}), affinity=wanted) == []) is fits


def test_some_nodes_that_do_not_fit_are_named_beside_those_that_do() -> None:
    """Who reads that GPUs are short shall know why others do not count."""
    (said,) = short(node("a"), node("b", unschedulable=True), replicas=2)
    assert "Not for these pods: b: cordoned" in said


def test_devices_of_all_containers_count() -> None:
    """Containers add up, those before them do not, and those that run beside them do."""

    def limited(count: int, **more: Any) -> dict[str, Any]:
        return {"resources": {"limits": {GPU: count, "cpu": "1"}}, **more}

    pod = {
        "containers": [limited(1), limited(1), {"name": "none"}],
        "initContainers": [limited(3), limited(1, restartPolicy="Always")],
    }
    assert devices(pod) == {GPU: 3}
    assert devices({"containers": [{"resources": {"requests": {"nvidia.com/mig-1g.10gb": "2"}}}]}) == {
        "nvidia.com/mig-1g.10gb": 2
    }


def test_an_overview_counts_devices() -> None:
    """For check-env: how many, on how many nodes, how many of them free."""
    nodes = [Node.parse(node("a", gpus=4)), Node.parse(node("b")), Node.parse(node("c", gpus=0))]
    assert overview(nodes, Holder.parse_all([holder("x", on="a", gpus=3)])) == f"5 {GPU} on 2 nodes, 2 free"
    assert overview(nodes[2:], []) == ""
