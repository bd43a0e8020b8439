"""How fast both versions are, measured in turns, so that what else the machine does meets both alike."""

import time
from collections.abc import Callable, Sequence
from itertools import count, cycle

import attrs
import numpy as np
from numpy.typing import NDArray

from scripts.compare.chance import Interval, median_interval
from scripts.compare.sides import Side
from scripts.server.load import turn

# The first calls make connections and caches.
_WARM = 3

Tensor = NDArray[np.uint8] | NDArray[np.float32]


@attrs.frozen(kw_only=True)
class Length:
    """How long is measured.

    Attributes:
        most: Pairs of calls for the latency, at most.
        least: And at least, if they take longer than *seconds*.
        seconds: What they may take.
        turns: Turns of each version under load: many short ones, or what else a machine does at times would halve the
            throughput of one version alone.
        turn_s: How long one lasts at least.
    """

    most: int = 300
    least: int = 30
    seconds: float = 10.0
    turns: int = 12
    turn_s: float = 0.4


@attrs.frozen(kw_only=True, eq=False)
class Timing:
    """What was measured.

    Attributes:
        latencies_ms: Of a lone caller with one picture, float64 ``(2, n)``: the baseline's calls and the candidate's.
        callers: How many asked at once for the rates.
        rates: Pictures a second that they got together, turn by turn, float64 ``(2, turns)``; none where that was left
            out.
    """

    latencies_ms: NDArray[np.float64]
    callers: int
    rates: NDArray[np.float64]

    def latency_ms(self, side: int, percent: float) -> float:
        """Return a percentile of the latencies of the baseline (0) or the candidate (1)."""
        return float(np.percentile(self.latencies_ms[side], percent))

    def rate(self, side: int) -> float:
        """Return the median of the rates."""
        return float(np.median(self.rates[side]))

    @property
    def more(self) -> float:
        """How many times more pictures the candidate gets done, as the median over pairs of turns."""
        return float(np.median(self.rates[1] / self.rates[0]))

    @property
    def more_interval(self) -> Interval:
        """The interval of that."""
        return median_interval(self.rates[1] / self.rates[0])

    @property
    def slower(self) -> float:
        """How many times longer the candidate takes, as the median over pairs of calls."""
        return float(np.median(self._ratios))

    @property
    def slower_interval(self) -> Interval:
        """The interval of that."""
        return median_interval(self._ratios)

    @property
    def _ratios(self) -> NDArray[np.float64]:
        return np.asarray(self.latencies_ms[1] / self.latencies_ms[0])


def measure(
    baseline: Side,
    candidate: Side,
    tensors: Sequence[tuple[Tensor, Tensor]],
    *,
    callers: int,
    length: Length,
    step: Callable[[str], None],
) -> Timing:
    """Measure the latency for a lone caller, and the pictures a second for several.

    Args:
        baseline: One version.
        candidate: The other.
        tensors: What is sent to the one and to the other, for some pictures.
        callers: How many ask at once; 0 leaves that part out.
        length: How long is measured.
        step: Called with a line for each part.

    Raises:
        TritonError: If the server fails.
    """
    sides = (baseline, candidate)
    step("Measuring the latency for a lone caller, both versions in turn")
    for side, sent in zip(sides, tensors[0], strict=True):
        for _ in range(_WARM):
            side.probabilities(sent)
    latencies = list[tuple[float, float]]()
    started = time.perf_counter()
    for number, pair in zip(range(length.most), cycle(tensors), strict=False):
        if number >= length.least and time.perf_counter() - started > length.seconds:
            break
        taken = [0.0, 0.0]
        # Who is first takes turns too.
        for at in (0, 1) if number % 2 else (1, 0):
            begun = time.perf_counter()
            sides[at].probabilities(pair[at])
            taken[at] = (time.perf_counter() - begun) * 1e3
        latencies.append((taken[0], taken[1]))
    rates: tuple[list[float], list[float]] = ([], [])
    if callers:
        step(f"Measuring the throughput with {callers_of(callers)}, both versions in turn")
        for number in range(length.turns):
            for at in (0, 1) if number % 2 else (1, 0):
                rates[at].append(_rate(sides[at], [pair[at] for pair in tensors], callers, length.turn_s))
    return Timing(latencies_ms=np.array(latencies).T, callers=callers, rates=np.array(rates))


def callers_of(number: int) -> str:
    """Return how many callers, in words."""
    return f"{number} caller{'' if number == 1 else 's'}"


def _rate(side: Side, tensors: Sequence[Tensor], callers: int, seconds: float) -> float:
    places = count()  # each caller takes the next picture
    done, taken = turn(lambda: side.probabilities(tensors[next(places) % len(tensors)]), callers, seconds)
    return done / taken
