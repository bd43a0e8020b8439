"""The agent's HTTP API: health, state, plans and metrics."""

import errno
import hmac
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, TypeAlias

from scripts.agent import metrics, outcomes
from scripts.agent.errors import AgentError, OutdatedPlanError, PlanError
from scripts.agent.follow import Follower
from scripts.agent.health import Health
from scripts.agent.outcomes import Outcomes
from scripts.agent.pace import Pace
from scripts.agent.plan import LARGEST, Plan, is_number, read_object
from scripts.agent.plans import Plans
from scripts.agent.traffic import Traffic, to_text
from scripts.agent.traffics import Traffics
from scripts.agent.triton import KEY_HEADER

SCHEMA = 1
# All addresses of this machine: a pod has one of IPv4, of IPv6, or of both.
EVERYWHERE = "::"
_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
PLAN_PATH, TRAFFIC_PATH, OUTCOMES_PATH = "/v1/plan", "/v1/traffic/", "/v1/outcomes/"
Answer: TypeAlias = tuple[HTTPStatus, dict[str, Any]]
_SILENCE_S = 30.0
# So much of a refused body is read, in bytes, and a length has so many digits at most.
_READ_ANYWAY, _DIGITS = 32 * LARGEST, 12


@dataclass(kw_only=True)
class Api:
    """What the agent answers.

    Attributes:
        follower: Knows what is served.
        plans: Knows the serving plan.
        traffics: Knows the traffic plans.
        outcomes: Knows what became of the calls of clients that follow one.
        health: Knows whether the server answers.
        pace: Knows how fast the server has been of late.
        key: What a plan must be posted with; empty: nobody may post one, unless *open*.
        open: Whether anybody who reaches the agent may post a plan: on a laptop's loopback.
        changed: Called after a serving plan was taken.
    """

    follower: Follower
    plans: Plans
    traffics: Traffics
    outcomes: Outcomes
    health: Health
    pace: Pace
    key: str
    open: bool
    changed: Callable[[], None]

    def state(self) -> dict[str, Any]:
        """Return what ``GET /v1/state`` answers."""
        image = self.follower.fetches.library.in_image()
        with self.follower.lock:
            return {
                "schema": SCHEMA,
                "plan": {
                    "digest": self.plans.current.digest,
                    "generation": self.plans.current.generation,
                    "source": self.plans.source,
                    "fault": self.plans.fault or None,
                    "models": self.plans.current.to_dict()["models"],
                },
                "before": self.plans.before.to_dict()["models"],
                "followed": self.follower.followed and self.follower.followed.digest,
                "settled": self.follower.has_settled(self.plans.current),
                "problem": self.health.problem() or None,
                "restart_needed": self.follower.restart_needed,
                "traffic": {name: self._told(plan) for name, plan in self.traffics.all().items()},
                "outcomes": self.outcomes.to_dict(),
                "pace": self.pace.to_dict(),
                "models": {
                    name: {"image": list(image.get(name, ())), **state.to_dict()}
                    for name, state in sorted(self.follower.models.items())
                },
            }

    def traffic(self, model: str) -> Answer:
        """Return what ``GET /v1/traffic/MODEL`` answers."""
        with self.follower.lock:
            known = model in self.follower.models
        if not known:
            return HTTPStatus.NOT_FOUND, {"error": f"There is no model {model[:100]!r} here."}
        return HTTPStatus.OK, self._told(self.traffics.of(model))

    def _told(self, plan: Traffic) -> dict[str, Any]:
        """Return a traffic plan with the time, so that the clock of whoever asks does not matter."""
        now = self.traffics.wall()
        return {**plan.to_dict(), "now": to_text(now), "in_force": not plan.is_over(now)}

    def take(self, body: bytes) -> Answer:
        """Take a posted serving plan, and return the answer."""

        def post() -> Plan:
            plan = Plan.parse(body)
            self.plans.post(plan, after=_after(body))
            self.changed()
            return plan

        return _answered(post, lambda: self.plans.current)

    def take_traffic(self, model: str, body: bytes) -> Answer:
        """Take a posted traffic plan for *model*, and return the answer."""

        def post() -> Traffic:
            plan = Traffic.parse(body, model=model)
            with self.follower.lock:
                state = self.follower.models.get(model)
                if state is None:
                    raise PlanError(f"There is no model {model[:100]!r} here.")
                served, candidate = state.serving, state.candidate
            own = candidate[0] if candidate and candidate[1].phase == "serving" else None
            self.traffics.post(plan, served=served, candidate=own, after=_after(body))
            return plan

        return _answered(post, lambda: self.traffics.of(model))

    def take_outcomes(self, model: str, body: bytes) -> Answer:
        """Take what a client tells of its calls of *model*, and return the answer."""
        with self.follower.lock:
            state = self.follower.models.get(model)
            stable = state.stable if state else None
        if state is None:
            return HTTPStatus.NOT_FOUND, {"error": f"There is no model {model[:100]!r} here."}
        try:
            self.outcomes.take(model, body, stable=stable)
        except PlanError as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)}
        return HTTPStatus.OK, {}

    def post(self, path: str, body: bytes) -> Answer:
        """Take what was posted to *path*, and return the answer."""
        if path.startswith(OUTCOMES_PATH):
            return self.take_outcomes(path.removeprefix(OUTCOMES_PATH), body)
        if path.startswith(TRAFFIC_PATH):
            return self.take_traffic(path.removeprefix(TRAFFIC_PATH), body)
        return self.take(body)

    def refusal(self, path: str, key: str, length: int | None) -> Answer | None:
        """Return how a post of so many bytes is refused before they are looked at; None: it is not."""
        told = path.startswith(OUTCOMES_PATH)
        if not told and path != PLAN_PATH and not path.startswith(TRAFFIC_PATH):
            return HTTPStatus.NOT_FOUND, {"error": f"A plan is posted to {PLAN_PATH} or {TRAFFIC_PATH}MODEL."}
        if not told and not self.may_post(key):
            if not self.key:
                return HTTPStatus.FORBIDDEN, {"error": "This agent has no admin key, and takes no plan without one."}
            return HTTPStatus.UNAUTHORIZED, {"error": f"The header {KEY_HEADER} has to carry the admin key."}
        if length is None:
            return HTTPStatus.LENGTH_REQUIRED, {"error": "The header Content-Length is missing."}
        if length > (most := outcomes.LARGEST if told else LARGEST):
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"At most {most} bytes are taken here."}
        return None

    def may_post(self, key: str) -> bool:
        """Return whether a caller with *key* may post a plan."""
        return self.open or (bool(self.key) and hmac.compare_digest(key.encode(), self.key.encode()))


