"""Which cluster a task acts on: read once, so that a kubeconfig that changes under the task is not its concern."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.cluster.kubectl import Kubectl
from scripts.cluster.says import ClusterFailure
from scripts.cluster.target import Where
from scripts.host import settings, temporary
from scripts.host.shell import Runner

# What a pod that has no kubeconfig reaches its own cluster with.
OWN = Path("/var/run/secrets/kubernetes.io/serviceaccount")
IN_CLUSTER = "in-cluster"


@contextlib.contextmanager
def pinned(runner: Runner, *, context: str | None = None) -> Iterator[Where]:
    """Read the kubeconfig once, and give the cluster that *context* (default: the current one) names.

    The context is copied with its login into a file that only this user can read, and that goes with the block.
    Programs that get the login (exec plugins) run as they do for the original.

    Raises:
        ClusterFailure: If there is no such context, or no kubectl to read it with.
    """
    found = _read(runner, context)
    chosen = str(found.get("current-context") or context or "")
    cluster = (found.get("clusters") or [{}])[0].get("cluster") or {}
    if not cluster.get("server"):
        raise ClusterFailure(f"The context {chosen} of the kubeconfig names no server.", cause="context")
    with temporary.folder("kubeconfig") as folder:
        file = folder / "config"
        file.touch(mode=0o600)
        file.write_text(json.dumps(found), encoding="utf-8")
        name = cluster.get("tls-server-name", "")
        yield Where(context=chosen, server=cluster["server"], tls_name=name, kubeconfig=file)


def _read(runner: Runner, context: str | None) -> dict[str, Any]:
    """Return the kubeconfig with one context alone; it holds secrets."""
    which = (f"--context={context}",) if context else ()
    view = ("config", "view", "--minify", "--flatten", "--raw", "--output=json")
    try:
        text = Kubectl(runner).text(*which, *view, doing="read the kubeconfig")
    except ClusterFailure as error:
        own = None if context or error.cause != "context" else _in_cluster(settings.inherited(), folder=OWN)
        if own is None:
            raise
        return own
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        raise ClusterFailure("kubectl config view answered no JSON.") from None
    for user in found.get("users") or ():
        _make_absolute(user.get("user") or {})
    return found


def _make_absolute(user: dict[str, Any]) -> None:
    """Make the paths in a login absolute: they count from the folder of the file that they come from."""
    files = settings.inherited().get("KUBECONFIG", "").split(":")
    folders = [Path(file).absolute().parent for file in files if file] or [Path.home() / ".kube"]
    places = [(user, "tokenFile"), (user.get("exec") or {}, "command")]
    for where, key in places:
        path = where.get(key) or ""
        # A command without a slash is looked for on PATH.
        if path and not Path(path).is_absolute() and (key == "tokenFile" or "/" in path):
            where[key] = str(next((each / path for each in folders if (each / path).exists()), folders[0] / path))


def _in_cluster(variables: Mapping[str, str], *, folder: Path) -> dict[str, Any] | None:
    """Return the kubeconfig of the pod that this runs in; None where this is no pod."""
    host, port = variables.get("KUBERNETES_SERVICE_HOST"), variables.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (folder / "token").is_file():
        return None
    address = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    cluster = {"server": address, "certificate-authority": str(folder / "ca.crt")}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": IN_CLUSTER,
        "contexts": [{"name": IN_CLUSTER, "context": {"cluster": IN_CLUSTER, "user": IN_CLUSTER}}],
        "clusters": [{"name": IN_CLUSTER, "cluster": cluster}],
        "users": [{"name": IN_CLUSTER, "user": {"tokenFile": str(folder / "token")}}],
    }
