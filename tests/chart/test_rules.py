"""Our own checks find what they are for."""

import copy
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from tests.chart.cases import ALL
from tests.chart.engines import Library, Manifest, Rendered
from tests.chart.rules import problems, quantity

# As an installation makes it: offline the chart does not.
SECRET: Manifest = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {
        "name": "triton-infer-admin",
        "namespace": "triton",
        "labels": {"app.kubernetes.io/instance": "triton-infer", "helm.sh/chart": "triton-1"},
    },
    "data": {"key": "c2VjcmV0" * 8},
}
Spoil = Callable[[Rendered], Any]


def _with_secret(library: Library) -> Rendered:
    rendered = library.render(ALL)
    return attrs.evolve(rendered, manifests=(*rendered.manifests, copy.deepcopy(SECRET)))


def _labels(rendered: Rendered) -> dict[str, str]:
    labels: dict[str, str] = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    return labels


def _container(rendered: Rendered) -> dict[str, Any]:
    return rendered.container


SPOILED: list[tuple[str, Spoil, str]] = [
    (
        "selector",
        lambda r: _labels(r).update({"app.kubernetes.io/instance": "x"}),
        "Deployment triton-infer selects nothing",
    ),
    (
        "service",
        lambda r: r.one("Service", "triton-infer")["spec"]["selector"].update(a="b"),
        "Service triton-infer selects",
    ),
    (
        "test pod",
        lambda r: r.one("Pod")["metadata"]["labels"].update({"app.kubernetes.io/component": "server"}),
        "selects ['Deployment', 'Pod']",
    ),
    (
        "changing label",
        lambda r: r.one("Deployment")["spec"]["selector"]["matchLabels"].update(
            {"app.kubernetes.io/version": "sha256-0123456789ab"}
        ),
        "by a label that changes",
    ),
    ("namespace", lambda r: r.one("Service", "triton-infer")["metadata"].pop("namespace"), "without its namespace"),
    ("name", lambda r: r.one("Secret")["metadata"].update(name="A_b"), "no DNS label"),
    ("label", lambda r: r.one("Secret")["metadata"]["labels"].update(a="-x"), "a cannot be '-x'"),
    ("annotation", lambda r: r.one("Pod")["metadata"]["annotations"].update({"a b": "x"}), "a b is no label"),
    ("unlabelled", lambda r: r.one("Secret")["metadata"].update(labels={}), "without the recommended labels"),
    ("probe", lambda r: r.agent["startupProbe"]["httpGet"].update(port="htpp"), "unknown port htpp"),
    ("probe of the other", lambda r: _container(r)["startupProbe"]["httpGet"].update(port="agent"), "port agent"),
    ("asking probe", lambda r: r.agent["ports"][0].update(containerPort=8004), "readinessProbe asks the unknown port"),
    (
        "service port",
        lambda r: r.one("Service", "triton-infer")["spec"]["ports"][0].update(targetPort="x"),
        "Service triton-infer: unknown port x",
    ),
    (
        "ingress",
        lambda r: r.one("Ingress", "triton-infer")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"].update(
            name="x"
        ),
        "Ingress leads to x:http",
    ),
    ("route", lambda r: r.one("GRPCRoute")["spec"]["rules"][0]["backendRefs"][0].update(port=1), "GRPCRoute leads to"),
    (
        "policy",
        lambda r: r.one("NetworkPolicy")["spec"]["ingress"][0]["ports"][0].update(port="x"),
        "opens the unknown",
    ),
    ("monitor", lambda r: r.one("ServiceMonitor")["spec"]["endpoints"][0].update(port="x"), "reads the unknown port x"),
    ("mount", lambda r: r.pod["volumes"].pop(0), "mounts ['tmp'] without a volume"),
    ("volume", lambda r: r.pod["volumes"].append({"name": "x", "emptyDir": {}}), "has volumes ['x']"),
    (
        "host path",
        lambda r: r.pod["volumes"][0].update({"hostPath": {}}) or r.pod["volumes"][0].pop("emptyDir"),
        "not allowed",
    ),
    (
        "config",
        lambda r: r.one("ConfigMap", "triton-infer-plan")["metadata"].update(name="triton-infer-plans"),
        "mounts None of ConfigMap triton-infer-plan",
    ),
    (
        "key of a config",
        lambda r: _container(r)["volumeMounts"].append({"name": "models", "mountPath": "/x", "subPath": "x.pbtxt"}),
        "mounts x.pbtxt of ConfigMap",
    ),
    ("agent's rights", lambda r: r.agent["securityContext"].update(capabilities={}), "container agent may gain rights"),
    (
        "secret key",
        lambda r: r.one("Secret")["data"].update(k=r.one("Secret")["data"].pop("key")),
        "takes TRITON_ADMIN_KEY",
    ),
    ("gpu", lambda r: _container(r)["resources"]["requests"].pop("nvidia.com/mig-1g.10gb"), "request and limit differ"),
    (
        "request",
        lambda r: _container(r)["resources"]["requests"].update(cpu="64"),
        "cpu: the request is above the limit",
    ),
    ("quantity", lambda r: _container(r)["resources"]["limits"].update(memory="4 GB"), "memory cannot be '4 GB'"),
    ("shm", lambda r: r.pod["volumes"][1]["emptyDir"].update(sizeLimit="60Gi"), "leave the server less"),
    ("token", lambda r: r.pod.pop("automountServiceAccountToken"), "mounts a token"),
    ("root", lambda r: r.pod["securityContext"].update(runAsUser=0), "may run as root"),
    ("seccomp", lambda r: r.pod["securityContext"].pop("seccompProfile"), "without a seccomp profile"),
    ("host network", lambda r: r.pod.update(hostNetwork=True), "shares the node's namespaces"),
    ("capabilities", lambda r: _container(r)["securityContext"].update(capabilities={}), "may gain rights"),
    ("writable", lambda r: _container(r)["securityContext"].pop("readOnlyRootFilesystem"), "can write to its root"),
    ("grace", lambda r: r.pod.update(terminationGracePeriodSeconds=300), "killed before it has finished"),
    (
        "shown key",
        lambda r: _container(r)["args"].append(r.one("Secret")["data"]["key"]),
        "Deployment triton-infer shows the secret",
    ),
    ("weak key", lambda r: r.one("Secret")["data"].update(key="YWJj"), "3 characters can be guessed"),
]