def _after(body: bytes) -> int | None:
    """Return the generation that a posted plan may follow; None: any lower one.

    Raises:
        PlanError: If it is none.
    """
    after = read_object(body).get("after")
    if after is None or is_number(after, least=0):
        return after
    raise PlanError("after is no generation.")


def _answered(post: Callable[[], Plan | Traffic], followed: Callable[[], Plan | Traffic]) -> Answer:
    """Return the answer to a plan that *post* takes or refuses."""
    try:
        plan = post()
    except OutdatedPlanError as error:
        return HTTPStatus.CONFLICT, {"error": str(error), "generation": followed().generation}
    except PlanError as error:
        return HTTPStatus.BAD_REQUEST, {"error": str(error)}
    except AgentError as error:
        return HTTPStatus.INSUFFICIENT_STORAGE, {"error": str(error)}
    return HTTPStatus.OK, {"digest": plan.digest, "generation": plan.generation}


def server(api: Api, *, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server for *api*, bound and not yet serving.

    Args:
        api: What it answers.
        host: The address to listen on; `EVERYWHERE`: all of IPv4 and of IPv6, if there is IPv6.
        port: The port; 0: any free one.

    Raises:
        OSError: If it cannot listen there.
    """

    class Handler(BaseHTTPRequestHandler):
        """Answers one connection."""

        timeout = _SILENCE_S
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Answer a question."""
            path = self.path.partition("?")[0]
            if path == "/v1/state":
                self._json(HTTPStatus.OK, api.state())
            elif path.startswith(TRAFFIC_PATH):
                self._json(*api.traffic(path.removeprefix(TRAFFIC_PATH)))
            elif path == "/startz":
                self._word(api.health.unstarted())
            elif path == "/healthz":
                self._word(api.health.problem())
            elif path == "/livez":
                self._word(api.health.dead())
            elif path == "/metrics":
                text = metrics.text(api.follower, api.plans, api.traffics, api.outcomes, api.health)
                self._answer(HTTPStatus.OK, text.encode(), "text/plain; version=0.0.4")
            else:
                self._json(HTTPStatus.NOT_FOUND, {"error": f"There is no {path[:100]!r} here."})

        def do_POST(self) -> None:
            """Take a plan, or what a client tells."""
            path = self.path.partition("?")[0]
            text = self.headers.get("Content-Length", "")
            length = int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None
            refusal = api.refusal(path, self.headers.get(KEY_HEADER, ""), length)
            # What is left of a refused body is no next request, and a caller reads no answer before it has sent all.
            self.close_connection = length is None or length > _READ_ANYWAY
            body = b""
            for start in range(0, min(length or 0, _READ_ANYWAY), LARGEST):
                part = self.rfile.read(min(LARGEST, (length or 0) - start))
                body = part if not refusal else b""
            self._json(*(refusal or api.post(path, body)))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
            """Keep quiet: probes ask every few seconds."""

        def _word(self, problem: str) -> None:
            status = HTTPStatus.SERVICE_UNAVAILABLE if problem else HTTPStatus.OK
            self._answer(status, (problem or "ok").encode() + b"\n", "text/plain; charset=utf-8")

        def _json(self, status: HTTPStatus, data: dict[str, Any]) -> None:
            self._answer(status, json.dumps(data).encode(), "application/json")

        def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if self.close_connection:  # or a caller would ask once more on a connection that is gone
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

    try:
        return _Server(Handler, host=host, port=port)
    except OSError as error:
        if host != EVERYWHERE or error.errno not in _NO_IPV6:
            raise
        return _Server(Handler, host="0.0.0.0", port=port)


class _Server(ThreadingHTTPServer):
    """Listens; on an IPv6 address that stands for all, on those of IPv4 too."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler], *, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)

    def server_bind(self) -> None:
        """Bind, and ask no name server for the name of this machine, as the base class does."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
