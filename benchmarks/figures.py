"""The arithmetic: rates, ratios and their spread. Pure."""

import math
import statistics
from collections.abc import Sequence
from typing import Any, Self

import attrs


@attrs.frozen(kw_only=True)
class Round:
    """What one contender did in one round.

    Attributes:
        images: How many it classified.
        seconds: How long it took.
        cpu: Processor seconds of the contender's process.
        latencies: Seconds that each request took, where they can be told.
    """

    images: int
    seconds: float
    cpu: float
    latencies: tuple[float, ...] = ()

    @classmethod
    def from_line(cls, line: dict[str, Any]) -> Self:
        """Read what a contender answered."""
        return cls(
            images=int(line["images"]),
            seconds=float(line["seconds"]),
            cpu=float(line["cpu"]),
            latencies=tuple(line["latencies"]),
        )

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / self.seconds

    @property
    def cpu_per_thousand(self) -> float:
        """Processor seconds of the client for 1000 images."""
        return 1000 * self.cpu / self.images


@attrs.frozen(kw_only=True)
class Move:
    """What it took to bring a version somewhere once.

    Attributes:
        seconds: How long it took.
        requests: How many requests the other side got.
        sent: Bytes of their bodies.
        received: Bytes of the answers.
    """

    seconds: float
    requests: int
    sent: int
    received: int


@attrs.frozen(kw_only=True)
class Moved:
    """What one way to bring a version somewhere did in all rounds.

    Attributes:
        name: What the table calls it.
        beside: The name of the way of ours that does the same; empty for one of ours.
        moves: Its rounds.
    """

    name: str
    beside: str
    moves: tuple[Move, ...]


@attrs.frozen
class Spread:
    """The middle of some figures, and how far they lie apart."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Self:
        """Take the median, the least and the greatest of at least one figure."""
        return cls(statistics.median(figures), min(figures), max(figures))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def rates(rounds: Sequence[Round]) -> Spread:
    """Return images per second."""
    return Spread.of([r.rate for r in rounds])


def cpu(rounds: Sequence[Round]) -> Spread:
    """Return the client's processor seconds for 1000 images."""
    return Spread.of([r.cpu_per_thousand for r in rounds])


def ratio(ours: Sequence[Round], theirs: Sequence[Round], *, of: str = "rate") -> Spread:
    """Return ours by theirs, round by round: what slows a whole round down cancels out.

    Args:
        ours: Rounds of one contender.
        theirs: Rounds of another, made in turn with them.
        of: ``"rate"`` or ``"cpu_per_thousand"``.
    """
    return Spread.of([getattr(a, of) / getattr(b, of) for a, b in zip(ours, theirs, strict=True)])


def percentile(rounds: Sequence[Round], share: float) -> float | None:
    """Return the latency, in ms, that *share* of all requests stayed within (nearest rank); None without latencies."""
    times = sorted(latency for r in rounds for latency in r.latencies)
    return 1000 * times[max(0, math.ceil(share * len(times)) - 1)] if times else None