@pytest.mark.parametrize(("spoil", "found"), [case[1:] for case in SPOILED], ids=[case[0] for case in SPOILED])
def test_what_is_spoiled_is_found(library: Library, spoil: Spoil, found: str) -> None:
    """Each of our checks tells the mistake that it is for, in objects that are right otherwise."""
    rendered = _with_secret(library)
    assert problems(rendered.manifests) == []
    spoil(rendered)
    assert any(found in problem for problem in problems(rendered.manifests)), problems(rendered.manifests)


def test_an_object_that_is_there_twice_is_found(library: Library) -> None:
    """Two objects of one kind and name are told."""
    manifests = _with_secret(library).manifests
    assert "Secret triton-infer-admin is there twice" in problems([*manifests, copy.deepcopy(SECRET)])


@pytest.mark.parametrize(("text", "number"), [("500m", 0.5), ("1.5Gi", 1.5 * 2**30), (2, 2), ("2000M", 2e9)])
def test_quantities_are_read(text: object, number: float) -> None:
    """Quantities are read as Kubernetes does."""
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["4 Gi", "4GB", "1e", "", "-1"])
def test_other_texts_are_no_quantity(text: str) -> None:
    """What Kubernetes would refuse is refused."""
    with pytest.raises(ValueError, match="no quantity"):
        quantity(text)
