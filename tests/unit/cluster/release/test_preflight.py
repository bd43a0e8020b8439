"""What is found before anything is changed: what is in the way stops a deployment, the rest is noted."""

import json
from pathlib import Path

import attrs
import pytest

from scripts.host.errors import TaskFailure
from tests.doubles.kubernetes import NAME, Answer, deployment, failed, holder, text
from tests.unit.cluster.release.scene import GROUPS, World, autoscaler, history


def test_all_that_is_in_the_way_is_told_at_once() -> None:
    """Permissions, an API that is not there, a helm that is too old... and nothing is changed."""
    monitor = {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": {"name": "m"}}
    world = World(
        deployment(), monitor, answers={"kubectl version --client": {"clientVersion": {"gitVersion": "v1.20.0"}}}
    )
    world.cluster.denied = frozenset({"deployments"})
    said = world.refused()
    assert said.startswith("3 things are in the way; nothing was changed:")
    for part in (
        "kubectl 1.20.0 is too old",
        "monitoring.coreos.com/v1",
        "create, delete, get, list, patch deployments.apps",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("answers", "saying"),
    [
        ({"helm version": "v3.9.0"}, "helm 3.9.0 is too old: 3.13.0"),
        ({"helm version": failed("no")}, "Cannot ask helm for its version"),
        ({"kubectl get --raw=/version": failed("The connection to the server h was refused")}, "gives no answer"),
        ({"kubectl get --raw=/version": failed('error: context "x" does not exist')}, "no such context"),
        ({"helm history": history("pending-install")}, "helm uninstall triton-infer --namespace=triton"),
        ({"helm history": history("deployed", "pending-upgrade")}, "helm rollback triton-infer 1 --namespace=triton"),
        ({"helm history": history("deployed", "uninstalling")}, "helm uninstall triton-infer --namespace=triton"),
        (
            {
                "helm template": failed(
                    "Error: values don't meet the specifications of the schema(s):\n- at '/replicas': no"
                )
            },
            "- at '/replicas': no",
        ),
        (
            {
                "helm template": failed(
                    "Error: execution error at (c/x.yaml:1:2): \n\nThe values cannot be used:\n  - image"
                )
            },
            "The chart chart cannot be used: The values cannot be used:\n  - image",
        ),
    ],
)
def test_what_keeps_it_from_working_is_told_before_anything_is_changed(
    answers: dict[str, Answer | list[Answer]], saying: str
) -> None:
    """Tools, cluster, release, values: each with what to do."""
    assert saying in World(answers=answers).refused()


def test_too_few_gpus_are_told_with_who_has_them() -> None:
    """An upgrade that would wait for ever is refused before."""
    world = World(deployment(gpus=1), answers={"kubectl get pods": {"items": [holder("train", on="gpu-1")]}})
    assert "other/train (1 on gpu-1)" in world.refused()


@pytest.mark.parametrize(("before", "refused"), [("one", False), ("another", True)])
def test_a_pod_that_an_autoscaler_finds_no_gpu_for_is_in_the_way_of_an_upgrade_only(before: str, refused: bool) -> None:
    """It would take the GPU of the first pod that goes; if no pod goes, it waits as it did."""
    scaler = autoscaler(least=1, most=2)
    pods = {"items": [holder("a", on="gpu-1", namespace="triton"), holder("b", on=None, namespace="triton")]}
    answers = {
        "kubectl get pods": pods,
        "helm history": [history("deployed"), history("superseded", "deployed")],
        "helm get manifest": text(deployment(gpus=1, image=before), scaler),
        "helm get values": '{"autoscaling": {"target": 9}}',
    }
    world = World(deployment(gpus=1), scaler, answers=answers)
    if refused:
        assert "--set autoscaling.maxReplicas=1" in world.refused()
    else:
        assert world.deployer.deploy(timeout_s=100).changed


def test_an_autoscaler_may_bring_the_gpus() -> None:
    """Then too few are a note, not a reason to stop."""
    taken: Answer = {"items": [holder("train", on="gpu-1")]}
    karpenter: Answer = {"groups": [*GROUPS["groups"], {"name": "karpenter.sh", "versions": [{"version": "v1"}]}]}
    for signs in ({"kubectl get --raw=/apis": karpenter}, {"kubectl get configmap": "configmap/x"}):
        world = World(deployment(gpus=1), answers={"kubectl get pods": taken, **signs})
        world.deployer.deploy(timeout_s=100)
        assert any("may add nodes" in line for line in world.said.lines)


def test_who_may_not_see_the_nodes_may_deploy() -> None:
    """That GPUs are not checked is said."""
    denied = failed('Error from server (Forbidden): nodes is forbidden: User "x" cannot list resource "nodes"')
    world = World(deployment(gpus=1), answers={"kubectl get nodes": denied})
    world.deployer.deploy(timeout_s=100)
    assert any("GPUs is not checked" in line for line in world.said.lines)


def test_autoscaling_needs_its_metrics() -> None:
    """Without the API it is refused; without the metric, which only comes with the pods, it is a note."""
    metric = {"type": "Pods", "pods": {"metric": {"name": "queue"}}}
    spec = {"scaleTargetRef": {"name": NAME}, "minReplicas": 1, "metrics": [metric]}
    scaler = {"apiVersion": "apps/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "s"}, "spec": spec}
    said = World(deployment(), scaler).refused()
    assert "custom.metrics.k8s.io, where autoscaling looks for queue" in said
    served: Answer = {
        "groups": [*GROUPS["groups"], {"name": "custom.metrics.k8s.io", "versions": [{"version": "v1beta1"}]}]
    }
    for resources, noted in (([], True), ([{"name": "pods/queue"}], False)):
        known: Answer = {"resources": resources}
        world = World(
            deployment(),
            scaler,
            answers={"kubectl get --raw=/apis": served, "kubectl get --raw=/apis/custom.metrics.k8s.io/v1beta1": known},
        )
        world.deployer.deploy(timeout_s=100)
        assert any("The metric queue is not there" in line for line in world.said.lines) is noted


def test_a_namespace_that_is_about_to_go_stops_a_plan_too() -> None:
    """Nothing can be made in it."""
    world = World(answers={"kubectl get namespace": "Namespace 2026-01-01T00:00:00Z"})
    with pytest.raises(TaskFailure, match=r"about to go.*wait --for=delete namespace/triton"):
        world.deployer.plan()


PROMOTED = json.dumps({"plan": {"generation": 7}, "models": {"cars": {"serve": [2, 3]}}})


def test_what_was_promoted_stays_through_an_upgrade(tmp_path: Path) -> None:
    """The command says so, and so does a note; nobody is asked where there is nobody."""
    world = World(
        answers={"helm history": [history("deployed"), history("superseded", "deployed")], "helm get values": PROMOTED}
    )
    files = (str(tmp_path / "values.yaml"),)
    Path(files[0]).write_text("models: {cars: {serve: [1, 2]}}")
    world.deployer = attrs.evolve(world.deployer, installation=attrs.evolve(world.deployer.installation, files=files))
    world.deployer.deploy(timeout_s=100)
    (command,) = [line for line in world.cluster.ran if line.startswith("helm upgrade") and "--dry-run" not in line]
    assert "--set-json=plan.generation=7 --set-json=models.cars.serve=[2, 3]" in command
    assert any("It stays; --take-back" in line for line in world.said.lines)


def test_where_somebody_is_there_to_be_asked_nothing_is_done_before() -> None:
    """The failure is the question."""
    world = World(answers={"helm history": history("deployed"), "helm get values": PROMOTED})
    world.deployer = attrs.evolve(world.deployer, take_back=None)
    assert "Deployed is a later plan, generation 7: cars 2, 3" in world.refused()


def test_an_old_kubernetes_gets_no_agent() -> None:
    """The servers load every version then, and a note says so."""
    world = World(answers={"kubectl get --raw=/version": {"gitVersion": "v1.28.3"}})
    world.deployer.deploy(timeout_s=100)
    assert any("--set=modelControl=none" in line for line in world.cluster.ran if line.startswith("helm upgrade"))
    assert any("Kubernetes 1.28.3 runs no native sidecars" in line for line in world.said.lines)
