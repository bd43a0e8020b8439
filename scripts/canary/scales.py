"""The scales of a canary: what each statistic weighs, for one canary or, in arrays, for many at once."""

from collections.abc import Mapping
from typing import Any, Self

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray

from scripts.canary.chance import Evidence, Number
from scripts.canary.limits import DISAGREEMENT, FAILURES, OUTRIGHT, PARTS, QUANTILES, Limits

# Whether it is so of one canary, or of each of many.
Flags = NDArray[np.bool_] | np.bool_ | bool


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
            calls=np.add(self.calls, other.calls),
            failed=np.add(self.failed, other.failed),
            incidents=np.add(self.incidents, other.incidents),
            answered=np.add(self.answered, other.answered),
            slow={name: np.add(slow, other.slow[name]) for name, slow in self.slow.items()},
            sure=np.add(self.sure, other.sure),
            flips=np.add(self.flips, other.flips),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return those of one canary as JSON-like data."""
        slow = {name: float(count) for name, count in self.slow.items()}
        return {name: slow if name == "slow" else float(count) for name, count in attrs.asdict(self).items()}


def beyond(buckets: ArrayLike, edge: float) -> NDArray[np.float64]:
    """Return which part of each bucket of a histogram of latencies lies above *edge*, a place between buckets."""
    return np.clip(np.asarray(buckets) + 1.0 - edge, 0.0, 1.0)


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

    def with_look(self, stable: Marks, candidate: Marks) -> Self:
        """Return it with one look more."""
        return attrs.evolve(
            self,
            calls=np.add(self.calls, candidate.calls),
            failed=np.add(self.failed, candidate.failed),
            looks=np.add(self.looks, np.greater(candidate.calls, 0)),
            failing=np.add(self.failing, np.greater(candidate.failed, 0)),
            expected=self.expected + np.multiply(candidate.calls, stable.failed) / np.maximum(stable.calls, 1.0),
            stable_calls=np.add(self.stable_calls, stable.calls),
            stable_failed=np.add(self.stable_failed, stable.failed),
        )

    def full(self, limits: Limits) -> NDArray[np.bool_]:
        """Say whether there are enough calls to judge."""
        return np.greater_equal(self.calls, limits.hard_calls) & np.greater_equal(self.looks, limits.hard_looks)

    def fails(self, limits: Limits) -> NDArray[np.bool_]:
        """Say whether the candidate fails outright, and the stable version less than a third as often.

        What a pod that was away failed is not the candidate's fault: the expected failures do not count.
        """
        often = np.greater(self.failed - self.expected, np.multiply(limits.hard_share, self.calls))
        worse = np.multiply(3.0, self.stable_failed) * self.calls < self.failed * np.maximum(self.stable_calls, 1.0)
        return often & worse & np.greater_equal(self.failing, limits.hard_looks)

    def emptied(self, where: Flags) -> Self:
        """Return it with nothing in it for the canaries in which it was judged."""
        return type(self)(**{name: np.where(where, 0.0, value) for name, value in attrs.asdict(self).items()})

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
    """

    limits: Limits
    evidence: dict[str, Evidence] = attrs.field(factory=lambda: {name: Evidence() for name in PARTS})
    stable: Marks = attrs.field(factory=Marks)
    candidate: Marks = attrs.field(factory=Marks)
    excess: Number = 0.0
    together: Number = 0.0
    block: Block = attrs.field(factory=Block)
    outright: Flags = False

    def weigh(self, stable: Marks, candidate: Marks) -> None:
        """Add a look."""
        evidence = self.evidence
        evidence[FAILURES].compare(candidate.failed, candidate.calls, stable.failed, stable.calls)
        for name in QUANTILES:
            evidence[name].compare(candidate.slow[name], candidate.answered, stable.slow[name], stable.answered)
        if self.limits.most_disagreement is not None:
            evidence[DISAGREEMENT].hold(candidate.flips, candidate.sure, self.limits.most_disagreement)
        self.stable, self.candidate = self.stable + stable, self.candidate + candidate
        both = stable + candidate
        part = np.multiply(both.failed, candidate.calls) / np.maximum(both.calls, 1.0)
        excess = np.maximum(candidate.failed - part, 0.0)
        self.excess = self.excess + excess
        self.together = self.together + excess * candidate.failed / np.maximum(candidate.incidents, 1.0)
        judged = self.block.full(self.limits) & ~np.asarray(self.outright)
        self.block = self.block.emptied(judged).with_look(stable, candidate)
        self.outright = self.block.full(self.limits) & self.block.fails(self.limits)

    def logs(self) -> dict[str, NDArray[np.float64]]:
        """Return the natural logarithm of the evidence of each statistic."""
        together = np.maximum(self.together / np.where(np.greater(self.excess, 0.0), self.excess, 1.0), 1.0)
        return {name: one.log(together if name == FAILURES else 1.0) for name, one in self.evidence.items()}

    def bad(self) -> dict[str, Flags]:
        """Say by what the canary is to be ended."""
        beyond_limit = {name: log >= np.log(self.limits.evidence(name)) for name, log in self.logs().items()}
        return {OUTRIGHT: self.outright, **beyond_limit}

    @classmethod
    def from_dict(cls, limits: Limits, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        return cls(
            limits=limits,
            evidence={name: Evidence(np.array(logs)) for name, logs in data["evidence"].items()},
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
            "evidence": {name: one.logs.tolist() for name, one in self.evidence.items()},
            "stable": self.stable.to_dict(),
            "candidate": self.candidate.to_dict(),
            "excess": float(self.excess),
            "together": float(self.together),
            "block": self.block.to_dict(),
            "outright": bool(self.outright),
        }
