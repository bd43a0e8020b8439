"""The API of a cluster in memory, as a pod asks it: objects with versions and owners of fields, rights by a Role."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import urllib3

from scripts.cluster.api import Api
from scripts.host.clock import Clock

NAMESPACE = "triton"


@attrs.frozen
class Reply:
    """An HTTP answer."""

    status: int
    data: bytes


@attrs.define(kw_only=True)
class ApiServer:
    """Answers in the place of urllib3's pool.

    Attributes:
        objects: What there is, by ``RESOURCE/NAME``.
        rules: What the caller may do, as a Role says it; None: all.
        away: How many answers are HTTP 503 first; -1: none comes at all.
        lost: How many changes are made without an answer.
        asked: What was asked, in order: verb, resource and name.
        fields: The options of each change.
        tokens: The tokens that were shown.
        meanwhile: What happens before the next change.
        now: The time.
    """

    objects: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    rules: Sequence[Mapping[str, Any]] | None = None
    away: int = 0
    lost: int = 0
    asked: list[str] = attrs.field(factory=list)
    fields: list[Mapping[str, str]] = attrs.field(factory=list)
    tokens: list[str] = attrs.field(factory=list)
    meanwhile: Callable[[], object] | None = None
    now: float = 0.0

    def api(self, token: Callable[[], str] = lambda: "planted-token") -> Api:
        """Return the API as a pod asks it."""
        pool: Any = self
        clock = Clock(now=lambda: self.now, sleep=self._sleep)
        return Api(url="https://10.0.0.1:443", namespace=NAMESPACE, token=token, pool=pool, clock=clock)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def put(self, resource: str, found: Mapping[str, Any]) -> None:
        """Have an object, as of now."""
        made = copy.deepcopy(dict(found))
        key = f"{resource}/{made['metadata']['name']}"
        before = int(self.objects.get(key, {"metadata": {}})["metadata"].get("resourceVersion", 0))
        made["metadata"] = {**made["metadata"], "resourceVersion": str(before + 1)}
        self.objects[key] = made

    def request(
        self, method: str, url: str, *, body: bytes | None, headers: Mapping[str, str], timeout: float, retries: bool
    ) -> Reply:
        """Answer."""
        assert (timeout > 0, retries) == (True, False)
        if self.away:
            self.away -= self.away > 0
            if self.away < 0:
                raise urllib3.exceptions.ProtocolError("no route to host")
            return self._refused(503, "the server is currently unable to handle the request")
        self.tokens.append(headers["Authorization"].removeprefix("Bearer "))
        parts = urlsplit(url)
        fields = {key: values[0] for key, values in parse_qs(parts.query).items()}
        path = parts.path.split("/")[1:]
        group = path[1] if path[0] == "apis" else ""
        resource, name = (*path[path.index("namespaces") + 2 :], "")[:2]
        verb = {"GET": "get" if name else "list", "POST": "create", "PATCH": "patch", "DELETE": "delete"}[method]
        self.asked.append(f"{verb} {resource} {name}".strip())
        if not self._may(verb, group, resource, name):
            return self._refused(403, f'{resource} "{name}" is forbidden: cannot {verb} resource')
        if verb in ("get", "list"):
            return self._found(resource, name, fields)
        if self.meanwhile is not None:
            event, self.meanwhile = self.meanwhile, None
            event()
        self.fields.append(fields)
        reply = self._changed(verb, resource, name, json.loads(body or b"{}"), headers["Content-Type"])
        if self.lost and reply.status < 300:
            self.lost -= 1
            raise urllib3.exceptions.ProtocolError("connection lost")
        return reply

    def _may(self, verb: str, group: str, resource: str, name: str) -> bool:
        return self.rules is None or any(
            group in rule["apiGroups"]
            and resource in rule["resources"]
            and verb in rule["verbs"]
            and ("resourceNames" not in rule or name in rule["resourceNames"])
            for rule in self.rules
        )

    def _found(self, resource: str, name: str, fields: Mapping[str, str]) -> Reply:
        if name:
            found = self.objects.get(f"{resource}/{name}")
            return self._reply(found) if found else self._refused(404, f'{resource} "{name}" not found')
        wanted = dict(each.split("=") for each in fields["labelSelector"].split(","))
        items = [
            each
            for key, each in self.objects.items()
            if key.startswith(f"{resource}/") and wanted.items() <= each["metadata"].get("labels", {}).items()
        ]
        return self._reply({"items": items})

    def _changed(self, verb: str, resource: str, name: str, body: dict[str, Any], how: str) -> Reply:
        key = f"{resource}/{name or body['metadata']['name']}"
        if verb == "create":
            if key in self.objects:
                return self._refused(409, f"{key} already exists")
            self.put(resource, body)
            return self._reply(self.objects[key])
        if key not in self.objects:
            return self._refused(404, f"{key} not found")
        if verb == "delete":
            return self._reply(self.objects.pop(key))
        there = self.objects[key]
        version = body.get("metadata", {}).get("resourceVersion")
        if version not in (None, there["metadata"]["resourceVersion"]):
            return self._refused(409, "the object has been modified")
        if how.startswith("application/apply"):  # a list of fields is all that its manager has
            kept = {k: v for k, v in there.get("data", {}).items() if k not in ("plan.json", "more")}
            there = {**there, "data": kept}
        self.put(resource, _merged(there, body))
        return self._reply(self.objects[key])

    @staticmethod
    def _reply(found: Mapping[str, Any]) -> Reply:
        return Reply(200, json.dumps(found).encode())

    @staticmethod
    def _refused(status: int, message: str) -> Reply:
        return Reply(status, json.dumps({"kind": "Status", "message": message}).encode())


def _merged(there: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a merge patch makes of an object (RFC 7386)."""
    made = dict(there)
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = _merged(made.get(key) or {}, value) if isinstance(value, dict) else value
    return made
