"""Decide which way of serving on a GPU is the fastest, and whether it is so by more than chance."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

import attrs

Precision = Literal["fp32", "fp16"]
Layout = Literal["NCHW", "NHWC"]
# Below this a gain is not worth another configuration, however sure it is.
LEAST_GAIN = 0.05


@attrs.frozen(kw_only=True, order=True)
class Candidate:
    """A way of serving a model.

    Attributes:
        precision: What its convolutions are computed in.
        layout: The order of axes that they are computed in.
        instances: How many instances each GPU has.
    """

    precision: Precision
    layout: Layout
    instances: int

    def __str__(self) -> str:
        plural = "s" if self.instances > 1 else ""
        return f"{self.precision.upper()}, {self.layout}, {self.instances} instance{plural}"


@attrs.frozen(kw_only=True)
class Measured:
    """What was measured of a candidate.

    Attributes:
        candidate: Which one.
        images_s: Images a second by the number of callers, each measured several times.
    """

    candidate: Candidate
    images_s: Mapping[int, Sequence[float]]

    @property
    def medians(self) -> dict[int, float]:
        """The median for each number of callers."""
        return {callers: statistics.median(rates) for callers, rates in self.images_s.items()}

    @property
    def score(self) -> float:
        """One figure for all numbers of callers: the geometric mean of their medians, in images a second."""
        return statistics.geometric_mean(self.medians.values())

    @property
    def noise(self) -> float:
        """By what part of itself the score moves from one measurement to the next."""
        turns = [statistics.geometric_mean(turn) for turn in zip(*self.images_s.values(), strict=True)]
        return (max(turns) - min(turns)) / self.score


@attrs.frozen(kw_only=True)
class Choice:
    """What was chosen.

    Attributes:
        best: The fastest; the one in use where no other is faster by more than chance.
        used: The one in use.
        gain: By what part the fastest of all is faster than the one in use, chance or not.
        noise: What a gain must be above.
    """

    best: Measured
    used: Measured
    gain: float
    noise: float

    @property
    def changes(self) -> bool:
        """Whether another one is to be used."""
        return self.best is not self.used


def choose(measured: Sequence[Measured], *, used: Candidate) -> Choice:
    """Return the fastest of *measured*, unless the one in use is as fast within the noise.

    Args:
        measured: All candidates, the one in use among them.
        used: The one in use.
    """
    (current,) = (one for one in measured if one.candidate == used)
    # Among equals the simplest: the fewest instances take the least memory.
    fastest = max(measured, key=lambda one: (one.score, -one.candidate.instances))
    gain = fastest.score / current.score - 1
    noise = max(fastest.noise, current.noise, LEAST_GAIN)
    return Choice(best=fastest if gain > noise else current, used=current, gain=gain, noise=noise)


def to_try(measured: Sequence[Measured], *, used: Candidate) -> Candidate | None:
    """Return what to measure next; None where all is known that may be the fastest.

    First the one in use, and every precision and layout with one instance. Then the fastest of them with more
    instances, up to 4, as long as each is faster than the one before.
    """
    done = {one.candidate: one for one in measured}
    first = [
        Candidate(precision=precision, layout=layout, instances=1)
        for precision in ("fp32", "fp16")
        for layout in ("NCHW", "NHWC")
    ]
    for candidate in (used, *first):
        if candidate not in done:
            return candidate
    best = max((done[candidate] for candidate in first), key=lambda one: one.score).candidate
    for instances in range(2, 5):
        candidate = attrs.evolve(best, instances=instances)
        if candidate not in done:
            return candidate
        if done[candidate].score <= done[attrs.evolve(best, instances=instances - 1)].score:
            return None
    return None
