"""A canary that is stopped or killed leaves no caller with its version, and the next run goes on."""

import json
from collections.abc import Callable

import pytest

from scripts.agent.plan import Plan
from scripts.agent.traffic import Traffic
from scripts.canary.kept import InFile, Record
from scripts.host.errors import TaskFailure
from tests.unit.canary.scene import MODEL, TRIED, Behaviour, Scene, decisions
from tests.unit.canary.stops import Killed, interrupt, is_clean, kill


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
