"""The cluster of a task is read once: what happens to the kubeconfig later does not matter."""

import json
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

from scripts.cluster import pinned as module
from scripts.cluster.helm import Helm
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.pinned import pinned
from scripts.cluster.says import ClusterFailure
from tests.doubles.kubernetes import Cluster, failed

TOKEN = "very-secret"
NO_CONTEXT = failed("error: current-context must exist in order to minify")


def config(*, user: dict[str, Any] | None = None, cluster: dict[str, str] | None = None) -> dict[str, Any]:
    """Return what kubectl says of a kubeconfig with one context."""
    return {
        "current-context": "mine",
        "clusters": [{"name": "c", "cluster": {"server": "https://one.example", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {"token": TOKEN}}],
    }


def test_every_command_names_context_and_server_and_reads_a_copy() -> None:
    """The copy is for this user alone, holds the login, and goes with the task; what is printed says none of it."""
    cluster = Cluster(answers={"kubectl config view": config()})
    with pinned(cluster) as where:
        assert where.kubeconfig is not None
        assert stat.S_IMODE(where.kubeconfig.stat().st_mode) == 0o600
        assert json.loads(where.kubeconfig.read_text())["users"][0]["user"] == {"token": TOKEN}
        kubectl = Kubectl(cluster, where=where, namespace="n").command("get", "pods")
        helm = Helm(cluster, where=where, namespace="n").uninstall("r")
        for command in (kubectl, helm):
            assert command.environment["KUBECONFIG"] == str(where.kubeconfig)
            assert str(where.kubeconfig.parent) not in str(command)
        assert str(kubectl) == "kubectl --context=mine --server=https://one.example --namespace=n get pods"
        assert str(helm) == ("helm uninstall r --namespace=n --kube-context=mine --kube-apiserver=https://one.example")
    assert not where.kubeconfig.parent.exists()
    assert str(where) == "mine (https://one.example)"
    assert cluster.ran == ["kubectl config view --minify --flatten --raw --output=json"]


def test_the_name_in_the_certificate_goes_along() -> None:
    """Both programs forget the kubeconfig's own as soon as they are told a server."""
    with pinned(Cluster(answers={"kubectl config view": config(cluster={"tls-server-name": "inner"})})) as where:
        assert where.kubectl[-1] == "--tls-server-name=inner"
        assert where.helm[-1] == "--kube-tls-server-name=inner"


@pytest.mark.parametrize("listed", [False, True], ids=["one file", "the second of two"])
def test_paths_of_a_login_count_from_their_kubeconfig(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listed: bool
) -> None:
    """The copy lies elsewhere; a program that is looked for on PATH is left as it is."""
    home = tmp_path / "kube"
    home.mkdir()
    (home / "login").touch()
    (home / "token").touch()
    files = [str(tmp_path / "config")] * listed + [str(home / "config")]
    monkeypatch.setenv("KUBECONFIG", ":".join(files))
    for user, key, found in (
        ({"exec": {"command": "./login"}}, "command", str(home / "login")),
        ({"exec": {"command": "aws"}}, "command", "aws"),
        ({"tokenFile": "token"}, "tokenFile", str(home / "token")),
    ):
        with pinned(Cluster(answers={"kubectl config view": config(user=user)})) as where:
            assert where.kubeconfig is not None
            copied = json.loads(where.kubeconfig.read_text())["users"][0]["user"]
            assert copied.get("exec", copied)[key] == found


def test_a_context_that_is_not_there_is_told() -> None:
    """With how to see those there are; and one that names no server."""
    lost = Cluster(answers={"kubectl config": failed("error: cannot locate context x")})
    with pytest.raises(ClusterFailure, match="get-contexts"), pinned(lost, context="x"):
        pass
    empty = Cluster(answers={"kubectl config": {"current-context": "mine"}})
    with pytest.raises(ClusterFailure, match="The context mine of the kubeconfig names no server"), pinned(empty):
        pass


def test_what_is_no_kubeconfig_is_not_shown() -> None:
    """It may hold a login."""
    with pytest.raises(ClusterFailure) as raised, pinned(Cluster(answers={"kubectl config": f"token: {TOKEN}"})):
        pass
    assert TOKEN not in str(raised.value)


def test_a_pod_without_a_kubeconfig_reaches_its_own_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As kubectl does by itself there; elsewhere it is said that there is no context."""
    cluster = Cluster(answers={"kubectl config": NO_CONTEXT})
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(module, "OWN", tmp_path)
    with pytest.raises(ClusterFailure, match="has no current context"), pinned(cluster):
        pass
    (tmp_path / "token").touch()
    with pinned(cluster) as where:
        assert (where.context, where.server) == ("in-cluster", "https://10.0.0.1:443")
        assert where.kubeconfig is not None
        assert json.loads(where.kubeconfig.read_text())["users"][0]["user"] == {"tokenFile": str(tmp_path / "token")}


def test_the_copy_goes_with_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds a login."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pinned(Cluster(answers={"kubectl config view": config()})) as where:
        assert where.kubeconfig is not None
        assert where.kubeconfig.is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []
