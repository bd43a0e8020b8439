"""How far chance may have moved a count, a difference or a median: intervals of 95%, and McNemar's exact test."""

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from scripts.packaging.trial.verdict import binomial_tail

# What lies outside of an interval on each side, by chance.
_TAIL = 0.025
_Z = NormalDist().inv_cdf(1 - _TAIL)
_HALVINGS = 50

Interval = tuple[float, float]


def share_interval(hits: int, of: int, *, outside: float = _TAIL) -> Interval:
    """Return the exact interval (Clopper and Pearson, 1934) of the share that *hits* of *of* come from.

    Args:
        hits: How many.
        of: Of how many.
        outside: How often, at most, the share lies outside on each side.
    """
    if not of:
        return 0.0, 1.0
    return _least_share(hits, of, outside), 1 - _least_share(of - hits, of, outside)


def mcnemar(one: int, other: int) -> float:
    """Return how often chance alone divides ``one + other`` pairs as unevenly as this, or more: the exact test.

    Args:
        one: Pairs in which only the first is right.
        other: Pairs in which only the second is right.
    """
    return min(1.0, 2 * binomial_tail(max(one, other), one + other, 0.5))


def difference_interval(one: int, other: int, of: int) -> Interval:
    """Return the score interval of the difference of two shares in the same *of* pairs (Tango, 1998).

    Args:
        one: Pairs in which only the first is right.
        other: Pairs in which only the second is right.
        of: All pairs; the difference is ``(one - other) / of``.
    """
    if not of:
        return -1.0, 1.0

    def score(difference: float) -> float:
        """Return by how many standard deviations the counts are above what *difference* would give."""
        spread = difference * (1 - difference)
        b, c = -one - other + (2 * of - one + other) * difference, -other * spread
        rarer = (math.sqrt(b * b - 8 * of * c) - b) / (4 * of)
        variance = of * (2 * rarer + spread)
        distance = one - other - of * difference
        return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)

    middle = (one - other) / of
    low = _root(lambda difference: score(difference) <= _Z, -1.0, middle)
    high = _root(lambda difference: score(difference) <= -_Z, middle, 1.0)
    return low, high


def median_interval(values: NDArray[np.float64]) -> Interval:
    """Return the exact interval of the median that *values* come from, whatever their distribution: two of them.

    Six values are the fewest that have one.
    """
    ordered, count = np.sort(values), len(values)
    inside = next((k for k in range(count // 2, 0, -1) if binomial_tail(count - k + 1, count, 0.5) <= _TAIL), 0)
    return (float(ordered[inside - 1]), float(ordered[count - inside])) if inside else (-math.inf, math.inf)


def _least_share(hits: int, of: int, chance: float) -> float:
    """Return the least share that gives at least *hits* of *of* with this *chance*."""
    return _root(lambda share: binomial_tail(hits, of, share) >= chance, 0.0, 1.0) if hits else 0.0


def _root(above: Callable[[float], bool], low: float, high: float) -> float:
    """Return where *above*, false at *low* and true at *high*, changes."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if above(middle) else (middle, high)
    return (low + high) / 2
