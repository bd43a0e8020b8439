"""A canary takes its steps, ends by what callers see, and leaves nothing behind."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest

from scripts.agent.plan import Plan
from scripts.agent.traffic import Traffic
from scripts.canary.kept import InFile, Record
from scripts.canary.settings import Settings, Step
from scripts.host.errors import TaskFailure
from scripts.versions.target import OvertakenError
from tests.doubles.disk_triton import WRONG
from tests.unit.canary.scene import MODEL, SETTINGS, STABLE, TRIED, Behaviour, Scene, decisions


class Killed(BaseException):
    """What no program can catch."""


def kill() -> None:
    """End the judge at once."""
    raise Killed


def interrupt() -> None:
    """Press Ctrl-C."""
    raise KeyboardInterrupt


def is_clean(scene: Scene) -> bool:
    """Return whether nobody meets the candidate any more, and it is not loaded."""
    gone = all(state.models[MODEL].candidate is None for state in map(scene.served.state_of, scene.served.apis))
    return gone and scene.served.plan().is_over(scene.served.wall())


def test_a_good_version_is_promoted(scene: Scene) -> None:
    """Step by step, each with its share; then everybody gets it, and no plan is left."""
    done = scene.run()
    assert (done.verdict, done.status) == ("promoted", 0)
    assert decisions(done) == ["begin", "pass", "begin", "pass", "promote"]
    assert scene.served.served() == [{2, 3}]
    assert is_clean(scene)
    assert [one["share"] for one in done.record.decisions] == [0.1, 0.1, 0.5, 0.5, 0.5]
    assert done.record.decisions[1]["figures"]["statistics"][0]["candidate_of"] >= 60
    assert next(one.partition(" ")[2] for one in scene.served.posted if "0.1" in one) == "{2: 0.9, 3: 0.1}"
    assert scene.shown[-1].title.startswith("50% to version 3 for ")


def test_what_a_step_is_and_how_long_it_takes_is_said_beforehand(scene: Scene) -> None:
    """At the calls that were seen."""
    scene.run()
    first = next(place for place, line in enumerate(scene.said) if line.startswith("Step 1 of 2"))
    assert scene.said[first] == "Step 1 of 2: 10% of the calls go to version 3, until it had 60 and 15 s have passed."
    assert "At 100 calls/s, as seen, that takes about 15 s" in scene.said[first + 1]


@pytest.mark.parametrize(
    "changes",
    [
        {"shadow": 0.01},  # fifty images, of a hundredth of the stable version's calls
        {"limits": attrs.evolve(SETTINGS.limits, calibration=5000)},
    ],
    ids=["few shadows", "a long calibration"],
)
def test_what_the_judge_has_to_learn_is_part_of_the_forecast(scene: Scene, changes: dict[str, Any]) -> None:
    """At ninety calls a second of the stable version it knows enough after 56 s, or some more: that is the least."""
    done = scene.run(**changes)
    first = next(line for line in scene.said if "calls/s, as seen" in line)
    assert "At 100 calls/s, as seen, that takes about 56 s." in first
    begun, passed = (datetime.fromisoformat(one["at"]) for one in done.record.decisions[:2])
    assert 45 <= (passed - begun).total_seconds() <= 80


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (Behaviour(fails=1.0), "fails more often"),
        (Behaviour(fails=0.2), "The candidate fails"),
        (Behaviour(seconds=0.02), "slower"),
        (Behaviour(flips=0.3), "another best class"),
        (Behaviour(fails=1.0, kind="invalid"), "refused"),
    ],
    ids=["all fail", "a fifth fails", "twice as slow", "answers differently", "refuses all"],
)
def test_a_bad_version_is_aborted(scene: Scene, bad: Behaviour, why: str) -> None:
    """Weights go to 0 first, then the candidate; who got the stable version did not notice."""
    scene.served.behaves[TRIED] = bad
    done = scene.run()
    assert (done.verdict, done.status) == ("aborted", 1)
    assert why in done.why
    assert "All calls go to version 2 again. Version 3 is taken away." in done.why
    assert scene.served.posted[-2:] == ["one {}", "candidate None"]
    assert scene.served.served() == [{1, 2}]
    assert is_clean(scene)
    assert scene.served.got[TRIED] < 0.3 * scene.served.got[STABLE]


def test_nobody_is_sent_to_a_candidate_that_is_taken_away(two: Scene) -> None:
    """Every server has the plan without routes before any has the one without candidate."""
    two.served.behaves[TRIED] = Behaviour(fails=1.0)
    assert two.run().verdict == "aborted"
    assert two.served.posted[0] == "candidate 3"
    assert sorted(two.served.posted[-3:-1]) == ["one {}", "two {}"]
    assert two.served.posted[-1] == "candidate None"


def test_without_calls_nobody_can_tell(scene: Scene) -> None:
    """That is said beforehand; it holds, says what is missing, and is never a pass."""
    scene.served.rate = 0
    done = scene.run(limit_s=120)
    assert (done.verdict, done.status) == ("inconclusive", 3)
    assert any("No client tells of any call" in line for line in scene.said)
    assert "0 of 60 calls of version 3" in done.why
    assert is_clean(scene)
    assert 110 <= scene.served.now <= 150


def test_a_step_waits_while_something_speaks_against_the_version(scene: Scene) -> None:
    """Enough calls and seconds are not enough."""
    scene.served.behaves[TRIED] = Behaviour(fails=0.06)
    done = scene.run()
    assert done.verdict == "aborted"
    assert "pass" not in decisions(done)


def test_a_version_that_does_not_answer_right_is_never_tried(scene: Scene) -> None:
    """Its golden images tell before anybody meets it."""
    scene.served.worlds["one"].publish(4, WRONG)
    with pytest.raises(
        TaskFailure, match=r"cannot serve version 4 of cars.*numbers are wrong.*Everything is put back.*served\.$"
    ):
        scene.run(version=4)
    assert scene.served.got.keys() == {STABLE}
    assert is_clean(scene)


@pytest.mark.parametrize(
    ("version", "why"), [(2, "is served already"), (1, "Version 2 of cars is served"), (9, "cannot serve version 9")]
)
def test_a_version_that_cannot_be_tried_is_refused(scene: Scene, version: int, why: str) -> None:
    """One that is served, one that is older, one that there is not."""
    with pytest.raises(TaskFailure, match=why):
        scene.run(version=version)
    assert scene.served.served() == [{1, 2}]
    assert is_clean(scene)


def test_ctrl_c_takes_everything_back(scene: Scene) -> None:
    """And says so."""
    scene.served.at(20, interrupt)
    with pytest.raises(KeyboardInterrupt, match=r"Stopped. All calls go to version 2 again. Version 3 is taken away."):
        scene.run()
    assert is_clean(scene)


def test_a_killed_judge_ends_its_canary(scene: Scene) -> None:
    """The plan is over when its time is."""
    scene.served.at(20, kill)
    with pytest.raises(Killed):
        scene.run()
    assert not scene.served.plan().is_over(scene.served.wall())
    scene.served.sleep(61)
    assert scene.served.plan().is_over(scene.served.wall())


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


@pytest.mark.parametrize("pause", [0.0, 90.0], ids=["at once", "after the plan was over"])
def test_another_run_goes_on(scene: Scene, pause: float) -> None:
    """Where it was: what was seen meanwhile counts too, and nothing twice."""
    scene.served.at(30, kill)
    with pytest.raises(Killed):
        scene.run()
    scene.served.sleep(pause)
    done = scene.run()
    assert decisions(done) == ["begin", "pass", "begin", "go on", "begin", "pass", "promote"]
    figures = done.record.decisions[-1]["figures"]["statistics"][0]
    assert 0 <= scene.served.got[TRIED] - figures["candidate_of"] <= 20  # while it was promoted
    assert scene.served.served() == [{2, 3}]


@pytest.mark.parametrize("end", [kill, interrupt])
def test_a_promotion_that_was_stopped_is_brought_to_its_end(two: Scene, end: Callable[[], None]) -> None:
    """By the run that goes on: the servers had the plan, and nobody has told what came of it."""
    following = two.served.follow

    def follow(plan: Plan, *, after: int) -> Plan:
        made = following(plan, after=after)
        if plan.models[MODEL].candidate is None:
            end()
        return made

    two.served.follow = follow  # type: ignore[method-assign]
    with pytest.raises((Killed, KeyboardInterrupt)):
        two.run()
    two.served.follow = following  # type: ignore[method-assign]
    done = two.run()
    assert (done.verdict, done.status) == ("promoted", 0)
    assert done.promoted is not None
    assert decisions(done)[-1] == "go on"
    assert "promote" in decisions(done)
    assert two.served.served() == [{2, 3}, {2, 3}]
    assert is_clean(two)
    kept, _ = two.keeper.read()
    assert kept is not None
    assert kept.verdict == "promoted"


def test_that_a_promotion_was_brought_to_its_end_is_kept_in_the_cluster(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where whoever follows a Job reads its record; the judge that was stopped had ended the traffic plan already."""
    following, written = scene.served.follow, []
    keeping = InFile.write

    def follow(plan: Plan, *, after: int) -> Plan:
        made = following(plan, after=after)
        if plan.models[MODEL].candidate is None:
            interrupt()
        return made

    def write(keeper: InFile, record: Record | None, plan: Traffic) -> None:
        written.append(record and record.verdict)
        keeping(keeper, record, plan)

    monkeypatch.setattr(InFile, "write", write)
    monkeypatch.setattr(scene.served, "follow", follow)
    with pytest.raises(KeyboardInterrupt):
        scene.run()
    assert written[-1] == "ended"
    monkeypatch.setattr(scene.served, "follow", following)
    assert scene.run().verdict == "promoted"
    assert written[-1] == "promoted"


