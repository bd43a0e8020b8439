"""What a canary could find, and how long it takes, told before it begins."""

import math
from collections.abc import Callable, Sequence

import attrs

from scripts.canary.chance import Evidence
from scripts.canary.limits import FAILURES, P75, QUANTILES, Limits

# Found in most canaries: in four of five.
_QUANTILE = 0.8416
_HALVINGS = 30

# The candidate's share of the calls, and how many calls of the candidate.
Step = tuple[float, int]


@attrs.frozen(kw_only=True)
class Foretold:
    """The least that would be found in at least four of five canaries; None: nothing is sure to be found.

    Attributes:
        failing: Which share of the candidate's calls has to fail.
        slow: Which share of its calls has to take longer than `Limits.slower` times what a quarter of the stable
            version's calls takes.
    """

    failing: float | None
    slow: float | None


def foretell(limits: Limits, steps: Sequence[Step], *, failing: float) -> Foretold:
    """Return what could be found until the end of the last of *steps*.

    Args:
        limits: When it is enough.
        steps: Those that are done, and the next one.
        failing: Which share of the stable version's calls fails; the candidate's are taken to fail one by one.
    """
    return Foretold(
        failing=_least(limits.evidence(FAILURES), steps, failing),
        slow=_least(limits.evidence(P75), steps, 1 - QUANTILES[P75]),
    )


def seconds(step: Step, *, rate: float, least: float = 0.0) -> float:
    """Return how long a step takes at *rate* calls a second of both versions, but at least *least* seconds.

    Without calls it is infinite.
    """
    share, calls = step
    return max(least, calls / (share * rate)) if rate > 0 else math.inf


def _least(evidence: float, steps: Sequence[Step], usual: float) -> float | None:
    """Return the least share of hits that gives *evidence*, if *usual* is the stable version's share."""
    calls = sum(count for _, count in steps)

    def found(share: float) -> bool:
        """Say whether so many hits as most canaries have at this share are enough."""
        hits = max(0.0, calls * share - _QUANTILE * math.sqrt(calls * share * (1 - share)))
        against = Evidence()
        for part, count in steps:
            stable = count * (1 - part) / part
            against.compare(hits * count / max(calls, 1), count, usual * stable, stable)
        return bool(against.log() >= math.log(evidence))

    return _first(found, usual, 1.0) if found(1.0) else None


def _first(above: Callable[[float], bool], low: float, high: float) -> float:
    """Return where *above*, which is true at *high*, begins to be so."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if above(middle) else (middle, high)
    return high
