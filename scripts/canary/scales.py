"""The scales of a canary: what each statistic weighs, for one canary or, in arrays, for many at once."""

import math
from collections.abc import Mapping
from typing import Any, Self

import attrs

from scripts.canary.arithmetic import PLAIN, Arithmetic, Flags, Number
from scripts.canary.chance import Evidence
from scripts.canary.limits import DISAGREEMENT, FAILURES, OUTRIGHT, PARTS, QUANTILES, Limits


@attrs.frozen(kw_only=True)
class Marks:
    """What counts of one version in one look: numbers, or arrays with those of many canaries.

    Attributes:
        calls: Answered, or failed by another's fault than the caller's.
        failed: Of those.
        incidents: In so many seconds of a pod.
        answered: How many calls have a latency that is judged.
        slow: How many of them took too long, by statistic; parts of 1 where a bucket is cut.
        sure: Shadowed images of which the caller's answer was sure.
        flips: How many of those got another best class.
    """

    calls: Number = 0.0
    failed: Number = 0.0
    incidents: Number = 0.0
    answered: Number = 0.0
    slow: dict[str, Number] = attrs.field(factory=lambda: dict.fromkeys(QUANTILES, 0.0))
    sure: Number = 0.0
    flips: Number = 0.0

    def __add__(self, other: "Marks") -> "Marks":
        return Marks(
            calls=self.calls + other.calls,
            failed=self.failed + other.failed,
            incidents=self.incidents + other.incidents,
            answered=self.answered + other.answered,
            slow={name: slow + other.slow[name] for name, slow in self.slow.items()},
            sure=self.sure + other.sure,
            flips=self.flips + other.flips,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return those of one canary as JSON-like data."""
        slow = {name: float(count) for name, count in self.slow.items()}
        return {name: slow if name == "slow" else float(count) for name, count in attrs.asdict(self).items()}


def beyond(bucket: Number, edge: float, arithmetic: Arithmetic = PLAIN) -> Number:
    """Return which part of a bucket of a histogram of latencies lies above *edge*, a place between buckets."""
    return arithmetic.minimum(arithmetic.maximum(bucket + 1.0 - edge, 0.0), 1.0)


@attrs.frozen(kw_only=True)
class Block:
    """What came of the last calls.

    Attributes:
        calls: Of the candidate.
        failed: How many of them failed.
        looks: In how many looks it had calls,
        failing: and in how many it failed.
        expected: How many would have failed at the stable version's share of each look.
        stable_calls: Of the stable version, in the same time.
        stable_failed: How many of them failed.
    """

    calls: Number = 0.0
    failed: Number = 0.0
    looks: Number = 0.0
    failing: Number = 0.0
    expected: Number = 0.0
    stable_calls: Number = 0.0
    stable_failed: Number = 0.0

    def with_look(self, stable: Marks, candidate: Marks, arithmetic: Arithmetic) -> Self:
        """Return it with one look more."""
        return attrs.evolve(
            self,
            calls=self.calls + candidate.calls,
            failed=self.failed + candidate.failed,
            looks=self.looks + (candidate.calls > 0),
            failing=self.failing + (candidate.failed > 0),
            expected=self.expected + candidate.calls * stable.failed / arithmetic.maximum(stable.calls, 1.0),
            stable_calls=self.stable_calls + stable.calls,
            stable_failed=self.stable_failed + stable.failed,
        )

    def full(self, limits: Limits) -> Flags:
        """Say whether there are enough calls to judge."""
        return (self.calls >= limits.hard_calls) & (self.looks >= limits.hard_looks)

    def fails(self, limits: Limits, arithmetic: Arithmetic) -> Flags:
        """Say whether the candidate fails outright, and the stable version less than a third as often.

        What a pod that was away failed is not the candidate's fault: the expected failures do not count.
        """
        often = self.failed - self.expected > limits.hard_share * self.calls
        worse = 3.0 * self.stable_failed * self.calls < self.failed * arithmetic.maximum(self.stable_calls, 1.0)
        return often & worse & (self.failing >= limits.hard_looks)

    def emptied(self, where: Flags, arithmetic: Arithmetic) -> Self:
        """Return it with nothing in it for the canaries in which it was judged."""
        return type(self)(**{name: arithmetic.where(where, 0.0, value) for name, value in attrs.asdict(self).items()})

    def to_dict(self) -> dict[str, float]:
        """Return that of one canary as JSON-like data."""
        return {name: float(value) for name, value in attrs.asdict(self).items()}


@attrs.define(kw_only=True)
class Scales:
    """What all looks together weigh.

    Failures come in clusters: a batch that fails fails each of its calls. So the logarithm of the evidence of failures
    is divided by how many failures of the candidate come together in a second of a pod, on average over those that are
    more than its part. Comparing the seconds of both versions instead would be wrong twice. If a pod is away for some
    seconds, each version fails in each of them, and a candidate with a hundredth of the calls would seem a hundred
    times worse. And if there are so many calls that something fails in each second, a candidate that fails ten times as
    often would seem no worse.

    Attributes:
        limits: When it is enough.
        evidence: By statistic.
        stable: All that counted of the stable version.
        candidate: The same of the candidate.
        excess: Failures of the candidate beyond its part of each look's failures.
        together: The sum over these of how many came together with each, itself counted.
        block: What came of the last calls, for the hard stop: it begins anew when it was judged.
        outright: Whether the hard stop is reached.
        arithmetic: What it is reckoned with.
    """

    limits: Limits
    evidence: dict[str, Evidence] = attrs.field(factory=lambda: {name: Evidence() for name in PARTS})
    stable: Marks = attrs.field(factory=Marks)
    candidate: Marks = attrs.field(factory=Marks)
    excess: Number = 0.0
    together: Number = 0.0
    block: Block = attrs.field(factory=Block)
    outright: Flags = False
    arithmetic: Arithmetic = attrs.field(default=PLAIN, eq=False, repr=False)

    def weigh(self, stable: Marks, candidate: Marks) -> None:
        """Add a look."""
        evidence, maximum = self.evidence, self.arithmetic.maximum
        evidence[FAILURES].compare(candidate.failed, candidate.calls, stable.failed, stable.calls)
        for name in QUANTILES:
            evidence[name].compare(candidate.slow[name], candidate.answered, stable.slow[name], stable.answered)
        if self.limits.most_disagreement is not None:
            evidence[DISAGREEMENT].hold(candidate.flips, candidate.sure, self.limits.most_disagreement)
        self.stable, self.candidate = self.stable + stable, self.candidate + candidate
        both = stable + candidate
        part = both.failed * candidate.calls / maximum(both.calls, 1.0)
        excess = maximum(candidate.failed - part, 0.0)
        self.excess = self.excess + excess
        self.together = self.together + excess * candidate.failed / maximum(candidate.incidents, 1.0)
        # What was judged once begins anew; what was found stays.
        judged = self.arithmetic.where(self.outright, False, self.block.full(self.limits))
        self.block = self.block.emptied(judged, self.arithmetic).with_look(stable, candidate, self.arithmetic)
        self.outright = self.block.full(self.limits) & self.block.fails(self.limits, self.arithmetic)

    def logs(self) -> dict[str, Number]:
        """Return the natural logarithm of the evidence of each statistic."""
        some = self.arithmetic.where(self.excess > 0.0, self.excess, 1.0)
        together = self.arithmetic.maximum(self.together / some, 1.0)
        return {name: one.log(together if name == FAILURES else 1.0) for name, one in self.evidence.items()}

    def bad(self) -> dict[str, Flags]:
        """Say by what the canary is to be ended."""
        beyond_limit = {name: log >= math.log(self.limits.evidence(name)) for name, log in self.logs().items()}
        return {OUTRIGHT: self.outright, **beyond_limit}

    @classmethod
    def from_dict(cls, limits: Limits, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        return cls(
            limits=limits,
            evidence={name: Evidence(logs) for name, logs in data["evidence"].items()},
            stable=Marks(**data["stable"]),
            candidate=Marks(**data["candidate"]),
            excess=data["excess"],
            together=data["together"],
            block=Block(**data["block"]),
            outright=data["outright"],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return those of one canary as JSON-like data."""
        return {
            "evidence": {name: list(one.logs) for name, one in self.evidence.items()},
            "stable": self.stable.to_dict(),
            "candidate": self.candidate.to_dict(),
            "excess": float(self.excess),
            "together": float(self.together),
            "block": self.block.to_dict(),
            "outright": bool(self.outright),
        }