def test_a_judge_that_was_killed_before_anybody_had_the_new_plan_goes_on(two: Scene) -> None:
    """It had decided to promote, and no server has heard of that: the last step is looked at again."""
    following = two.served.follow

    def follow(plan: Plan, *, after: int) -> Plan:
        if plan.models[MODEL].candidate is None:
            kill()
        return following(plan, after=after)

    two.served.follow = follow  # type: ignore[method-assign]
    with pytest.raises(Killed):
        two.run()
    two.served.follow = following  # type: ignore[method-assign]
    done = two.run()
    assert (done.verdict, decisions(done)[-1]) == ("promoted", "promote")
    assert two.served.served() == [{2, 3}, {2, 3}]
    assert is_clean(two)


def test_a_promotion_that_was_taken_back_is_not_brought_to_its_end(scene: Scene) -> None:
    """Somebody else has rolled back since: the version is tried anew."""
    assert scene.run().verdict == "promoted"
    plan = scene.served.apis["one"].plans.current
    body = {"schema": 1, "generation": plan.generation + 1, "models": {MODEL: {"serve": [1, 2]}}}
    assert scene.served.apis["one"].take(json.dumps(body).encode())[0] == 200
    assert decisions(scene.run())[0] == "begin"


def test_a_bad_version_is_found_by_the_run_that_goes_on(scene: Scene) -> None:
    """What an earlier judge knew is not forgotten."""
    scene.served.behaves[TRIED] = Behaviour(fails=0.05)
    scene.served.at(12, kill)
    with pytest.raises(Killed):
        scene.run()
    assert scene.run().verdict == "aborted"


