"""What is foretold of a canary, held against simulated ones."""

import math

import pytest

from scripts.canary.foretell import Step, foretell, seconds
from scripts.canary.limits import Limits
from tests.unit.canary.simulated import PLAN, World, run

LIMITS = Limits()


@pytest.mark.parametrize("steps", [PLAN[:1], PLAN, [(0.1, 300)]], ids=str)
def test_what_is_foretold_is_found_in_most_canaries(steps: list[Step]) -> None:
    """In at least three of four, and a third of what is beyond the usual in few: it is no empty promise."""
    foretold = foretell(LIMITS, steps, failing=0.005)
    assert foretold.failing is not None
    assert run(World(candidate_failing=foretold.failing), steps, canaries=300, seed=25).share >= 0.75
    less = 0.005 + (foretold.failing - 0.005) / 3
    assert run(World(candidate_failing=less), steps, canaries=200, seed=26).share <= 0.4


def test_slow_calls_that_are_foretold_are_found_in_most_canaries() -> None:
    """1.3 times slower are 39.5 % of the calls if the spread is 0.3, so that the plan is sure to find it."""
    foretold = foretell(LIMITS, PLAN, failing=0.005)
    assert foretold.slow is not None
    assert 0.3 < foretold.slow < 0.395
    assert run(World(slower=1.3), PLAN, canaries=200, seed=27).share >= 0.95


def test_more_calls_find_more() -> None:
    """Each step finds smaller differences than those before it alone."""
    foretold = [foretell(LIMITS, PLAN[:count], failing=0.005) for count in (1, 2, 3)]
    found = [(one.failing, one.slow) for one in foretold if one.failing and one.slow]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 3


def test_too_few_calls_find_nothing() -> None:
    """One call of the candidate tells nothing, and no call neither."""
    for calls in (0, 1):
        foretold = foretell(LIMITS, [(0.5, calls)], failing=0.005)
        assert (foretold.failing, foretold.slow) == (None, None)
    assert foretell(LIMITS, [], failing=0.005).failing is None


def test_a_stable_version_that_never_fails_is_no_trouble() -> None:
    """A share is foretold, not a ratio."""
    failing = foretell(LIMITS, PLAN, failing=0.0).failing
    assert failing is not None
    assert 0 < failing < 0.02


@pytest.mark.parametrize(("rate", "least", "lasts"), [(100, 0, 30), (100, 60, 60), (1, 60, 3000), (0, 60, math.inf)])
def test_a_step_lasts_until_it_has_its_calls_and_its_time(rate: float, least: float, lasts: float) -> None:
    """300 calls of the candidate, which gets a tenth."""
    assert seconds((0.1, 300), rate=rate, least=least) == pytest.approx(lasts)
