"""What Helm renders, read: workloads, secrets, differences."""

from typing import Any

import pytest

from scripts.cluster.objects import Rendered, Workload
from scripts.host.errors import TaskFailure
from tests.doubles.kubernetes import GPU, NAME, deployment, secret, text


def release(*objects: dict[str, Any]) -> Rendered:
    """Return what is read of *objects*."""
    return Rendered.parse(text(*objects))


def strategy(replicas: int, **rolling: object) -> tuple[int, int]:
    """Return how many pods more and fewer a strategy allows."""
    found = deployment(replicas=replicas)
    found["spec"]["strategy"] = {"rollingUpdate": rolling}
    workload = Workload.parse(found)
    return workload.surge, workload.unavailable


def test_a_strategy_is_read_as_kubernetes_does() -> None:
    """Surge is rounded up, unavailable down; both nothing would stand still; the default is a quarter."""
    assert strategy(10, maxSurge="25%", maxUnavailable="25%") == (3, 2)
    assert strategy(1, maxSurge=0, maxUnavailable="25%") == (0, 1)
    assert strategy(2, maxSurge=1, maxUnavailable=0) == (1, 0)
    assert strategy(4) == (1, 1)
    recreate = deployment(replicas=3)
    recreate["spec"]["strategy"] = {"type": "Recreate"}
    assert (Workload.parse(recreate).surge, Workload.parse(recreate).unavailable) == (0, 3)


def test_an_autoscaler_says_how_many_replicas_there_are_at_least() -> None:
    """An HPA's and KEDA's, where the Deployment itself says nothing."""
    scaled = deployment()
    del scaled["spec"]["replicas"]
    for kind, key in (("HorizontalPodAutoscaler", "minReplicas"), ("ScaledObject", "minReplicaCount")):
        scaler = {"kind": kind, "metadata": {"name": "x"}, "spec": {"scaleTargetRef": {"name": NAME}, key: 3}}
        assert release(scaled, scaler).workloads[0].replicas == 3
    assert release(scaled).workloads[0].replicas == 1
    assert release(deployment(replicas=0)).workloads[0].replicas == 0


@pytest.mark.parametrize(("running", "left"), [(0, 2), (3, 3), (9, 5)])
def test_an_autoscaler_keeps_the_pods_that_it_has_made(running: int, left: int) -> None:
    """Within its bounds; without one the release itself says how many there are."""
    scaled = deployment()
    del scaled["spec"]["replicas"]
    for kind, low, high in (
        ("HorizontalPodAutoscaler", "minReplicas", "maxReplicas"),
        ("ScaledObject", "minReplicaCount", "maxReplicaCount"),
    ):
        bounds = {"scaleTargetRef": {"name": NAME}, low: 2, high: 5}
        (workload,) = release(scaled, {"kind": kind, "metadata": {"name": "x"}, "spec": bounds}).workloads
        assert workload.beside(running).replicas == left
    assert release(deployment(replicas=1)).workloads[0].beside(running).replicas == 1


def test_a_workload_knows_its_devices_and_labels() -> None:
    """What the arithmetic of GPUs asks for."""
    (workload,) = release(deployment(gpus=2, nodeSelector={"a": "b"})).workloads
    assert workload.devices == {GPU: 2}
    assert workload.pod["nodeSelector"] == {"a": "b"}
    assert workload.selector == {"app.kubernetes.io/instance": NAME}
    assert release(deployment(image="x@sha256:1")).image == "x@sha256:1"


def test_a_difference_shows_lines_and_no_secret() -> None:
    """A changed line in its object; a changed key only as such; a new object whole."""
    before, after = (
        release(deployment(), secret("b2xkLWtleQ==")),
        release(deployment(image="two"), secret("bmV3LWtleQ==")),
    )
    lines = after.diff(before)
    assert f"--- deployed Deployment {NAME}" in lines
    assert "-      - image: one" in lines
    assert "+      - image: two" in lines
    assert "+  key: '*** (changed)'" in lines
    shown = "\n".join(lines + after.diff(None))
    for hidden in ("b2xkLWtleQ", "bmV3LWtleQ", "old-key", "new-key"):
        assert hidden not in shown
    assert "+++ nothing" in release(deployment()).diff(before)
    assert "--- nothing" in after.diff(None)


def test_the_same_objects_in_another_order_are_no_difference() -> None:
    """Nor do comments and the order of keys count."""
    one = release(deployment(), secret("aaaa"))
    other = Rendered.parse("# Source: x\n" + text(secret("aaaa"), dict(reversed(list(deployment().items())))))
    assert one.diff(other) == []


def test_pods_are_replaced_only_where_their_template_changes() -> None:
    """More replicas replace none, another image replaces all, and there is nothing to replace at first."""
    before = release(deployment())
    assert not release(deployment(replicas=5)).replaces_pods(before)
    assert release(deployment(image="two")).replaces_pods(before)
    assert not release(deployment()).replaces_pods(None)


def test_what_somebody_changed_by_hand_is_noticed() -> None:
    """Another image, another number of pods, an object that is gone; not what an autoscaler decides."""
    deployed = release(deployment(), secret("aaaa"))
    assert deployed.is_there([deployment(), secret("aaaa")])
    assert not deployed.is_there([deployment(image="two"), secret("aaaa")])
    assert not deployed.is_there([deployment(replicas=3), secret("aaaa")])
    assert not deployed.is_there([deployment()])
    scaled = deployment()
    del scaled["spec"]["replicas"]
    assert release(scaled).is_there([deployment(replicas=3)])


def test_how_many_pods_an_autoscaler_has_made_is_no_difference() -> None:
    """The chart writes down as many as there are, so that turning the autoscaler on ends none."""
    spec = {"scaleTargetRef": {"name": NAME}, "minReplicas": 1, "maxReplicas": 4}
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "s"},
        "spec": spec,
    }
    deployed, rendered = release(deployment(replicas=3), scaler), release(deployment(replicas=4), scaler)
    assert rendered.diff(deployed) == []
    assert deployed.is_there([deployment(replicas=2), scaler])
    assert deployed.workloads[0].beside(3).replicas == 3


def test_every_secret_value_is_known() -> None:
    """As it is written, and what it means."""
    found = {each.reveal() for each in release(secret("a2V5LW9uZQ=="), secret("no base64!")).secrets}
    assert found == {"a2V5LW9uZQ==", "key-one", "no base64!"}


def test_hooks_are_no_part_of_a_release() -> None:
    """A test pod that `helm template` prints is not deployed."""
    hook = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "t", "annotations": {"helm.sh/hook": "test"}}}
    assert release(hook).kinds == frozenset()


@pytest.mark.parametrize("rendered", ["a: [", "- a", "just words"])
def test_what_is_no_object_is_told(rendered: str) -> None:
    """A chart that renders nonsense."""
    with pytest.raises(TaskFailure, match="The chart renders something"):
        Rendered.parse(rendered)