def test_a_record_that_cannot_be_read_is_no_beginning(scene: Scene) -> None:
    """Another release wrote it: what is found is taken back, and the canary begins anew."""
    scene.served.at(20, kill)
    with pytest.raises(Killed):
        scene.run()
    path = scene.folder / "state" / "cars.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "watch": {}}))
    done = scene.run()
    assert any("what an earlier run knew cannot be read" in line for line in scene.said)
    assert any("left its traffic plan; that is taken back" in line for line in scene.said)
    assert (done.verdict, decisions(done)[0]) == ("promoted", "begin")


def test_an_old_record_is_no_beginning(scene: Scene) -> None:
    """After an hour everything may be otherwise."""
    scene.served.at(30, kill)
    with pytest.raises(Killed):
        scene.run()
    scene.served.rate = 0
    scene.served.sleep(3700)
    scene.served.rate = 100
    assert decisions(scene.run())[:2] == ["begin", "pass"]


def test_without_a_record_what_is_found_is_taken_back(scene: Scene) -> None:
    """It was made on another machine: the canary begins anew."""
    scene.served.at(20, kill)
    with pytest.raises(Killed):
        scene.run()
    (scene.folder / "state" / "cars.json").unlink()
    done = scene.run()
    assert any("left its traffic plan; that is taken back" in line for line in scene.said)
    assert (done.verdict, decisions(done)[0]) == ("promoted", "begin")


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


def test_the_plan_is_renewed_before_it_is_over(scene: Scene) -> None:
    """A step may take longer than the plan's time."""
    done = scene.run(steps=(Step(share=0.1, calls=60, seconds=200),))
    assert done.verdict == "promoted"
    posts = [one for one in scene.served.posted if one == "one {2: 0.9, 3: 0.1}"]
    assert 10 <= len(posts) <= 15
    assert scene.served.got[TRIED] >= 1800


def test_the_log_has_each_decision_with_its_figures(scene: Scene) -> None:
    """As JSON, for scripts."""
    done = scene.run()
    told = json.loads(done.as_json())
    assert (told["model"], told["version"], told["stable"], told["verdict"]) == ("cars", 3, 2, "promoted")
    assert [one["decision"] for one in told["decisions"]] == decisions(done)
    assert "judge" not in told
    kept, _ = scene.keeper.read()
    assert kept is not None
    assert (kept.verdict, len(kept.decisions)) == ("promoted", 5)


def test_a_step_that_takes_longer_than_there_is_time_is_announced(scene: Scene) -> None:
    """Before it begins."""
    scene.served.rate = 2
    done = scene.run(limit_s=120)
    assert done.verdict == "inconclusive"
    said = next(line for line in scene.said if "calls/s, as seen" in line)
    assert "that takes about 5 min. That is more than the" in said
    assert "By then it is found in most cases if version 3 failed" in said


def test_a_log_that_cannot_be_kept_ends_the_canary(scene: Scene) -> None:
    """With its own reason: nobody could go on with it."""

    def block() -> None:
        path = scene.folder / "state"
        path.rename(scene.folder / "elsewhere")
        path.write_text("")

    scene.served.at(20, block)
    with pytest.raises(TaskFailure, match="The log of the canary cannot be kept"):
        scene.run()
    assert is_clean(scene)


def test_what_was_over_before_is_not_ended_again(scene: Scene) -> None:
    """Somebody's old plan is no matter of a canary that was stopped before it sent anybody anywhere."""
    scene.served.post({1: 1, 2: 1}, seconds=1)
    scene.served.sleep(2)
    before = list(scene.served.posted)
    scene.served.at(3, interrupt)
    with pytest.raises(KeyboardInterrupt, match=r"^Stopped\. Version 3 is taken away\.$"):
        scene.run()
    assert [one for one in scene.served.posted[len(before) :] if one.startswith("one")] == []
