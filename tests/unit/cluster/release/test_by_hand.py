"""What somebody set by hand, by what the API has written down."""

import json
import shlex
from typing import Any

import pytest

from scripts.cluster.kubectl import Kubectl
from scripts.cluster.release.by_hand import removal, touches
from tests.doubles.kubernetes import NAME, WHERE, Cluster, deployment

CONTAINER = 'k:{"name":"triton"}'


def fields(**container: Any) -> dict[str, Any]:
    """Return the managed set of fields of the container."""
    owned = {f"f:{name}": below for name, below in container.items()}
    return {"f:spec": {"f:template": {"f:spec": {"f:containers": {CONTAINER: owned}}}}}


def live(by: str, owned: dict[str, Any], *, subresource: str = "", **container: Any) -> dict[str, Any]:
    """Return the Deployment as the API has it, with what *by* has set in its container."""
    found = deployment()
    found["spec"]["template"]["spec"]["containers"][0] |= container
    entry = {"manager": by, "fieldsV1": owned} | ({"subresource": subresource} if subresource else {})
    helm = {"manager": "helm", "fieldsV1": fields(image={})}
    return {**found, "metadata": {**found["metadata"], "managedFields": [helm, entry]}}


ENV: dict[str, Any] = {"f:env": {".": {}, 'k:{"name":"DEBUG"}': {".": {}, "f:name": {}, "f:value": {}}}}
ADDED = fields(env=ENV["f:env"])
DEBUG = [{"name": "DEBUG", "value": "1"}]


def test_what_was_added_is_told_with_what_takes_it_out() -> None:
    """Deploying leaves it as it is: no Helm knows of it."""
    (touch,) = touches([deployment()], [live("kubectl-edit", ADDED, env=DEBUG)])
    assert str(touch) == f"Deployment {NAME}: spec.template.spec.containers[triton].env (by kubectl-edit)"
    assert touch.added
    (command,) = removal(Kubectl(Cluster(answers={}), where=WHERE, namespace="n"), [touch])
    words = shlex.split(command)
    assert words[4:7] == ["patch", "deployments", NAME]
    assert json.loads(words[-1].removeprefix("--patch=")) == [
        {"op": "remove", "path": "/spec/template/spec/containers/0/env"}
    ]


def test_one_more_in_a_list_of_the_chart_is_told_by_its_name() -> None:
    """The list itself is the chart's."""
    wanted = deployment()
    wanted["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
    found = live("kubectl-set", ADDED, env=[{"name": "A", "value": "1"}, *DEBUG])
    (touch,) = touches([wanted], [found])
    assert (touch.path.endswith("env[DEBUG]"), touch.pointer.endswith("/env/1")) == (True, True)


def test_what_was_changed_is_told_and_what_is_the_same_is_not() -> None:
    """Deploying brings the chart's value back."""
    owned = fields(image={})
    (touch,) = touches([deployment()], [live("kubectl-set", owned, image="other")])
    assert (touch.path, touch.added) == ("spec.template.spec.containers[triton].image", False)
    assert touches([deployment()], [live("kubectl-set", owned)]) == []


@pytest.mark.parametrize("machine", ["helm", "deploy-triton", "kube-controller-manager", "keda-operator", "argocd-x"])
def test_what_machines_set_is_nobodys_hand(machine: str) -> None:
    """They do so as a part of their work; so does an autoscaler, by a resource of its own."""
    assert touches([deployment()], [live(machine, ADDED, env=DEBUG)]) == []
    assert touches([deployment()], [live("kubectl", {"f:spec": {"f:x": {}}}, subresource="scale")]) == []


def test_an_object_that_is_not_there_was_not_touched() -> None:
    """That it is gone is told elsewhere."""
    assert touches([deployment()], []) == []
