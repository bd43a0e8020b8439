"""The cluster's API, asked from within a pod: with the token of its service account, and without kubectl."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import attrs
import urllib3

from scripts.cluster.patience import PATIENCE_S, PAUSES_S
from scripts.cluster.says import Cause, ClusterFailure
from scripts.host.clock import Clock

# Where Kubernetes puts what a pod may show to the API.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
_TIMEOUT_S = 10.0
_CAUSES: Mapping[int, Cause] = {401: "login", 403: "forbidden", 404: "not found", 409: "busy"}
# An API that is away for the moment, or has too much to do.
_PASSING = (429, 500, 502, 503, 504)


@attrs.frozen(kw_only=True)
class Api:
    """The API, set to a namespace.

    Attributes:
        url: Its address.
        namespace: The namespace.
        token: Gives what the login is; Kubernetes changes it now and then.
        pool: Makes the connections.
        patience_s: It is asked again for so long while it is away.
        clock: What is waited on.
    """

    url: str
    namespace: str
    token: Callable[[], str]
    pool: urllib3.PoolManager = attrs.field(repr=False)
    patience_s: float = PATIENCE_S
    clock: Clock = attrs.field(factory=Clock)

    @classmethod
    def inside(cls, environment: Mapping[str, str], namespace: str, *, account: Path = ACCOUNT) -> Self:
        """Return the API as a pod with *environment* reaches it."""
        host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
        return cls(
            url=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
            namespace=namespace,
            token=lambda: (account / "token").read_text(encoding="utf-8").strip(),
            pool=urllib3.PoolManager(ca_certs=str(account / "ca.crt")),
        )

    def get(self, kind: str, name: str = "", *, selector: str = "", group: str = "v1") -> Mapping[str, Any]:
        """Return an object, or the list of those with some labels.

        Args:
            kind: The kind, as paths have it: ``pods``.
            name: Its name; empty for a list.
            selector: The labels.
            group: The version of the API, with its group: ``apps/v1``.

        Raises:
            ClusterFailure: If it does not answer, or refuses.
        """
        fields = {"labelSelector": selector} if selector else {}
        return self._ask("GET", self._path(group, kind, name), fields, doing=f"read {kind} {name}".strip())

    def create(self, kind: str, body: Mapping[str, Any], *, group: str = "v1") -> None:
        """Make an object.

        Raises:
            ClusterFailure: If it does not answer, or refuses; with the cause ``"busy"`` if there is one of that name,
                which may be this one if an answer was lost.
        """
        name = body["metadata"]["name"]
        self._ask("POST", self._path(group, kind), {}, body, doing=f"make {kind} {name}")

    def patch(
        self, kind: str, name: str, body: Mapping[str, Any], *, manager: str, how: str = MERGE, group: str = "v1"
    ) -> None:
        """Change an object.

        Args:
            kind: The kind, as paths have it.
            name: Its name.
            body: What to change.
            manager: By whom.
            how: The kind of the patch; one that is applied takes from others what they have set.
            group: The version of the API, with its group.

        Raises:
            ClusterFailure: If it does not answer, or refuses; with the cause ``"busy"`` if it has changed meanwhile.
        """
        fields = {"fieldManager": manager, **({"force": "true"} if how == APPLY else {})}
        self._ask("PATCH", self._path(group, kind, name), fields, body, how=how, doing=f"change {kind} {name}")

    def delete(self, kind: str, name: str, *, group: str = "v1") -> None:
        """Remove an object.

        Raises:
            ClusterFailure: If it does not answer, or refuses.
        """
        self._ask("DELETE", self._path(group, kind, name), {}, doing=f"remove {kind} {name}")

    def _path(self, group: str, kind: str, name: str = "") -> str:
        root = f"/apis/{group}" if "/" in group else f"/api/{group}"
        return f"{root}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def _ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        *,
        how: str = "application/json",
        doing: str,
    ) -> Mapping[str, Any]:
        """Ask until it answers, or for as long as the patience lasts."""
        begun, pauses = self.clock.now(), iter(PAUSES_S)
        url = self.url + path + (f"?{urlencode(fields)}" if fields else "")
        while True:
            try:
                token = self.token()
            except OSError as error:
                raise ClusterFailure(f"Cannot {doing}: this pod has no token. {error}", cause="login") from error
            headers = {"Authorization": f"Bearer {token}", "Content-Type": how, "Accept": "application/json"}
            try:
                answer = self.pool.request(
                    method,
                    url,
                    body=None if body is None else json.dumps(body).encode(),
                    headers=headers,
                    timeout=_TIMEOUT_S,
                    retries=False,
                )
            except urllib3.exceptions.HTTPError as error:
                status, said = 0, str(error)
            else:
                status, said = answer.status, answer.data.decode("utf-8", "replace")
            if 200 <= status < 300:
                found: Mapping[str, Any] = json.loads(said)
                return found
            if (status and status not in _PASSING) or self.clock.now() - begun >= self.patience_s:
                raise ClusterFailure(f"Cannot {doing}: {_told(status, said)}", cause=_CAUSES.get(status, "other"))
            self.clock.sleep(next(pauses, PAUSES_S[-1]))


def _told(status: int, said: str) -> str:
    """Return what the API said, in its own words where it has some."""
    if not status:
        return f"the cluster's API gives no answer ({said})"
    try:
        return str(json.loads(said)["message"])
    except (ValueError, KeyError, TypeError):
        return f"the cluster's API answers HTTP {status}"
