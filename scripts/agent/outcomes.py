"""What clients tell of their calls, summed up: by model and version, since this agent started."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from scripts.agent.errors import PlanError
from scripts.agent.plan import is_version, read_object
from scripts.agent.traffic import to_text

# A report of more bytes is none; one of a client with sixteen versions takes a tenth of it.
LARGEST = 2**16
# Versions of a model that are counted; whoever invents more is not heard.
MOST_VERSIONS = 64
# Calls in a report; a client tells what happened in 2 s.
_MOST = 10**6
# How a call may fail, as its caller saw it.
INVALID = "invalid"
KINDS = ("unreachable", "late", "refused", "failed", "missing", INVALID, "contract", "denied")
# Bucket i counts what took from 2**(i / 16) to 2**((i + 1) / 16) seconds.
BUCKETS_PER_OCTAVE = 16
_FARTHEST = 16 * BUCKETS_PER_OCTAVE
QUANTILES = (0.5, 0.95, 0.99)
# How long ago a failure may lie that a report tells of, in seconds.
_MOST_AGE_S = 120
# What is counted of a shadow's images.
SHADOW = ("images", "same", "sure", "sure_same")
# What counts the calls for which the client did not name a version, and which nobody answered.
STABLE = "stable"


@dataclass
class Latency:
    """A histogram of latencies, which adds up with any other one.

    Attributes:
        buckets: How many each bucket counts.
    """

    buckets: Counter[int] = field(default_factory=Counter)

    def quantile(self, share: float) -> float | None:
        """Return what *share* of the calls took at most, in seconds, to 2 %; None: there was no call."""
        wanted = share * self.buckets.total()
        seen = 0
        for place, count in sorted(self.buckets.items()):
            seen += count
            if seen >= wanted:
                return middle_s(place)
        return None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Latency":
        """Read what `to_dict` gave."""
        return cls(Counter({int(place): int(count) for place, count in data["buckets"].items()}))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-like data, with the quantiles in milliseconds."""
        quantiles = {f"p{100 * share:g}_ms": self.quantile(share) for share in QUANTILES}
        return {
            **{name: None if seconds is None else round(1e3 * seconds, 3) for name, seconds in quantiles.items()},
            "buckets": {str(place): count for place, count in sorted(self.buckets.items())},
        }


