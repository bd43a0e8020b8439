"""The Job that judges a canary: made of the release's own agent, with the rights that it needs."""

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from scripts.canary import manifests
from scripts.canary.compared import Compared
from scripts.canary.order import Order, Wish
from scripts.canary.settings import Settings
from scripts.host.errors import TaskFailure

NAMES = {"app.kubernetes.io/name": "triton", "app.kubernetes.io/instance": "triton-infer"}
KEY = {"name": "TRITON_ADMIN_KEY", "valueFrom": {"secretKeyRef": {"name": "triton-infer-admin", "key": "key"}}}
HARDENED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "triton-infer", "uid": "u-1", "labels": {**NAMES, "app.kubernetes.io/managed-by": "Helm"}},
    "spec": {
        "template": {
            "metadata": {"labels": {**NAMES, "app.kubernetes.io/component": "server", "team": "vision"}},
            "spec": {
                "serviceAccountName": "triton-infer",
                "automountServiceAccountToken": False,
                "securityContext": {"runAsNonRoot": True, "runAsUser": 1000},
                "imagePullSecrets": [{"name": "pull"}],
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                "runtimeClassName": "nvidia",
                "initContainers": [
                    {"name": "models", "image": "r/triton:1"},
                    {
                        "name": "agent",
                        "image": "r/triton:1",
                        "imagePullPolicy": "Always",
                        "restartPolicy": "Always",
                        "env": [KEY, {"name": "AWS_REGION", "value": "eu"}],
                        "securityContext": HARDENED,
                        "volumeMounts": [{"name": "plan", "mountPath": "/plan"}],
                    },
                ],
                "containers": [{"name": "triton", "resources": {"limits": {"nvidia.com/gpu": 1}}}],
                "volumes": [{"name": "plan", "configMap": {"name": "triton-infer-plan"}}],
            },
        }
    },
}
WISH = Wish(model="cars", version=3, digest=None, settings=Settings(), keep=1, limit_s=7200, roll_s=600, compared=None)
ORDER = Order(
    wish=WISH,
    release="triton-infer",
    namespace="triton",
    revision=7,
    plan_map="triton-infer-plan",
    deployment="triton-infer",
    job=manifests.name("triton-infer", "cars"),
)


def test_an_order_arrives_as_it_was() -> None:
    """The settings of the file here among it."""
    compared = Compared(
        path=Path("compared.json"), model="cars", versions=(2, 3), digests=(None, "a" * 64), most=0.1, changed=1,
        sure=9, upper=0.2,
    )  # fmt: skip
    settings = Settings.parse("every = 1\n[limits]\nalpha = 0.05\n", where="x")
    for wish in (WISH, attrs.evolve(WISH, settings=settings, compared=compared)):
        order = attrs.evolve(ORDER, wish=wish)
        assert Order.parse(order.to_json()) == order


def test_the_judge_runs_as_the_agent_does() -> None:
    """With its image, login to the registry, user and key, and where its pods may run; without GPU and volumes."""
    pod = manifests.job(DEPLOYMENT, ORDER)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("r/triton:1", "Always")
    assert container["securityContext"] == HARDENED
    assert [each for each in container["env"] if "valueFrom" in each] == [KEY]
    assert "AWS_REGION" not in json.dumps(pod)
    assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": 1000}
    assert (pod["imagePullSecrets"], pod["tolerations"][0]["key"]) == ([{"name": "pull"}], "nvidia.com/gpu")
    assert not {"runtimeClassName", "initContainers"} & pod.keys()
    assert "nvidia.com/gpu" not in container["resources"]["limits"]
    assert Order.parse(container["args"][0]) == ORDER


def test_a_service_sends_the_judge_nothing() -> None:
    """Its pod belongs to the release, and is no server."""
    labels = manifests.job(DEPLOYMENT, ORDER)["spec"]["template"]["metadata"]["labels"]
    assert labels == {**NAMES, "app.kubernetes.io/component": "canary"}


def test_a_verdict_ends_the_job_and_a_kill_does_not() -> None:
    """The statuses of a verdict fail it at once; a pod that is driven from its node is no failure."""
    spec = manifests.job(DEPLOYMENT, ORDER)["spec"]
    assert (spec["backoffLimit"], spec["template"]["spec"]["restartPolicy"]) == (3, "Never")
    ignored, verdict = spec["podFailurePolicy"]["rules"]
    assert (ignored["action"], ignored["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert (verdict["action"], verdict["onExitCodes"]) == ("FailJob", {"operator": "In", "values": [1, 3]})
    assert spec["activeDeadlineSeconds"] > WISH.limit_s + WISH.roll_s


def test_all_of_it_goes_with_the_release() -> None:
    """Its owner is the Deployment, so nothing is left of it."""
    for made in (manifests.job(DEPLOYMENT, ORDER), *manifests.access(DEPLOYMENT, ORDER)):
        (owner,) = made["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("Deployment", "triton-infer", "u-1")
        assert made["metadata"]["name"] == ORDER.job


def test_the_judge_may_do_no_more_than_it_does() -> None:
    """Everything is named that can be: no other Secret, no other ConfigMap, no pod is changed."""
    role, account, binding = manifests.access(DEPLOYMENT, ORDER)
    unnamed = [(rule["resources"], rule["verbs"]) for rule in role["rules"] if "resourceNames" not in rule]
    assert unnamed == [(["pods"], ["list"]), (["secrets"], ["create"])]
    assert not any("*" in (*rule["verbs"], *rule["resources"]) for rule in role["rules"])
    assert "triton-infer-admin" not in json.dumps(role)
    assert (binding["roleRef"]["name"], binding["subjects"][0]["name"]) == (ORDER.job, account["metadata"]["name"])


@pytest.mark.parametrize("model", ["cars", "Über_cars.v2", "x" * 54])
def test_a_name_fits(model: str) -> None:
    """Whatever the model is called, and however long the release's name is."""
    name = manifests.name("t" * 46, model)
    assert len(name) <= 63
    assert name != manifests.name("t" * 46, "other")


def test_a_release_without_an_agent_has_no_canary() -> None:
    """Said before anything is made."""
    template = {"metadata": {}, "spec": {"containers": [{"name": "triton"}]}}
    with pytest.raises(TaskFailure, match="The pods of triton-infer have no agent"):
        manifests.job({**DEPLOYMENT, "spec": {"template": template}}, ORDER)
