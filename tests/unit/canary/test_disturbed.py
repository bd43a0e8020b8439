"""A canary meets wrong clocks, changes by somebody else, and agents and pods that come and go."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from scripts.canary.settings import Settings
from scripts.host.errors import TaskFailure
from scripts.versions.target import OvertakenError
from tests.unit.canary.scene import MODEL, SETTINGS, TRIED, Scene
from tests.unit.canary.stops import is_clean


@pytest.mark.parametrize("skew", [-60, 60])
def test_the_clock_of_the_judge_does_not_matter(scene: Scene, skew: int) -> None:
    """The plan ends by the servers' clock, however wrong the one is of who sets it."""
    canary = scene.canary()
    canary.wall = lambda: scene.served.wall() + timedelta(seconds=skew)
    left: list[float] = []

    def look() -> None:
        expires = scene.served.plan().expires
        assert expires is not None
        left.append((expires - scene.served.wall()).total_seconds())

    scene.served.at(20, look)
    assert canary.run().verdict == "promoted"
    assert 0.7 * SETTINGS.expires <= left[0] <= SETTINGS.expires


@pytest.mark.parametrize("skew", [-60, 60])
def test_pods_whose_clocks_differ_by_a_minute_hold_up_no_canary(two: Scene, skew: int) -> None:
    """The plan's usual time is longer than that: both pods follow it until it is renewed."""
    two.served.apis["two"].traffics.wall = lambda: two.served.wall() + timedelta(seconds=skew)
    held: list[bool] = []

    def look() -> None:
        held.extend(bool(api.traffic(MODEL)[1]["in_force"]) for api in two.served.apis.values())

    for seconds in (20, 40, 45):
        two.served.at(seconds, look)
    assert two.run(expires=Settings().expires).verdict == "promoted"
    assert held == [True] * 6


def test_a_plan_that_somebody_else_made_is_left_alone(scene: Scene) -> None:
    """A split between versions that are served, say."""
    scene.served.post({1: 1, 2: 1})
    with pytest.raises(TaskFailure, match=r"has a traffic plan .50% to version 1, 50% to version 2, until"):
        scene.run()
    assert scene.served.plan().routes == {1: 1, 2: 1}


@pytest.mark.parametrize("when", [20, 45])
def test_whoever_changes_the_plan_meanwhile_keeps_it(scene: Scene, when: float) -> None:
    """The canary ends, and touches it no more."""
    scene.served.at(when, lambda: scene.served.post({1: 1, 2: 1}))
    with pytest.raises(OvertakenError, match="Somebody else has changed the traffic plan of cars"):
        scene.run()
    assert scene.served.plan().routes == {1: 1, 2: 1}


def test_a_canary_ends_if_something_else_is_served(scene: Scene) -> None:
    """Callers get a version that it was never held against."""
    world = scene.served.worlds["one"]
    world.publish(4)

    def promote() -> None:
        api = scene.served.apis["one"]
        plan = api.plans.current
        body = {"schema": 1, "generation": plan.generation + 1, "models": {MODEL: {"serve": [2, 4], "candidate": 3}}}
        assert api.take(json.dumps(body).encode())[0] == 200

    scene.served.at(20, promote)
    done = scene.run()
    assert (done.verdict, done.status) == ("inconclusive", 3)
    assert "callers of cars who name no version get 4 now, and 2 when this began" in done.why
    assert is_clean(scene)
    assert scene.served.served() == [{2, 4}]


def test_a_candidate_that_fails_later_is_aborted(scene: Scene) -> None:
    """Its server was started anew, and it does not load any more."""

    def spoil() -> None:
        state = scene.served.worlds["one"].follower.models[MODEL].candidate
        assert state is not None
        state[1].fail("it does not load.")

    scene.served.at(20, spoil)
    done = scene.run()
    assert (done.verdict, "one cannot serve version 3 of cars any more: it does not load." in done.why) == (
        "aborted", True,
    )  # fmt: skip


def away(scene: Scene, name: str, begin: float, seconds: float, then: Callable[[], None] = lambda: None) -> None:
    """Let an agent be away for a while."""

    def back() -> None:
        scene.served.away.discard(name)
        then()

    scene.served.at(begin, lambda: scene.served.away.add(name))
    scene.served.at(begin + seconds, back)


def test_an_agent_that_starts_anew_loses_nothing_but_what_it_had_not_told(scene: Scene) -> None:
    """It counts from nothing; that is noticed, and said."""
    away(scene, "one", 20, 6, lambda: scene.served.restart_agent("one"))
    done = scene.run()
    assert done.verdict == "promoted"
    assert any("The agent of one has started anew" in line for line in scene.said)


def test_counters_that_begin_anew_are_noticed(scene: Scene) -> None:
    """Triton was restarted; what clients tell goes on counting."""
    scene.served.at(25, lambda: scene.served.counted.update(one=[0, 0, 0]))
    done = scene.run()
    assert done.verdict == "promoted"
    assert any("The counters of one have begun anew" in line for line in scene.said)


def test_a_server_that_is_away_for_long_ends_the_canary(scene: Scene) -> None:
    """Nobody can take anything back then: it says what will happen by itself."""
    away(scene, "one", 20, 1000)
    with pytest.raises(TaskFailure, match=r"No answer from one.* ends by itself in 1 min"):
        scene.run()


def test_a_server_that_comes_back_gets_the_plan(two: Scene) -> None:
    """And the others are asked meanwhile."""
    away(two, "two", 10, 20)
    assert two.run().verdict == "promoted"
    assert two.served.served() == [{2, 3}, {2, 3}]
    assert is_clean(two)


def test_a_pod_that_comes_gets_the_plan_and_counts(two: Scene) -> None:
    """The one before has gone with what it was not asked about any more; nothing is counted twice."""
    two.served.at(21, lambda: two.served.replace("one", "three"))
    known: list[bool] = []
    two.served.at(28, lambda: known.append(two.served.apis["three"].traffics.of(MODEL) == two.served.plan()))
    done = two.run()
    assert done.verdict == "promoted"
    assert known == [True]
    figures = done.record.decisions[-1]["figures"]["statistics"][0]
    assert 0 <= two.served.got[TRIED] - figures["candidate_of"] <= 100
    assert two.served.served() == [{2, 3}, {2, 3}]
