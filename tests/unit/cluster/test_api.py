"""The API from within a pod: paths, login, patience, and what its refusals mean."""

import json
from pathlib import Path

import pytest

from scripts.cluster.api import Api
from scripts.cluster.says import ClusterFailure
from tests.doubles.kubernetes_api import ApiServer

MAP = {"metadata": {"name": "plan", "labels": {"app": "one"}}, "data": {"a": "1"}}


@pytest.fixture
def server() -> ApiServer:
    """Return a cluster with a ConfigMap."""
    made = ApiServer()
    made.put("configmaps", MAP)
    return made


def test_an_object_is_read_and_changed(server: ApiServer) -> None:
    """What the patch does not name stays; who made it is said."""
    api = server.api()
    api.patch("configmaps", "plan", {"data": {"b": "2"}}, manager="me")
    assert api.get("configmaps", "plan")["data"] == {"a": "1", "b": "2"}
    assert server.fields == [{"fieldManager": "me"}]
    assert [each["data"] for each in api.get("configmaps", selector="app=one")["items"]] == [{"a": "1", "b": "2"}]
    assert api.get("configmaps", selector="app=other")["items"] == []
    api.delete("configmaps", "plan")
    assert server.objects == {}


def test_a_change_of_what_has_changed_is_refused(server: ApiServer) -> None:
    """So that nobody's change is lost."""
    patch = {"metadata": {"resourceVersion": "0"}, "data": {"b": "2"}}
    with pytest.raises(ClusterFailure, match="Cannot change configmaps plan: the object has been modified") as failure:
        server.api().patch("configmaps", "plan", patch, manager="me")
    assert failure.value.cause == "busy"


@pytest.mark.parametrize(("rules", "name", "cause"), [([], "plan", "forbidden"), (None, "other", "not found")])
def test_a_refusal_has_a_cause(server: ApiServer, rules: list[object] | None, name: str, cause: str) -> None:
    """It is not asked again."""
    server.rules = rules  # type: ignore[assignment]
    with pytest.raises(ClusterFailure, match=f"Cannot read configmaps {name}: ") as failure:
        server.api().get("configmaps", name)
    assert (failure.value.cause, server.now) == (cause, 0)


def test_an_api_that_is_away_for_a_moment_is_asked_again(server: ApiServer) -> None:
    """The token is read each time: Kubernetes changes it."""
    tokens = iter(["one", "two", "three"])
    server.away = 2
    assert server.api(lambda: next(tokens)).get("configmaps", "plan")["data"] == {"a": "1"}
    assert server.tokens == ["three"]


@pytest.mark.parametrize(("away", "why"), [(10**6, "currently unable"), (-1, "gives no answer")])
def test_an_api_that_stays_away_is_given_up(server: ApiServer, away: int, why: str) -> None:
    """After a minute, with what was heard last."""
    server.away = away
    with pytest.raises(ClusterFailure, match=why):
        server.api().get("configmaps", "plan")
    assert 60 <= server.now < 70


@pytest.mark.parametrize(("host", "url"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")])
def test_a_pod_finds_the_api(tmp_path: Path, host: str, url: str) -> None:
    """By what Kubernetes puts into its environment and its folder."""
    (tmp_path / "token").write_text("planted\n")
    variables = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}
    api = Api.inside(variables, "triton", account=tmp_path)
    assert (api.url, api.token(), api.namespace) == (url, "planted", "triton")
    assert api.pool.connection_pool_kw["ca_certs"] == str(tmp_path / "ca.crt")
    assert "planted" not in json.dumps(repr(api))


def test_a_pod_without_a_token_is_told(tmp_path: Path) -> None:
    """Its service account gives none, say."""
    variables = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "9"}
    with pytest.raises(ClusterFailure, match=r"^Cannot read pods: this pod has no token\. .*token'$") as raised:
        Api.inside(variables, "triton", account=tmp_path).get("pods")
    assert raised.value.cause == "login"
