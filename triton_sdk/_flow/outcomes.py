"""What became of calls that followed a traffic plan: counted for each version, and told to an agent now and then."""

import math
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from triton_sdk.errors import (
    ContractError,
    DeadlineExceededError,
    InferenceFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    ServerError,
    ServerOverloadedError,
    ServerUnavailableError,
    TritonError,
)

SCHEMA: Final = 1
# What is not told yet; what comes on top is dropped, and counted.
MOST: Final = 10_000
# Of a histogram of latencies, bucket i counts what took from 2**(i / 16) to 2**((i + 1) / 16) seconds. They are 4.4 %
# wide, and histograms of many clients add up. Beyond 15 hours and below 15 us nothing is told apart.
BUCKETS_PER_OCTAVE: Final = 16
_FIRST, _LAST = -16 * BUCKETS_PER_OCTAVE, 16 * BUCKETS_PER_OCTAVE
# Seconds with a failure in one report, the last ones; a report comes every 2 s.
_MOST_AGES: Final = 60
# From this probability on the caller's answer is a sure one: to differ from it is the sign of a broken candidate.
SURE: Final = 0.9

# The caller's own fault.
_INVALID: Final = "invalid"
_KINDS: Final = (
    (ServerUnavailableError, "unreachable"),
    (DeadlineExceededError, "late"),
    (ServerOverloadedError, "refused"),
    (InferenceFailedError, "failed"),
    (ModelNotFoundError, "missing"),
    (InvalidRequestError, _INVALID),
    (ContractError, "contract"),
    (ServerError, "denied"),
)


class _Answered(NamedTuple):
    version: int
    images: int
    seconds: float


class _Failed(NamedTuple):
    version: int | None
    kind: str
    at: float


class _PassedOver(NamedTuple):
    version: int


class _Mirrored(NamedTuple):
    version: int
    kind: str
    same: bool
    sure: bool
    seconds: float


class Outcomes:
    """What became of calls and is not told yet; no lock, for each act is one atomic step of CPython.

    Nothing of an image, an answer or a key is in it.

    Args:
        model: Whom the calls are for.
        clock: Gives the monotonic time, in seconds.
        noted: Called after something was noted.
    """

    def __init__(self, model: str, clock: Callable[[], float], noted: Callable[[], object]) -> None:
        self._model, self._clock, self._noted = model, clock, noted
        self._new: deque[_Answered | _Failed | _PassedOver | _Mirrored] = deque()
        self._dropped = 0

    def answered(self, version: int, images: int, seconds: float) -> None:
        """Note that *version* answered, so long after it was asked."""
        self._note(_Answered(version, images, seconds))

    def failed(self, version: int | None, error: TritonError) -> None:
        """Note what the caller gets to see in place of an answer by *version*; None is the stable one."""
        if kind := _kind(error):
            self._note(_Failed(version, kind, self._clock()))

    def passed_over(self, version: int) -> None:
        """Note that the stable version was asked in the place of one that is gone."""
        self._note(_PassedOver(version))

    def mirrored(self, version: int, *, same: bool, sure: bool, seconds: float) -> None:
        """Note that a shadow found the same as who answered the caller, or not; and whether that was a sure answer."""
        self._note(_Mirrored(version, "", same, sure, seconds))

    def mirrored_in_vain(self, version: int, error: TritonError) -> None:
        """Note that a shadow failed."""
        if kind := _kind(error):
            self._note(_Mirrored(version, kind, False, False, 0.0))

    def take(self) -> dict[str, Any] | None:
        """Return what has come since the last time, as JSON-like data; None: nothing has."""
        versions: dict[str, _Counts] = {}
        dropped, self._dropped = self._dropped, 0
        now = self._clock()
        for _ in range(len(self._new)):
            one = self._new.popleft()
            name = "stable" if one.version is None else str(one.version)
            versions.setdefault(name, _Counts()).add(one, now)
        if not versions and not dropped:
            return None
        return {
            "schema": SCHEMA,
            "model": self._model,
            "dropped": dropped,
            "versions": {name: counts.to_dict() for name, counts in versions.items()},
        }

    def untold(self) -> bool:
        """Return whether anything has come since the last time."""
        return bool(self._new)

    def _note(self, one: _Answered | _Failed | _PassedOver | _Mirrored) -> None:
        if len(self._new) < MOST:
            self._new.append(one)
        else:
            self._dropped += 1
        self._noted()


class _Counts:
    """What became of the calls of one version."""

    def __init__(self) -> None:
        self.calls = self.images = self.passed_over = 0
        self.failures, self.latency, self.ages = Counter[str](), Counter[int](), dict[int, float]()
        self.shadow = Counter[str]()
        self.shadow_failures, self.shadow_latency = Counter[str](), Counter[int]()

    def add(self, one: _Answered | _Failed | _PassedOver | _Mirrored, now: float) -> None:
        if isinstance(one, _Answered):
            self.calls += 1
            self.images += one.images
            self.latency[bucket(one.seconds)] += 1
        elif isinstance(one, _Failed):
            self.calls += 1
            self.failures[one.kind] += 1
            if one.kind != _INVALID:
                self.ages.setdefault(int(one.at), max(0.0, now - one.at))
        elif isinstance(one, _PassedOver):
            self.passed_over += 1
        elif one.kind:
            self.shadow_failures[one.kind] += 1
        else:
            self.shadow.update(images=1, same=one.same, sure=one.sure, sure_same=one.sure and one.same)
            self.shadow_latency[bucket(one.seconds)] += 1

    def to_dict(self) -> dict[str, Any]:
        return {
            "calls": self.calls,
            "images": self.images,
            "passed_over": self.passed_over,
            "failures": dict(self.failures),
            # One failing batch fails many calls: whoever judges counts the seconds in which something failed. Of each
            # of them this is the first failure's age, to the hundredth: seconds of clients begin at different times.
            "failed_s_ago": sorted(round(age, 2) for age in self.ages.values())[:_MOST_AGES],
            "latency": {str(place): count for place, count in self.latency.items()},
            "shadow": {
                **{name: self.shadow[name] for name in ("images", "same", "sure", "sure_same")},
                "failures": dict(self.shadow_failures),
                "latency": {str(place): count for place, count in self.shadow_latency.items()},
            },
        }


def bucket(seconds: float) -> int:
    """Return the place of the bucket that counts a latency."""
    if seconds <= 0:
        return _FIRST
    return min(max(math.floor(math.log2(seconds) * BUCKETS_PER_OCTAVE), _FIRST), _LAST)


def _kind(error: TritonError) -> str:
    """Return in one word how a call failed; empty: it was never sent, which is no version's fault."""
    if not error.attempts:
        return ""
    return next((kind for known, kind in _KINDS if isinstance(error, known)), "")
