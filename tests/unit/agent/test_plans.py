"""Which plan is followed: compare-and-swap, and what survives a restart."""

from pathlib import Path

import pytest

from scripts.agent.errors import AgentError, OutdatedPlanError
from scripts.agent.kept import CATCH_UP_S
from scripts.agent.plan import ModelPlan, Plan
from scripts.agent.plans import Plans


def plan(generation: int, *serve: int) -> Plan:
    """Return a plan for the model ``cars``."""
    return Plan(models={"cars": ModelPlan(serve=serve)}, generation=generation)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


def opened(tmp_path: Path, clock: Clock, *, file: bool = False) -> Plans:
    """Return the plans of an agent that has just started."""
    plans = Plans(kept=tmp_path / "plan.json", file=tmp_path / "mounted.json" if file else None, clock=clock)
    plans.open()
    return plans


def test_a_posted_plan_survives_a_restart(tmp_path: Path, clock: Clock) -> None:
    """The next start follows it, and knows what went before."""
    plans = opened(tmp_path, clock)
    plans.post(plan(1, 1))
    plans.post(plan(2, 1, 2), after=1)
    again = opened(tmp_path, clock)
    assert (again.current, again.source) == (plan(2, 1, 2), "post")
    assert again.before.models["cars"].serve == (1,)


def test_what_went_before_is_each_models_own(tmp_path: Path, clock: Clock) -> None:
    """A change of another model does not count."""
    plans = opened(tmp_path, clock)
    plans.post(plan(1, 1))
    plans.post(plan(2, 1, 2))
    plans.post(Plan(models={**plan(0, 1, 2).models, "bikes": ModelPlan(serve=(7,))}, generation=3))
    assert plans.before.models["cars"].serve == (1,)
    assert plans.before.models["bikes"].serve == ()


@pytest.mark.parametrize(("generation", "after"), [(5, None), (4, None), (7, 4), (6, 6)])
def test_the_slower_of_two_changes_is_refused(tmp_path: Path, clock: Clock, generation: int, after: int | None) -> None:
    """A plan that another generation was followed by is nobody's wish any more."""
    plans = opened(tmp_path, clock)
    plans.post(plan(5, 1))
    with pytest.raises(OutdatedPlanError):
        plans.post(plan(generation, 2), after=after)
    assert plans.current == plan(5, 1)


def test_the_same_plan_twice_is_no_conflict(tmp_path: Path, clock: Clock) -> None:
    """A caller that lost the answer may ask again."""
    plans = opened(tmp_path, clock)
    plans.post(plan(5, 1), after=0)
    plans.post(plan(5, 1), after=0)
    assert plans.current == plan(5, 1)


def test_a_plan_that_cannot_be_kept_is_not_followed(tmp_path: Path, clock: Clock) -> None:
    """Or a restart would forget it."""
    plans = opened(tmp_path, clock)
    plans.post(plan(1, 1))
    (tmp_path / ".plan.json.new").mkdir()
    with pytest.raises(AgentError, match="cannot be kept"):
        plans.post(plan(2, 2))
    assert plans.current == plan(1, 1)


def test_a_damaged_kept_plan_is_told(tmp_path: Path, clock: Clock) -> None:
    """The message says what to do."""
    (tmp_path / "plan.json").write_text("{", encoding="utf-8")
    with pytest.raises(AgentError, match="Remove the file"):
        opened(tmp_path, clock)


def test_the_file_catches_up_with_what_was_posted(tmp_path: Path, clock: Clock) -> None:
    """An older file is ignored until it has had the time to be brought up to date; then it is what the release says."""
    (tmp_path / "mounted.json").write_text(plan(1, 1).to_json(), encoding="utf-8")
    plans = opened(tmp_path, clock, file=True)
    assert (plans.current, plans.source) == (plan(1, 1), "file")
    plans.post(plan(2, 2))
    clock.now += CATCH_UP_S - 1
    plans.look()
    assert plans.current == plan(2, 2)
    (tmp_path / "mounted.json").write_text(plan(2, 2).to_json(), encoding="utf-8")
    plans.look()
    assert (plans.current, plans.source) == (plan(2, 2), "file")
    plans.post(plan(3, 3))
    clock.now += CATCH_UP_S
    plans.look()
    assert (plans.current, plans.source) == (plan(2, 2), "file")


def test_a_damaged_file_changes_nothing(tmp_path: Path, clock: Clock) -> None:
    """It is told, and the plan that was followed is followed on."""
    (tmp_path / "mounted.json").write_text(plan(1, 1).to_json(), encoding="utf-8")
    plans = opened(tmp_path, clock, file=True)
    (tmp_path / "mounted.json").write_text("{}", encoding="utf-8")
    plans.look()
    assert plans.current == plan(1, 1)
    assert "schema" in plans.fault


def test_a_candidate_that_comes_and_goes_is_nothing_to_go_back_to(tmp_path: Path, clock: Clock) -> None:
    """A rollback after a canary goes to what was served before."""
    plans = opened(tmp_path, clock)
    plans.post(plan(1, 1))
    plans.post(plan(2, 2))
    plans.post(Plan(models={"cars": ModelPlan(serve=(2,), candidate=3)}, generation=3))
    plans.post(plan(4, 2))
    assert plans.before.models["cars"].serve == (1,)
