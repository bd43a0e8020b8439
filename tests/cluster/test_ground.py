"""The ground under the other tests: what this cluster lets happen, a real one would too."""

import json
import subprocess
from collections.abc import Mapping

import pytest

from tests.cluster.metrics_api import custom_metrics
from tests.cluster.plane import ControlPlane, HelmMajor
from tests.cluster.simulated import GPU, MANAGED, simulated_nodes

TOLERATION = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}


def pod(name: str, *, gpus: int = 0, **spec: object) -> dict[str, object]:
    """Return a pod that may take some GPUs."""
    container = {
        "name": "main",
        "image": "triton-test/none:1",
        "resources": {"limits": {GPU: str(gpus)}} if gpus else {},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]} | spec}


def deployment(*, replicas: int) -> dict[str, object]:
    """Return a Deployment of pods with a GPU each."""
    labels = {"app": "served"}
    template = {"metadata": {"labels": labels}, "spec": pod("served", gpus=1, tolerations=[TOLERATION])["spec"]}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "served"}, "spec": spec}


def create(plane: ControlPlane, namespace: str, *objects: Mapping[str, object]) -> None:
    """Create *objects*."""
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    plane.kubectl("--namespace", namespace, "create", "--filename=-", stdin=json.dumps(listed))


def await_pod(plane: ControlPlane, namespace: str, name: str, condition: str) -> str:
    """Wait for a condition of a pod; return the node that it is on, or an empty text."""
    plane.kubectl("--namespace", namespace, "wait", f"pod/{name}", f"--for=condition={condition}", "--timeout=30s")
    return plane.kubectl("--namespace", namespace, "get", "pod", name, "--output=jsonpath={.spec.nodeName}")


def run(plane: ControlPlane, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that may fail."""
    return subprocess.run(
        command, env=plane.environment() | environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_api_is_the_pinned_one(plane: ControlPlane) -> None:
    """The server says a version whose kubelet runs on cgroup v1, and so does kubectl."""
    said = json.loads(plane.kubectl("version", "--output=json"))
    assert said["serverVersion"]["gitVersion"].startswith("v1.34.")
    assert said["clientVersion"]["gitVersion"] == said["serverVersion"]["gitVersion"]


@pytest.mark.parametrize("major", [3, 4])
def test_both_majors_of_helm_answer(plane: ControlPlane, major: HelmMajor) -> None:
    """The environment leads to the major that was asked for, and Helm reaches the API with it."""
    helm = run(plane, "helm", "version", "--short", **plane.environment(major))
    assert helm.stdout.startswith(f"v{major}.")
    listed = run(plane, "helm", "list", "--all-namespaces", "--output=json", **plane.environment(major))
    assert isinstance(json.loads(listed.stdout), list), listed.stderr


def test_a_user_without_permissions_may_do_nothing(plane: ControlPlane) -> None:
    """The second kubeconfig is let in, and refused everything."""
    refused = run(plane, "kubectl", "get", "pods", KUBECONFIG=str(plane.limited))
    assert refused.returncode == 1
    assert 'User "limited" cannot list resource "pods"' in refused.stderr
    assert "no" in run(plane, "kubectl", "auth", "can-i", "create", "deployments", KUBECONFIG=str(plane.limited)).stdout


def test_pod_security_refuses_a_privileged_pod(plane: ControlPlane, namespace: str) -> None:
    """Where `restricted` is enforced, a pod that asks for more is refused with the reasons."""
    plane.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    refused = run(plane, "kubectl", "--namespace", namespace, "run", "root", "--image=x", "--privileged")
    assert refused.returncode == 1
    assert 'violates PodSecurity "restricted:latest": privileged' in refused.stderr


def test_a_gpu_pod_runs_on_a_gpu_node(plane: ControlPlane, namespace: str) -> None:
    """Beside a node without a GPU, the pod that asks for one and tolerates the taint gets it."""
    with simulated_nodes(plane, 2, name="cpu", gpus=0, taints=(), labels={}), simulated_nodes(plane, 1) as gpu_nodes:
        create(plane, namespace, pod("served", gpus=1, tolerations=[TOLERATION]))
        assert await_pod(plane, namespace, "served", "Ready") in gpu_nodes


def test_a_pod_without_toleration_stays_off_gpu_nodes(plane: ControlPlane, namespace: str) -> None:
    """Such a pod waits, and the scheduler says why; once the taint is gone it runs."""
    with simulated_nodes(plane, 1) as (gpu_node,):
        create(plane, namespace, pod("web", nodeSelector={MANAGED: "gpu"}))
        await_pod(plane, namespace, "web", "PodScheduled=False")
        events = plane.kubectl("--namespace", namespace, "get", "events", "--output=jsonpath={.items[*].message}")
        assert "had untolerated taint(s)" in events
        plane.kubectl("taint", "node", gpu_node, f"{GPU}-")
        assert await_pod(plane, namespace, "web", "Ready") == gpu_node


def test_a_full_gpu_pool_keeps_the_next_pod_waiting(plane: ControlPlane, namespace: str) -> None:
    """A hundred nodes take a hundred pods with a GPU each; the next one waits for one to go."""
    with simulated_nodes(plane, 100):
        create(plane, namespace, deployment(replicas=100))
        plane.kubectl("--namespace", namespace, "rollout", "status", "deployment/served", "--timeout=90s")
        on = plane.kubectl(
            "--namespace", namespace, "get", "pod", "--output=jsonpath={.items[*].spec.nodeName}"
        ).split()
        assert len(set(on)) == 100
        create(plane, namespace, pod("late", gpus=1, tolerations=[TOLERATION]))
        assert await_pod(plane, namespace, "late", "PodScheduled=False") == ""
        plane.kubectl("--namespace", namespace, "scale", "deployment/served", "--replicas=99")
        assert await_pod(plane, namespace, "late", "Ready") in on


def test_the_autoscaler_follows_a_custom_metric(plane: ControlPlane, namespace: str) -> None:
    """With three times the wanted value a Deployment grows threefold; with less than wanted it shrinks to one."""
    target = {"metric": {"name": "pending"}, "target": {"type": "AverageValue", "averageValue": "10"}}
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "served"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "served"},
            **{"minReplicas": 1, "maxReplicas": 5, "metrics": [{"type": "Pods", "pods": target}]},
        },
    }
    with simulated_nodes(plane, 3), custom_metrics(plane) as metrics:
        metrics.values["pending"] = 30.0
        create(plane, namespace, deployment(replicas=1), autoscaler)
        ready = ("deployment/served", "--timeout=60s")
        plane.kubectl("--namespace", namespace, "wait", *ready, "--for=jsonpath={.status.readyReplicas}=3")
        metrics.values["pending"] = 1.0
        plane.kubectl("--namespace", namespace, "wait", *ready, "--for=jsonpath={.status.replicas}=1")
        assert set(metrics.asked) == {"pending"}
