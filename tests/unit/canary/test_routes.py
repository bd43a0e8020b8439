"""The traffic plan reaches every server that can take it, and what did not is told."""

import attrs
import pytest

from scripts.agent.traffic import Traffic
from scripts.canary.routes import Routes, told
from scripts.canary.servers import Server, each
from scripts.host.errors import TaskFailure
from scripts.server.endpoint import Answer
from scripts.versions.target import OvertakenError
from tests.unit.canary.scene import BEGUN, MODEL, Scene

SPLIT = Traffic(model=MODEL, routes={1: 0.5, 2: 0.5})


@pytest.fixture
def routes(two: Scene) -> Routes:
    """Return the plan of two servers."""
    found = two.routes()
    found.find(None)
    return found


def with_answer(routes: Routes, name: str, answer: Answer) -> None:
    """Let one server answer so to whoever posts a plan."""
    before = routes.servers

    def servers() -> list[Server]:
        return [attrs.evolve(one, send=lambda *_: answer) if one.name == name else one for one in before()]

    routes.servers = servers


def test_a_plan_reaches_all_and_ends(two: Scene, routes: Routes) -> None:
    """By the clock of the servers; each plan has the next generation."""
    assert routes.set(SPLIT, None) == []
    plans = [api.traffics.of(MODEL) for api in two.served.apis.values()]
    assert plans[0] == plans[1]
    assert plans[0].expires is not None
    assert ((plans[0].expires - BEGUN).total_seconds(), plans[0].generation) == (60, 1)
    assert routes.end(None) == []
    assert {api.traffics.of(MODEL).generation for api in two.served.apis.values()} == {2}
    assert two.served.plan().is_over(two.served.wall())


def test_a_server_that_is_away_is_named(two: Scene, routes: Routes) -> None:
    """The others have the plan; the end of one is tried for a while."""
    two.served.away.add("two")
    assert routes.set(SPLIT, None) == ["two"]
    begun = two.served.now
    assert routes.end(None) == ["two"]
    assert two.served.now - begun >= 15
    assert two.served.apis["one"].traffics.of(MODEL).routes == {}


def test_without_any_server_it_fails_after_a_while(two: Scene, routes: Routes) -> None:
    """They may be starting anew."""
    two.served.away |= {"one", "two"}
    with pytest.raises(TaskFailure, match="No server takes the traffic plan: No answer from one"):
        routes.set(SPLIT, None)
    assert two.served.now >= 15
    two.served.away.clear()
    assert routes.set(SPLIT, None) == []


def test_a_plan_that_no_server_answered_to_may_have_been_read(two: Scene, routes: Routes) -> None:
    """From where it is kept: then it is no one else's, and the next one is later than it."""
    two.served.away |= {"one", "two"}
    with pytest.raises(TaskFailure, match="No server takes the traffic plan"):
        routes.set(SPLIT, None)
    assert routes.plan is not None
    two.served.post({1: 3, 2: 1})  # as the ConfigMap brings it
    assert two.served.plan().generation <= routes.plan.generation
    two.served.away.clear()
    assert routes.set(SPLIT, None) == []
    assert two.served.plan().routes == SPLIT.routes


def test_a_pod_without_a_key_takes_no_plan_from_here(two: Scene, routes: Routes) -> None:
    """The ConfigMap brings it; that is said once."""
    with_answer(routes, "two", Answer(status=401, body={"error": "no key"}))
    assert routes.set(SPLIT, None) == []
    assert routes.end(None) == []
    assert len([line for line in two.said if "pod two takes no plan from here" in line]) == 1


def test_a_server_that_refuses_the_plan_is_named(two: Scene, routes: Routes) -> None:
    """With its reason."""
    with_answer(routes, "two", Answer(status=400, body={"error": "no such version"}))
    assert routes.set(SPLIT, None) == ["two"]
    assert "Note: two does not take the traffic plan: HTTP 400 no such version" in two.said


def test_a_plan_is_told_in_words() -> None:
    """Its shares, its shadow and its end."""
    plan = Traffic(model=MODEL, routes={2: 90, 3: 10}, candidate=3, shadow=(3, 0.1), expires=BEGUN)
    words = "90% to version 2, 10% to version 3, 10% asked of version 3 as well, until 2030-01-31T12:00:00Z"
    assert told(plan) == words
    assert told(Traffic(model=MODEL)) == "all to the stable version"


def test_what_somebody_else_changed_is_no_silence(two: Scene) -> None:
    """A pod that follows a later plan has answered."""

    def overtaken(_: Server) -> None:
        raise OvertakenError("theirs")

    with pytest.raises(OvertakenError, match="theirs"):
        each(two.served.members(), overtaken)
