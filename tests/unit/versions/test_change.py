"""What a promotion and a rollback make of a plan."""

from typing import Any

import pytest

from scripts.agent.plan import ModelPlan, Plan
from scripts.host.errors import TaskFailure
from scripts.server.seen import State
from scripts.versions import change


def state(
    *serve: int,
    image: tuple[int, ...] = (1, 2),
    candidate: int | None = None,
    before: tuple[int, ...] | None = None,
    generation: int = 5,
) -> State:
    """Return what an agent says that serves *serve*, or all of its image, of the model ``cars``."""
    served = serve or image

    def one(number: int) -> dict[str, Any]:
        return {"phase": "serving", "why": None, "sha256": f"{number:064x}", "source": "image", "seconds": {}}

    part: dict[str, Any] = {"serve": list(serve), "candidate": candidate, "digests": {}}
    return State.from_dict(
        {
            "schema": 1,
            "plan": {"generation": generation, "models": {"cars": part} if serve else {}},
            "before": {} if before is None else {"cars": {"serve": list(before), "candidate": None, "digests": {}}},
            "followed": "x",
            "settled": True,
            "problem": None,
            "restart_needed": None,
            "traffic": {},
            "outcomes": {},
            "models": {
                "cars": {
                    "image": list(image),
                    "stable": max(served),
                    "fault": None,
                    "versions": {str(number): one(number) for number in served},
                    "candidate": candidate and {"version": candidate, **one(candidate)},
                }
            },
        },
        where="here",
    )


@pytest.mark.parametrize(
    ("now", "version", "keep", "serve"),
    [
        ((), 3, 1, (2, 3)),
        ((1, 2), 3, 1, (2, 3)),
        ((1, 2), 3, 0, (3,)),
        ((1, 2), 3, 9, (1, 2, 3)),
        ((2,), 2, 1, (2,)),
    ],
)
def test_a_promotion_keeps_the_former_versions(
    now: tuple[int, ...], version: int, keep: int, serve: tuple[int, ...]
) -> None:
    """As many as are wanted, the newest of them; the plan's generation grows by one."""
    plan = change.promoted(state(*now), "cars", version, keep=keep, digest="a" * 64)
    assert plan.models["cars"].serve == serve
    assert plan.models["cars"].digests[version] == "a" * 64
    assert plan.generation == 6


def test_the_bytes_of_what_stays_are_pinned() -> None:
    """The digests that the server says go into the plan, those of versions that go do not."""
    plan = change.promoted(state(1, 2), "cars", 3, keep=1, digest=None)
    assert plan.models["cars"].digests == {2: f"{2:064x}"}


def test_a_candidate_that_is_promoted_is_one_no_more() -> None:
    """Another candidate stays."""
    assert change.promoted(state(1, candidate=3), "cars", 3, keep=1, digest=None).models["cars"].candidate is None
    assert change.promoted(state(1, candidate=4), "cars", 3, keep=1, digest=None).models["cars"].candidate == 4


def test_a_model_that_only_the_store_has_can_be_promoted() -> None:
    """The server learns of it by the plan."""
    plan = change.promoted(state(), "bikes", 1, keep=1, digest="b" * 64)
    assert plan.models["bikes"] == ModelPlan(serve=(1,), digests={1: "b" * 64})


def test_a_lower_version_is_no_promotion() -> None:
    """The message names the way back."""
    with pytest.raises(TaskFailure, match="invoke rollback --model cars --to 1"):
        change.promoted(state(1, 2), "cars", 1, keep=1, digest=None)


@pytest.mark.parametrize(
    ("now", "before", "to", "serve"),
    [
        ((2, 3), (1, 2), None, (1, 2)),
        ((2, 3), (), None, (1, 2)),
        ((1, 2), (2, 3), None, (1,)),
        ((2, 3), None, None, (2,)),
        ((2, 3), None, 2, (2,)),
        ((2, 3), None, 1, (1,)),
        ((1, 2, 3), None, 2, (1, 2)),
    ],
)
def test_a_rollback_goes_to_the_plan_before_or_to_a_version(
    now: tuple[int, ...], before: tuple[int, ...] | None, to: int | None, serve: tuple[int, ...]
) -> None:
    """The plan before may have been the image's; a version that is named need not be served any more."""
    assert change.rolled_back(state(*now, before=before), "cars", to=to).models["cars"].serve == serve


def test_what_was_packaged_later_is_not_what_was_before() -> None:
    """The image's versions are those below what was promoted, though a restart has found the promoted one in it."""
    plan = change.rolled_back(state(2, 3, image=(1, 2, 3), before=()), "cars", to=None)
    assert plan.models["cars"].serve == (1, 2)


@pytest.mark.parametrize(
    ("now", "before", "to", "saying"),
    [
        ((3,), None, None, "Name the version: invoke rollback --model cars --to N"),
        ((2,), (2, 3), None, "Name the version: invoke rollback --model cars --to N"),
        ((2, 3), None, 3, "invoke promote --model cars --version 3"),
        ((2, 3), None, 4, "invoke promote --model cars --version 4"),
    ],
)
def test_a_rollback_never_goes_forward(
    now: tuple[int, ...], before: tuple[int, ...] | None, to: int | None, saying: str
) -> None:
    """The message says what to do instead."""
    with pytest.raises(TaskFailure, match=saying):
        change.rolled_back(state(*now, before=before), "cars", to=to)


def test_an_unknown_model_is_named_with_those_there_are() -> None:
    """For a rollback it has to be there."""
    with pytest.raises(TaskFailure, match="no model 'bikes'"):
        change.rolled_back(state(), "bikes", to=1)


def test_putting_back_names_every_version() -> None:
    """A plan that meant the image's versions is put back as those, so that nothing packaged meanwhile joins."""
    back = change.put_back(state(), "cars", over=Plan(generation=6))
    assert (back.generation, back.models["cars"].serve) == (7, (1, 2))


def test_putting_back_leaves_other_models_as_they_are_planned() -> None:
    """And a model that was not there before is not there afterwards."""
    was = state(2, 3)
    over = Plan(models={"bikes": ModelPlan(serve=(1,)), "ships": ModelPlan(serve=(4,))}, generation=6)
    assert change.put_back(was, "bikes", over=over) == Plan(models={"ships": ModelPlan(serve=(4,))}, generation=7)
