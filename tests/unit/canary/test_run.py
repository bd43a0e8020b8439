"""A canary takes its steps, ends by what callers see, and leaves nothing behind."""

import json
from datetime import datetime
from typing import Any

import attrs
import pytest

from scripts.canary.settings import Step
from scripts.host.errors import TaskFailure
from tests.doubles.disk_triton import WRONG
from tests.unit.canary.scene import SETTINGS, STABLE, TRIED, Behaviour, Scene, decisions
from tests.unit.canary.stops import is_clean


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
