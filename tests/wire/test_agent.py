"""The agent's HTTP API over real sockets: who may change the plan, and what is refused."""

import http.client
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scripts.agent import files
from scripts.agent.plan import LARGEST
from scripts.server.endpoint import AGENT_OFFSET
from scripts.tasks import measuring
from tests.wire.agents import KEY, Served

pytestmark = pytest.mark.timeout(60)

PLAN = {"schema": 1, "generation": 1, "models": {"cars": {"serve": [1]}}}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Serve an agent that has a key."""
    made = Served(tmp_path)
    yield made
    made.close()


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
    made.close()


def test_a_laptops_agent_asks_for_no_key(tmp_path: Path) -> None:
    """Whoever reaches its loopback may change the plan."""
    made = Served(tmp_path, key="", open_to_all=True)
    assert made.post(PLAN, None)[0] == 200
    made.close()


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


def traffic(**changes: Any) -> dict[str, Any]:
    """Return a traffic plan that may be posted where version 1 is served, and version 2 as the candidate."""
    end = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    plan = {"schema": 1, "model": "cars", "generation": 1, "routes": {"1": 90, "2": 10}, "candidate": 2, "expires": end}
    return {**plan, **changes}


def test_a_traffic_plan_is_offered_to_everybody(served: Served) -> None:
    """It takes the key to set it and none to read it; the answer has the time, and so do the state and the metrics."""
    served.world.plan(1, candidate=2)
    assert served.ask("GET", "/v1/traffic/cars")[1]["routes"] == {}
    assert served.ask("POST", "/v1/traffic/cars", traffic())[0] == 401
    status, _ = served.ask("POST", "/v1/traffic/cars", traffic(), triton_admin_key=KEY)
    assert status == 200
    status, plan = served.ask("GET", "/v1/traffic/cars")
    assert (status, plan["routes"], plan["candidate"], plan["in_force"]) == (200, {"1": 90, "2": 10}, 2, True)
    assert datetime.fromisoformat(plan["now"]) < datetime.fromisoformat(plan["expires"])
    assert served.ask("GET", "/v1/state")[1]["traffic"]["cars"]["generation"] == 1
    shares = [line for line in served.ask("GET", "/metrics")[1].splitlines() if line.startswith("triton_agent_traffic")]
    assert shares == [
        'triton_agent_traffic_share{model="cars",version="1",role="served"} 0.9',
        'triton_agent_traffic_share{model="cars",version="2",role="candidate"} 0.1',
    ]
    back = {**plan, "generation": 2, "after": 1}
    assert served.ask("POST", "/v1/traffic/cars", back, triton_admin_key=KEY)[0] == 200
    assert served.ask("GET", "/v1/traffic/bikes")[0] == 404


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (400, {"routes": {"1": -1}}),
        (400, {"routes": {"3": 1}}),
        (400, {"candidate": None}),
        (400, {"model": "bikes"}),
        (400, {"expires": "2020-01-01T00:00:00Z"}),
        (400, {"expires": None}),
        (400, {"after": "0"}),
        (409, {"after": 7}),
        (409, {"generation": 0}),
    ],
    ids=str,
)
def test_a_traffic_plan_that_cannot_be_followed_is_refused(
    served: Served, status: int, changes: dict[str, Any]
) -> None:
    """With a reason, and callers go on as before."""
    served.world.plan(1, candidate=2)
    answer = served.ask("POST", "/v1/traffic/cars", traffic(**changes), triton_admin_key=KEY)
    assert answer[0] == status
    assert answer[1]["error"]
    assert served.ask("GET", "/v1/traffic/cars")[1]["generation"] == 0


def test_a_traffic_plan_of_no_model_is_refused(served: Served) -> None:
    """And nothing is written where its name leads."""
    served.world.plan(1)
    before = sorted(served.world.root.rglob("*"))
    for name in ("bikes", "..", "../plan", "%2e%2e", ""):
        status, _ = served.ask("POST", f"/v1/traffic/{name}", traffic(model=name), triton_admin_key=KEY)
        assert status == 400
    assert sorted(served.world.root.rglob("*")) == before


def test_a_comparison_knows_the_bytes_of_what_it_asks(served: Served) -> None:
    """Of each version that the agent beside the server knows; where no agent answers, nothing is known."""
    beside = f"http://127.0.0.1:{served.port - AGENT_OFFSET}"
    third = served.world.publish(3)
    served.world.plan(1, candidate=3)
    known = measuring.digests(beside, "cars")
    assert known == {1: files.digest(files.scan(served.world.root / "image" / "cars" / "1")), 3: third}
    assert measuring.digests(beside, "bikes") == {}
    assert measuring.digests(f"http://127.0.0.1:{served.port}", "cars") == {}


def test_health_is_told_to_probes(served: Served) -> None:
    """503 with the reason until something is served; what has not hung is alive all the time."""
    assert served.ask("GET", "/healthz") == (503, "nothing is served yet\n")
    assert served.ask("GET", "/startz") == (503, "nothing is served yet\n")
    assert served.ask("GET", "/livez") == (200, "ok\n")
    served.world.plan(1)
    assert served.ask("GET", "/healthz") == (200, "ok\n")
    assert served.ask("GET", "/startz") == (200, "ok\n")
    assert served.ask("GET", "/metrics")[0] == 200
    assert served.ask("GET", "/v1/plan")[0] == 404
    assert served.ask("POST", "/v1/state")[0] == 404
