"""How far a pod follows the plan, in words and as a mark."""

from typing import Any

import attrs
import pytest

from scripts.agent.plan import ModelPlan, Plan
from scripts.cluster.follows import Follows
from scripts.server.seen import State
from tests.unit.versions.test_change import state

PLAN = Plan(models={"cars": ModelPlan(serve=(2, 3))}, generation=5)


def seen(**more: Any) -> State:
    """Return what an agent says that serves the plan, but for *more*."""
    return attrs.evolve(state(2, 3, generation=5), **more)


@pytest.mark.parametrize(
    ("found", "mark", "saying"),
    [
        (seen(), "ok", "serves generation 5"),
        (seen(settled=False), "warning", "is on its way to 5"),
        (state(1, 2, generation=4), "warning", "follows another plan, of generation 4; the release's reaches it"),
        (seen(problem="cars gives no answer"), "failed", "serves generation 5; cars gives no answer"),
        (seen(restart_needed="five loads failed"), "failed", "five loads failed"),
    ],
)
def test_a_pod_that_does_not_serve_the_plan_says_how_far_it_is(found: State, mark: str, saying: str) -> None:
    """And what is wrong."""
    follows = Follows.of(found, PLAN)
    assert (follows.mark, saying in str(follows)) == (mark, True)
