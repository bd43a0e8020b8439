"""Rendered without a cluster, as `helm template | kubectl apply` and Argo CD do: the same each time, or refused."""

import base64
import hashlib

import pytest

from tests.chart.cases import INSTALLED, LEAST, Values, merge
from tests.chart.engines import Library, Program, Refused


def test_no_key_is_made_that_nobody_keeps(library: Library, helm: Program) -> None:
    """Without a cluster the chart refuses to make a key, and says both ways out; each of them works."""
    for engine in (library, helm):
        with pytest.raises(Refused, match=r"name it in admin\.existingSecret .*or close no API: admin\.restrictedApis"):
            engine.render(INSTALLED)
        ways: tuple[Values, ...] = ({"existingSecret": "vault"}, {"restrictedApis": []})
        for way_out in ways:
            assert not engine.render(merge(INSTALLED, {"admin": way_out})).all("Secret")


def test_no_pod_of_a_test_is_among_the_objects(library: Library, helm: Program) -> None:
    """`kubectl apply` knows no hooks and would run the test's pod; who asks for it has it."""
    for engine in (library, helm):
        assert not engine.render(LEAST).all("Pod")
        (pod,) = engine.render(merge(LEAST, {"helmTest": {"enabled": True}})).all("Pod")
        assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"


def test_an_installation_makes_a_key_and_ties_the_pods_to_it(helm: Program) -> None:
    """As deploy-triton looks at the chart: key and test are there, and another key makes other pods."""
    sums = []
    for _ in range(2):
        rendered = helm.render(INSTALLED, looking=True)
        secret = rendered.one("Secret")
        assert secret["metadata"]["name"] == "triton-infer-admin"
        key = secret["data"]["key"]
        assert len(base64.b64decode(key)) == 40
        annotations = rendered.one("Deployment")["spec"]["template"]["metadata"]["annotations"]
        assert annotations["checksum/admin-key"] == hashlib.sha256(key.encode()).hexdigest()
        assert rendered.all("Pod")
        sums.append(annotations["checksum/admin-key"])
    assert sums[0] != sums[1]


def test_a_key_of_ones_own_needs_no_cluster(helm: Program) -> None:
    """Where the user's Secret cannot be looked at, no annotation pretends to know it."""
    rendered = helm.render(LEAST)
    assert "checksum/admin-key" not in rendered.text
    assert helm.render(LEAST).text == rendered.text
