"""The Roles of docs/operations.md let who has them do what they are named for."""

import re
from collections.abc import Iterable

import pytest
import yaml

from scripts.canary.manifests import access
from scripts.cluster.release.access import Right, needed
from scripts.host.settings import ROOT
from tests.unit.canary.test_manifests import DEPLOYMENT, ORDER

KINDS = [
    ("apps/v1", "Deployment"),
    *(("v1", kind) for kind in ("Service", "Secret", "ServiceAccount", "ConfigMap")),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
    *(("networking.k8s.io/v1", kind) for kind in ("NetworkPolicy", "Ingress")),
    *(("monitoring.coreos.com/v1", kind) for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule")),
    ("keda.sh/v1alpha1", "ScaledObject"),
    *(("gateway.networking.k8s.io/v1", kind) for kind in ("HTTPRoute", "GRPCRoute")),
]
# What `status` asks: Helm's releases, the Deployment, its pods, and ports to them.
LOOKS = [
    *(Right("", what, verb) for what in ("secrets", "pods") for verb in ("get", "list")),
    *(Right("apps", "deployments", verb) for verb in ("get", "list")),
    Right("", "events", "list"),
    Right("autoscaling", "horizontalpodautoscalers", "list"),
    Right("", "pods/portforward", "create"),
]
# What the smoke test and `helm test` ask beside that.
TESTS = [
    *LOOKS,
    Right("", "pods/exec", "create"),
    *(Right("", "pods", verb) for verb in ("create", "delete", "watch")),
    Right("", "secrets", "update"),
]


def allowed(role: str) -> set[Right]:
    """Return what the page's Role of that name allows."""
    (text,) = re.findall(r"```yaml\n(# roles\.yaml.*?)```", (ROOT / "docs" / "operations.md").read_text(), re.DOTALL)
    rules = next(each for each in yaml.safe_load_all(text) if each["metadata"]["name"] == role)["rules"]
    return {
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        ("triton-viewer", LOOKS),
        ("triton-tester", TESTS),
        ("triton-deployer", [*needed(KINDS, new_namespace=False), *TESTS]),
    ],
)
def test_a_role_has_what_it_is_for(role: str, rights: Iterable[Right]) -> None:
    """Whoever copies it needs no other."""
    assert set(rights) - allowed(role) == set()


def test_who_deploys_may_let_a_job_judge() -> None:
    """Kubernetes lets nobody give a right that he has not himself."""
    role, *_ = access(DEPLOYMENT, ORDER)
    given = {
        Right(group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    makes = [Right("", "serviceaccounts", "patch"), *(Right("batch", "jobs", verb) for verb in ("create", "delete"))]
    makes += [Right("rbac.authorization.k8s.io", what, "patch") for what in ("roles", "rolebindings")]
    makes += [Right("", "pods/log", "get"), Right("", "events", "list")]
    assert {*given, *makes} - allowed("triton-deployer") == set()


def test_who_looks_changes_nothing() -> None:
    """A port-forward is made, but changes nothing."""
    changes = {right for right in allowed("triton-viewer") if right.verb not in ("get", "list")}
    assert changes == {Right("", "pods/portforward", "create")}
