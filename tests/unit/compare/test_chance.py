"""The intervals and McNemar's test, held against published values and against every case of small numbers."""

import math
from itertools import product

import numpy as np
import pytest

from scripts.compare.chance import difference_interval, mcnemar, median_interval, share_interval
from scripts.packaging.trial.verdict import binomial_tail


def pmf(hits: int, count: int, share: float) -> float:
    """Return the binomial probability, term by term."""
    return math.comb(count, hits) * share**hits * (1 - share) ** (count - hits)


@pytest.mark.parametrize("count", [1, 7, 40])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.5, 0.97])
def test_a_tail_is_the_sum_of_its_terms(count: int, share: float) -> None:
    """Whichever side is summed, to ten digits."""
    for hits in range(count + 2):
        terms = sum(pmf(k, count, share) for k in range(hits, count + 1))
        assert binomial_tail(hits, count, share) == pytest.approx(terms, rel=1e-10, abs=1e-14)


def test_a_tail_of_thousands_is_found_without_summing_thousands() -> None:
    """Half of an odd number is symmetric, and what cannot be is zero."""
    assert binomial_tail(500_001, 1_000_001, 0.5) == pytest.approx(0.5, rel=1e-7)
    assert binomial_tail(900_000, 1_000_000, 0.5) == 0.0
    assert binomial_tail(100_000, 1_000_000, 0.5) == 1.0


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [
        (10, 100, 0.0490, 0.1762),  # the textbook's table of Clopper and Pearson
        (0, 10, 0.0, 1 - 0.025**0.1),
        (10, 10, 0.025**0.1, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_the_interval_of_a_share_is_clopper_and_pearsons(hits: int, of: int, low: float, high: float) -> None:
    """Published values, and the closed forms at both ends."""
    assert share_interval(hits, of) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.93])
def test_the_interval_of_a_share_holds_in_95_percent(share: float) -> None:
    """Every outcome is looked at, with its probability: an exact interval never has the true share less often."""
    of, holds = 30, 0.0
    for k in range(of + 1):
        low, high = share_interval(k, of)
        holds += pmf(k, of, share) * (low <= share <= high)
    assert holds >= 0.95


def test_mcnemar_is_the_exact_test() -> None:
    """Armitage and Berry's two culture media: 12 against 2 of fifty, P = 0.0129."""
    assert mcnemar(12, 2) == mcnemar(2, 12) == pytest.approx(0.0129, abs=5e-5)
    assert mcnemar(0, 0) == mcnemar(4, 4) == 1.0
    assert mcnemar(6, 0) == pytest.approx(2 / 2**6)


def test_the_interval_of_a_difference_is_tangos() -> None:
    """Airway reactivity before and after transplantation (Bentur 2009, in Fagerland 2014): -0.517 to -0.026."""
    assert difference_interval(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)
    low, high = difference_interval(7, 1, 21)
    assert (low, high) == pytest.approx((0.026, 0.517), abs=5e-4)


@pytest.mark.parametrize("of", [10, 1000])
def test_without_a_difference_the_interval_still_has_a_width(of: int) -> None:
    """The score of no uneven pair has a closed form: z squared over n and z squared."""
    z = 1.959964**2
    assert difference_interval(0, 0, of) == pytest.approx((-z / (of + z), z / (of + z)), rel=1e-4)
    assert difference_interval(0, 0, 0) == (-1.0, 1.0)


@pytest.mark.parametrize(("one", "other"), [(0.05, 0.05), (0.2, 0.1), (0.02, 0.15), (0.3, 0.3)])
def test_the_interval_of_a_difference_holds_in_about_95_percent(one: float, other: float) -> None:
    """Every outcome of forty pairs is looked at; a score interval may be short of it by a point."""
    of, holds = 40, 0.0
    for b, c in product(range(of + 1), repeat=2):
        if b + c <= of:
            ways = math.comb(of, b) * math.comb(of - b, c)
            chance = ways * one**b * other**c * (1 - one - other) ** (of - b - c)
            if chance > 1e-9:
                low, high = difference_interval(b, c, of)
                holds += chance * (low <= one - other <= high)
    assert holds >= 0.94


def test_the_interval_of_a_median_is_between_two_values() -> None:
    """Of a hundred the 40th and the 61st, as the tables of the sign test have it; five values say nothing."""
    assert median_interval(np.arange(1.0, 101.0)) == (40.0, 61.0)
    assert median_interval(np.arange(6.0)[::-1]) == (0.0, 5.0)
    assert median_interval(np.arange(5.0)) == (-math.inf, math.inf)
