"""Between which numbers a value lies, and what is known of two of them together."""

import math
from collections.abc import Sequence

import attrs

# Quantisation keeps a little above 1, and rounding a little of everything.
_SLACK = 0.02


@attrs.frozen(kw_only=True)
class Range:
    """What the operators that make a value say of its numbers.

    Attributes:
        low: They are never below this.
        high: They are never above this.
        step: Rounding or quantisation moved each of them by at most half of this.
        found: The operators on the way that bound scores or make a decision of them: "Softmax", "Sigmoid", "Tanh", ...
    """

    low: float = -math.inf
    high: float = math.inf
    step: float = 0.0
    found: frozenset[str] = frozenset()

    @property
    def unit(self) -> bool:
        """Whether all numbers lie in [0, 1], by the operators alone."""
        return self.low >= -_SLACK and self.high <= 1 + _SLACK


FREE = Range()


def found_in(parts: Sequence[Range]) -> frozenset[str]:
    """Return what was found on the way to any of *parts*."""
    return frozenset(name for part in parts for name in part.found)


def union(parts: Sequence[Range]) -> Range:
    """Return the range of what may be any of *parts*."""
    return Range(
        low=min(part.low for part in parts),
        high=max(part.high for part in parts),
        step=max(part.step for part in parts),
        found=found_in(parts),
    )


def inverse(of: Range) -> Range:
    """Return the range of one divided by a value."""
    if of.low < 0 < of.high:
        return attrs.evolve(FREE, found=of.found)
    ends = [1 / end if end else math.copysign(math.inf, of.high + of.low) for end in (of.low, of.high)]
    # One over what has no end is what sigmoids are written with.
    endless = math.inf in (of.high, -of.low)
    return Range(low=min(ends), high=max(ends), found=of.found | ({"Reciprocal"} if endless else set()))


def times(left: float, right: float) -> float:
    """Multiply two ends, of which one may be infinite and the other 0."""
    return 0.0 if 0 in (left, right) else left * right
