"""The agent's HTTP API over real sockets: who may change the plan, and what is refused."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.agent.health import Health
from scripts.agent.plan import LARGEST
from scripts.agent.plans import Plans
from scripts.agent.server import Api, server
from tests.doubles.disk_agent import World, two_versions

pytestmark = pytest.mark.timeout(60)

KEY = "a long enough key"
PLAN = {"schema": 1, "generation": 1, "models": {"cars": {"serve": [1]}}}


class Served:
    """An agent's API on a port of loopback."""

    def __init__(self, root: Path, *, key: str = KEY, open_to_all: bool = False) -> None:
        self.world: World = two_versions(root)
        self.plans = Plans(kept=root / "plan.json")
        self.changes = 0
        api = Api(
            follower=self.world.follower,
            plans=self.plans,
            health=Health(follower=self.world.follower),
            key=key,
            open=open_to_all,
            changed=self._change,
        )
        self.http = server(api, host="127.0.0.1", port=0)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def _change(self) -> None:
        self.changes += 1

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Ask once, and return the status and the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http.server_address[1], timeout=20)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, json.loads(text) if is_json else text.decode()

    def post(self, body: Any, key: str | None = KEY) -> tuple[int, Any]:
        """Post a plan with *key*."""
        return self.ask("POST", "/v1/plan", body, **({} if key is None else {"triton_admin_key": key}))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Serve an agent that has a key."""
    made = Served(tmp_path)
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_a_plan_is_taken_with_the_key(served: Served) -> None:
    """The loop is told, and the state names the plan."""
    status, answer = served.post(PLAN)
    assert (status, served.changes) == (200, 1)
    served.world.follower.step(served.plans.current)
    status, state = served.ask("GET", "/v1/state")
    assert status == 200
    assert state["plan"]["digest"] == state["followed"] == answer["digest"]
    assert (state["settled"], state["models"]["cars"]["stable"]) == (True, 1)
    assert state["models"]["cars"]["versions"]["1"]["phase"] == "serving"


@pytest.mark.parametrize("key", [None, "", "wrong", "a long enough kez", "ключ".encode().decode("latin-1")])
def test_a_plan_without_the_right_key_is_refused(served: Served, key: str | None) -> None:
    """Whatever it says, and nothing is changed."""
    status, answer = served.post(PLAN, key)
    assert (status, served.changes) == (401, 0)
    assert KEY not in json.dumps(answer)


def test_an_agent_without_a_key_takes_no_plan(tmp_path: Path) -> None:
    """An empty key in the header is not the key that it lacks."""
    made = Served(tmp_path, key="")
    for key in (None, "", "x"):
        assert made.post(PLAN, key)[0] == 403
    made.http.shutdown()
    made.http.server_close()


def test_a_laptops_agent_asks_for_no_key(tmp_path: Path) -> None:
    """Whoever reaches its loopback may change the plan."""
    made = Served(tmp_path, key="", open_to_all=True)
    assert made.post(PLAN, None)[0] == 200
    made.http.shutdown()
    made.http.server_close()


@pytest.mark.parametrize("key", [KEY, None])
def test_a_huge_plan_is_refused_and_not_kept(served: Served, key: str | None) -> None:
    """10 MB: the caller gets an answer, not a broken connection."""
    status, answer = served.post(b" " * 10_000_000, key)
    assert (status, served.changes) == (413 if key else 401, 0)
    assert "error" in answer


@pytest.mark.parametrize("length", ["", "-1", "1e3", "9" * 30, str(2 * LARGEST)])
def test_a_length_that_is_none_is_refused(served: Served, length: str) -> None:
    """Nobody waits for a body that does not come."""
    connection = http.client.HTTPConnection("127.0.0.1", served.http.server_address[1], timeout=20)
    connection.putrequest("POST", "/v1/plan")
    connection.putheader("triton-admin-key", KEY)
    connection.putheader("Content-Length", length)
    connection.endheaders()
    if length == str(2 * LARGEST):
        connection.send(b"x" * 2 * LARGEST)
    assert connection.getresponse().status in (411, 413)
    connection.close()
    assert served.changes == 0


@pytest.mark.parametrize(("asked", "said"), [({"Connection": "close"}, "close"), ({}, None)])
def test_a_connection_that_is_closed_is_said_to_be(served: Served, asked: dict[str, str], said: str | None) -> None:
    """A caller that keeps connections would ask on it once more; without the wish it is kept."""
    connection = http.client.HTTPConnection("127.0.0.1", served.http.server_address[1], timeout=20)
    for _ in range(2):
        connection.request("GET", "/v1/state", headers=asked)
        response = connection.getresponse()
        response.read()
        assert response.headers["Connection"] == said
    connection.close()


@pytest.mark.parametrize(
    "plan",
    [
        b"{",
        b"\xff",
        b"[" * 100_000,
        {**PLAN, "schema": 2},
        {**PLAN, "models": {"../x": {}}},
        {**PLAN, "models": {"cars": {"serve": ["../1"]}}},
        {**PLAN, "models": {"cars": {"digests": {"1": "../../x"}}}},
        {**PLAN, "after": "1"},
        {**PLAN, "generation": -1},
    ],
    ids=str,
)
def test_what_is_no_plan_is_refused(served: Served, plan: Any) -> None:
    """With a reason, and nothing is written anywhere."""
    before = sorted(served.world.root.rglob("*"))
    status, answer = served.post(plan)
    assert (status, served.changes) == (400, 0)
    assert answer["error"]
    assert sorted(served.world.root.rglob("*")) == before


def test_of_two_changes_the_slower_is_refused(served: Served) -> None:
    """Its answer names the generation that is followed."""
    assert served.post({**PLAN, "after": 0})[0] == 200
    status, answer = served.post({**PLAN, "generation": 2, "after": 0})
    assert (status, answer["generation"]) == (409, 1)


def test_health_is_told_to_probes(served: Served) -> None:
    """503 with the reason until something is served; what has not hung is alive all the time."""
    assert served.ask("GET", "/healthz") == (503, "nothing is served yet\n")
    assert served.ask("GET", "/livez") == (200, "ok\n")
    served.world.plan(1)
    assert served.ask("GET", "/healthz") == (200, "ok\n")
    assert served.ask("GET", "/metrics")[0] == 200
    assert served.ask("GET", "/v1/plan")[0] == 404
    assert served.ask("POST", "/v1/state")[0] == 404
