"""A candidate that refuses what the stable version takes is not excused by its callers."""

from collections import Counter

import pytest

from scripts.agent.outcomes import Tally
from scripts.canary.limits import Limits
from scripts.canary.refusals import Refusals


def tally(calls: int, refused: int, *, shadows: int = 0, shadows_refused: int = 0) -> Tally:
    """Return what became of calls."""
    return Tally(
        calls=calls,
        failures=Counter(invalid=refused),
        shadow=Counter(images=shadows - shadows_refused),
        shadow_failures=Counter(invalid=shadows_refused),
    )


def looks(stable: Tally, candidate: Tally, *, count: int = 4) -> str | None:
    """Look so often at the same, and return what was said at last."""
    refusals = Refusals(Limits())
    said = None
    for _ in range(count):
        said = refusals.look(stable, candidate)
    return said


def test_a_candidate_that_refuses_many_is_found() -> None:
    """With both figures."""
    said = looks(tally(1000, 3), tally(20, 5))
    assert said is not None
    assert said.startswith("The candidate refused 20 of 80 calls as their callers' fault, and the stable version 12 of")


@pytest.mark.parametrize(
    ("stable", "candidate", "count"),
    [
        (tally(1000, 200), tally(20, 5), 4),
        (tally(1000, 0), tally(20, 1), 4),
        (tally(1000, 0), tally(5, 5), 4),
        (tally(1000, 0), tally(50, 50), 2),
    ],
    ids=["as many of both", "few", "too few calls", "too few looks"],
)
def test_callers_faults_count_for_neither_side(stable: Tally, candidate: Tally, count: int) -> None:
    """Some callers send what is no image."""
    assert looks(stable, candidate, count=count) is None


def test_shadowed_calls_tell_too() -> None:
    """The version beside it has answered the very same images."""
    said = looks(tally(1000, 0), tally(0, 0, shadows=100, shadows_refused=3))
    assert said is not None
    assert "refused 12 of 400 shadowed calls" in said
    assert looks(tally(1000, 0), tally(0, 0, shadows=100, shadows_refused=1)) is None
