"""The traffic plan: what is read, what is refused, and what survives a restart."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.agent.errors import OutdatedPlanError, PlanError
from scripts.agent.kept import CATCH_UP_S
from scripts.agent.traffic import LONGEST, MOST_ROUTES, Traffic
from scripts.agent.traffics import Traffics
from triton_sdk._flow import traffic as followed

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
VERSIONS = st.integers(1, 2**31 - 1)
PLANS = st.builds(
    Traffic,
    model=st.just("cars"),
    generation=st.integers(0, 2**31 - 1),
    routes=st.dictionaries(VERSIONS, st.just(0) | st.floats(1e-9, 1e9), max_size=MOST_ROUTES),
    candidate=st.none() | VERSIONS,
    shadow=st.none() | st.tuples(VERSIONS, st.floats(0, 1)),
    expires=st.datetimes(timezones=st.just(UTC)),
)


def plan(generation: int, weight: float = 10, **changes: Any) -> Traffic:
    """Return a plan in which version 3 is the candidate, and which ends in five minutes."""
    told: dict[str, Any] = {
        "model": "cars",
        "routes": {2: 90, 3: weight},
        "candidate": 3,
        "expires": NOW + timedelta(minutes=5),
    }
    return Traffic(generation=generation, **{**told, **changes})


def text(**changes: Any) -> str:
    """Return the text of a plan, with *changes*."""
    return json.dumps({**plan(3).to_dict(), **changes})


@given(PLANS)
def test_a_plan_is_read_as_it_was_written(made: Traffic) -> None:
    """What `to_json` writes, `parse` reads, and its digest does not depend on the generation."""
    again = Traffic.parse(made.to_json(), model="cars")
    assert again == made
    assert again.digest == Traffic.parse(json.dumps({**made.to_dict(), "generation": 7}), model="cars").digest


@given(PLANS)
def test_clients_read_what_the_agent_writes(made: Traffic) -> None:
    """The routes with a weight, the candidate, the shadow, and how long it holds."""
    read = followed.parse(made.to_json().encode(), model="cars", now=NOW.timestamp())
    assert dict(read.shares) == {version: weight for version, weight in made.routes.items() if weight}
    assert (read.candidate, read.generation) == (made.candidate, made.generation)
    assert read.shadow == (made.shadow if made.shadow and made.shadow[1] else None)
    assert read.left_s is not None
    assert read.left_s == pytest.approx((made.expires - NOW).total_seconds() if made.expires else 0)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"schema": 2}', "schema 2"),
        (text(model="bikes"), "it is for model 'bikes', not for 'cars'"),
        (text(weights={}), "'weights' is not known"),
        (text(generation=True), "generation is True"),
        (text(routes=[2]), r"routes is \[2\]"),
        (text(routes={str(n): 1 for n in range(1, MOST_ROUTES + 2)}), "16 at most"),
        (text(routes={"02": 1}), "'02' in routes is not a version"),
        (text(routes={"stable": 1}), "'stable' in routes is not a version"),
        (text(routes={"2": "90"}), "the weight of version 2 is '90'"),
        (text(routes={"2": True}), "the weight of version 2 is True"),
        (text(routes={"2": 1e-300}), "the weight of version 2 is 1e-300"),
        (text(routes={"2": 1e300}), "the weight of version 2 is 1e.300"),
        ('{"schema": 1, "model": "cars", "routes": {"2": NaN}}', "the weight of version 2 is nan"),
        (text(candidate="3"), "candidate is '3'"),
        (text(shadow=3), "shadow is 3"),
        (text(shadow={"version": 3}), "shadow is"),
        (text(shadow={"version": 3, "fraction": 1.1}), "shadow is"),
        (text(expires=None), "expires is missing"),
        (text(routes={}, shadow={"version": 3, "fraction": 1}, expires=None), "expires is missing"),
        (text(expires=1893456000), "expires is 1893456000"),
        (text(expires="2030-01-31T12:00:00"), "not a time such as 2030-01-31T12:00:00Z"),
        (text(expires="soon"), "expires is 'soon'"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, fault: str) -> None:
    """The message says what is wrong, and a client does not follow it either, but for names that it does not know."""
    with pytest.raises(PlanError, match=fault):
        Traffic.parse(text, model="cars")
    if "not known" not in fault and "02" not in fault:
        with pytest.raises(ValueError, match=r"\w"):
            followed.parse(text.encode(), model="cars", now=0)


def test_a_plan_without_routes_needs_no_end() -> None:
    """It is how a canary is taken back: all calls go to the stable version."""
    for end in ({}, {"2": 0, "3": 0}):
        assert Traffic.parse(text(routes=end, expires=None), model="cars").is_over(NOW)


class Agent:
    """The traffic plans of an agent on a clock that is set by hand."""

    def __init__(self, root: Path) -> None:
        self.root, self.clock, self.wall = root, 0.0, NOW
        self.said: list[str] = []
        (root / "release").mkdir(exist_ok=True)
        self.start()

    def start(self) -> None:
        """Begin with what is kept."""
        self.traffics = Traffics(
            kept=self.root / "kept",
            release=self.root / "release",
            say=self.said.append,
            clock=lambda: self.clock,
            wall=lambda: self.wall,
        )
        self.traffics.open()

    def post(self, posted: Traffic, *, after: int | None = None) -> None:
        """Post a plan where version 2 is served, and version 3 as the candidate."""
        self.traffics.post(posted, served={2}, candidate=3, after=after)

    def release(self, made: Traffic) -> None:
        """Let the release have a plan."""
        (self.root / "release" / "traffic.cars.json").write_text(made.to_json(), encoding="utf-8")


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    """Return the plans of an agent that has just started."""
    return Agent(tmp_path)


def test_a_posted_plan_survives_a_restart(agent: Agent) -> None:
    """The next start offers it."""
    agent.post(plan(1))
    agent.post(plan(2, weight=50), after=1)
    agent.start()
    assert agent.traffics.of("cars") == plan(2, weight=50)
    assert agent.traffics.all() == {"cars": plan(2, weight=50)}


def test_a_damaged_plan_holds_up_no_start(agent: Agent) -> None:
    """It is told, and the stable version answers until another one is posted."""
    agent.post(plan(1))
    (agent.root / "kept" / "cars.json").write_text("{", encoding="utf-8")
    agent.start()
    assert agent.traffics.of("cars") == Traffic(model="cars")
    assert any("cars.json" in line for line in agent.said)
    agent.post(plan(2))
    agent.start()
    assert agent.traffics.of("cars") == plan(2)


def test_the_release_gives_a_new_pod_its_plan(agent: Agent) -> None:
    """It is followed from the start; one that was posted and is newer wins until the release had time to catch up."""
    agent.release(plan(4))
    agent.start()
    assert agent.traffics.of("cars") == plan(4)
    agent.post(plan(5, weight=50), after=4)
    agent.clock += CATCH_UP_S - 1
    agent.traffics.look()
    assert agent.traffics.of("cars") == plan(5, weight=50)
    agent.clock += 2
    agent.traffics.look()
    assert agent.traffics.of("cars") == plan(4)


def test_a_damaged_release_is_told_once(agent: Agent) -> None:
    """What was followed is followed on."""
    agent.release(plan(4))
    agent.traffics.look()
    (agent.root / "release" / "traffic.cars.json").write_text("{", encoding="utf-8")
    agent.traffics.look()
    agent.traffics.look()
    assert agent.traffics.of("cars") == plan(4)
    assert len(agent.said) == 1


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (plan(1, routes={4: 1}), "version 4 of cars, which is not served. Versions that are: 2; as the candidate: 3"),
        (plan(1, candidate=None), "version 3 of cars, which is not served"),
        (plan(1, routes={2: 1}, candidate=2), "candidate 2 of cars, which is not served"),
        (plan(1, routes={}, shadow=(4, 0.1)), "version 4"),
        (plan(1, expires=NOW), "ends at 2030-01-31T12:00:00Z. Here it is 2030-01-31T12:00:00Z"),
        (plan(1, expires=NOW + LONGEST + timedelta(seconds=1)), "within the next 31 days"),
    ],
    ids=str,
)
def test_what_is_not_served_gets_no_calls(agent: Agent, made: Traffic, words: str) -> None:
    """A plan that no client could follow is refused."""
    with pytest.raises(PlanError, match=words):
        agent.post(made)
    assert agent.traffics.of("cars") == Traffic(model="cars")


def test_taking_back_is_never_refused(agent: Agent) -> None:
    """Even where nothing is served any more; only somebody else's change is in the way."""
    agent.post(plan(1))
    with pytest.raises(OutdatedPlanError):
        agent.traffics.post(Traffic(model="cars", generation=2), served=set(), candidate=None, after=0)
    agent.traffics.post(Traffic(model="cars", generation=2), served=set(), candidate=None, after=1)
    assert agent.traffics.of("cars").is_over(NOW)


def test_a_plan_ends_by_itself(agent: Agent) -> None:
    """A minute before its end it is in force, at its end no more."""
    agent.post(plan(1))
    assert not agent.traffics.of("cars").is_over(NOW + timedelta(minutes=4))
    assert agent.traffics.of("cars").is_over(NOW + timedelta(minutes=5))