@dataclass
class Tally:
    """What became of the calls of one version.

    Attributes:
        calls: How many were answered or failed.
        images: How many images were answered.
        passed_over: For how many the stable version was asked instead, since this one was gone.
        failures: How many failed, by the kind of it.
        incidents: In how many seconds one failed: a batch that fails fails many calls.
        latency: Of those that were answered.
        shadow: Images for which it was asked beside who answered, ``images``; of those, how many with the same best
            class, ``same``; with an answer to the caller that was a sure one, ``sure``; and both, ``sure_same``.
        shadow_failures: How many it failed at when it was asked so.
        shadow_latency: Of those that it answered.
    """

    calls: int = 0
    images: int = 0
    passed_over: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    incidents: int = 0
    latency: Latency = field(default_factory=Latency)
    shadow: Counter[str] = field(default_factory=Counter)
    shadow_failures: Counter[str] = field(default_factory=Counter)
    shadow_latency: Latency = field(default_factory=Latency)
    _seconds: set[int] = field(default_factory=set)

    def failed_at(self, seconds: set[int], now: int) -> None:
        """Note the seconds in which something failed; what several clients tell of one second counts once."""
        self.incidents += len(seconds - self._seconds)
        self._seconds = {second for second in self._seconds | seconds if now - second <= _MOST_AGE_S}

    @property
    def failed(self) -> int:
        """How many calls failed by another's fault than the caller's."""
        return self.failures.total() - self.failures[INVALID]

    def add(self, other: "Tally") -> None:
        """Add what another agent has summed up."""
        self.calls += other.calls
        self.images += other.images
        self.passed_over += other.passed_over
        self.incidents += other.incidents
        self.failures += other.failures
        self.latency.buckets += other.latency.buckets
        self.shadow += other.shadow
        self.shadow_failures += other.shadow_failures
        self.shadow_latency.buckets += other.shadow_latency.buckets

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Tally":
        """Read what `to_dict` gave."""
        shadow = data["shadow"]
        return cls(
            calls=int(data["calls"]),
            images=int(data["images"]),
            passed_over=int(data["passed_over"]),
            incidents=int(data["incidents"]),
            failures=Counter(data["failures"]),
            latency=Latency.from_dict(data["latency"]),
            shadow=Counter({name: int(shadow[name]) for name in SHADOW}),
            shadow_failures=Counter(shadow["failures"]),
            shadow_latency=Latency.from_dict(shadow["latency"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-like data."""
        return {
            "calls": self.calls,
            "images": self.images,
            "passed_over": self.passed_over,
            "failures": dict(sorted(self.failures.items())),
            "incidents": self.incidents,
            "latency": self.latency.to_dict(),
            "shadow": {
                **{name: self.shadow[name] for name in SHADOW},
                "failures": dict(sorted(self.shadow_failures.items())),
                "latency": self.shadow_latency.to_dict(),
            },
        }


@dataclass(kw_only=True)
class Outcomes:
    """What clients told of the calls of each model.

    Attributes:
        clock: Gives the monotonic time, in seconds.
        since: When this agent began to count: whoever compares two looks sees by it that it was started anew.
        dropped: Calls of each model that clients could not tell of.
        tallies: By model and version; guarded by *lock*.
        lock: Held while *tallies* is read or changed.
    """

    clock: Callable[[], float] = time.monotonic
    since: str = field(default_factory=lambda: to_text(datetime.now(UTC)))
    dropped: Counter[str] = field(default_factory=Counter)
    tallies: dict[str, dict[str, Tally]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, model: str, body: bytes, *, stable: int | None) -> None:
        """Add what a client tells of *model*, all of it or nothing.

        Args:
            model: Whose calls they were.
            body: The JSON text of the report.
            stable: The version that callers get who name none.

        Raises:
            PlanError: If it is no report.
        """
        data = read_object(body, what="report")
        if data.get("model") != model:
            raise PlanError(f"The report is of model {data.get('model')!r:.100}, not of {model!r}.")
        try:
            dropped = _count(data["dropped"])
            told = [(_version(name, stable), _Told.read(one)) for name, one in data["versions"].items()]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PlanError(f"The report cannot be read: {error!r:.200}.") from error
        now = self.clock()
        with self.lock:
            known = self.tallies.setdefault(model, {})
            if len(known.keys() | {name for name, _ in told}) > MOST_VERSIONS:
                raise PlanError(f"The report names more than {MOST_VERSIONS} versions, together with those before.")
            self.dropped[model] += dropped
            for name, one in told:
                one.add_to(known.setdefault(name, Tally()), now)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-like data."""
        with self.lock:
            return {
                model: {
                    "since": self.since,
                    "dropped": self.dropped[model],
                    "versions": {name: tally.to_dict() for name, tally in sorted(tallies.items())},
                }
                for model, tallies in sorted(self.tallies.items())
            }


@dataclass(frozen=True)
class _Told:
    """What one report tells of a version, checked."""

    counts: dict[str, int]
    failures: Counter[str]
    ages: list[float]
    latency: Counter[int]
    shadow: Counter[str]
    shadow_failures: Counter[str]
    shadow_latency: Counter[int]

    @classmethod
    def read(cls, data: dict[str, Any]) -> "_Told":
        """Read it.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: If it is none.
        """
        shadow, ages = data["shadow"], data["failed_s_ago"]
        if not isinstance(ages, list) or len(ages) > _MOST_AGE_S:
            raise ValueError("failed_s_ago")
        return cls(
            {name: _count(data[name]) for name in ("calls", "images", "passed_over")},
            _failures(data["failures"]),
            [age for age in map(_age, ages) if age < _MOST_AGE_S],
            _buckets(data["latency"]),
            Counter({name: _count(shadow[name]) for name in SHADOW}),
            _failures(shadow["failures"]),
            _buckets(shadow["latency"]),
        )

    def add_to(self, tally: Tally, now: float) -> None:
        """Add it to what was told before."""
        tally.calls += self.counts["calls"]
        tally.images += self.counts["images"]
        tally.passed_over += self.counts["passed_over"]
        tally.failures += self.failures
        tally.failed_at({int(now - age) for age in self.ages}, int(now))
        tally.latency.buckets += self.latency
        tally.shadow += self.shadow
        tally.shadow_failures += self.shadow_failures
        tally.shadow_latency.buckets += self.shadow_latency


def middle_s(place: int) -> float:
    """Return the middle of a bucket, in seconds."""
    return float(2.0 ** ((place + 0.5) / BUCKETS_PER_OCTAVE))


def _version(name: str, stable: int | None) -> str:
    """Return by what a version is counted; calls that named none, and were not answered, are the stable one's."""
    if name == STABLE:
        return STABLE if stable is None else str(stable)
    if not is_version(name):
        raise ValueError(name)
    return name


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise ValueError(value)
    return value


def _age(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
        raise ValueError(value)
    return value


def _failures(data: dict[str, Any]) -> Counter[str]:
    if not data.keys() <= set(KINDS):
        raise ValueError(sorted(data))
    return Counter({kind: _count(count) for kind, count in data.items()})


def _buckets(data: dict[str, Any]) -> Counter[int]:
    read = Counter({int(place): _count(count) for place, count in data.items()})
    if any(abs(place) > _FARTHEST for place in read):
        raise ValueError("a bucket that there is not")
    return read
