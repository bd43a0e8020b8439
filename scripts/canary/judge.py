"""The judge of a canary: what of the candidate is worse than of the stable version, by more than chance."""

import math
from collections.abc import Mapping
from typing import Any, Self

import attrs

from scripts.agent.outcomes import BUCKETS_PER_OCTAVE, INVALID, Latency, Tally
from scripts.canary.limits import DISAGREEMENT, FAILURES, OUTRIGHT, QUANTILES, Limits
from scripts.canary.scales import Marks, Scales, beyond
from scripts.host.figures import brief

# Evidence beyond this is not told apart.
_MOST_EVIDENCE = 1e9


@attrs.frozen(kw_only=True)
class Counts:
    """What became of the calls of one version in one look, of all pods together.

    Attributes:
        calls: Answered, or failed by another's fault than the caller's.
        failed: Of those.
        incidents: In how many seconds one failed, each pod by itself.
        latency: Of those that were answered.
        shadow_images: For which it was asked beside who answered the caller.
        shadow_same: Of those, with the same best class.
        shadow_sure: Of those, where the caller's answer was a sure one.
        shadow_sure_same: Of the sure ones, with the same best class.
    """

    calls: int = 0
    failed: int = 0
    incidents: int = 0
    latency: Latency = attrs.field(factory=Latency)
    shadow_images: int = 0
    shadow_same: int = 0
    shadow_sure: int = 0
    shadow_sure_same: int = 0

    @classmethod
    def of(cls, tally: Tally) -> Self:
        """Return what counts of a tally: calls that were the caller's fault are in neither number."""
        return cls(
            calls=tally.calls - tally.failures[INVALID],
            failed=tally.failed,
            incidents=tally.incidents,
            latency=tally.latency,
            **{f"shadow_{name}": count for name, count in tally.shadow.items()},
        )

    def marks(self, edges: Mapping[str, float] | None) -> Marks:
        """Return what the scales take of it, slow being what took longer than the edges; None: there are none yet."""
        buckets = self.latency.buckets
        return Marks(
            calls=self.calls,
            failed=self.failed,
            incidents=self.incidents,
            answered=buckets.total() if edges else 0,
            slow={
                name: sum(count * beyond(place, edges[name]) for place, count in buckets.items()) if edges else 0.0
                for name in QUANTILES
            },
            sure=self.shadow_sure,
            flips=self.shadow_sure - self.shadow_sure_same,
        )


@attrs.frozen(kw_only=True)
class Look:
    """What is new of both versions since the look before."""

    stable: Counts
    candidate: Counts


@attrs.frozen(kw_only=True)
class Finding:
    """Why a canary is to be ended.

    Attributes:
        kind: The statistic, or ``"outright"``.
        sentence: For people, with the figures.
        figures: The same as data.
    """

    kind: str
    sentence: str
    figures: dict[str, Any]


@attrs.frozen(kw_only=True)
class Figure:
    """How one statistic stands.

    Attributes:
        statistic: Its name.
        stable: How many calls of the stable version count against it; parts of 1 where a bucket of latencies is cut.
        stable_of: Of so many calls.
        candidate: How many calls, or images, of the candidate count against it.
        candidate_of: Of so many.
        evidence: How strongly that tells against the candidate: if it is no worse than allowed, the evidence ever
            reaches E in at most one of E canaries.
        limit: The evidence that ends a canary.
    """

    statistic: str
    stable: float
    stable_of: int
    candidate: float
    candidate_of: int
    evidence: float
    limit: float


@attrs.define
class Judge:
    """Judges a canary, as often as somebody looks.

    A latency counts as slow if it is beyond a quantile of the latencies that the stable version had before the look,
    times `Limits.slower` for the candidate. So both are compared at the same time, and a load that makes both slower
    is no fault of the candidate. The quantiles are learned again whenever there are enough new calls.

    Attributes:
        limits: When it is enough.
        before: What the stable version took since the quantiles were learned; to begin with, what it took until now.
        edges: Beyond which place between buckets a call of the stable version is slow, by statistic; None: too few
            calls are known.
        scales: What all looks together weigh.
        stable: What the stable version took in this canary.
        candidate: What the candidate took.
    """

    limits: Limits
    before: Latency = attrs.field(factory=Latency)
    edges: dict[str, float] | None = attrs.field(default=None, init=False)
    scales: Scales = attrs.field(init=False)
    stable: Latency = attrs.field(factory=Latency, init=False)
    candidate: Latency = attrs.field(factory=Latency, init=False)

    def __attrs_post_init__(self) -> None:
        self.scales = Scales(limits=self.limits)
        self._learn(Latency())

    def look(self, look: Look) -> Finding | None:
        """Add a look; return why the canary is to be ended, if it is."""
        wider = BUCKETS_PER_OCTAVE * math.log2(self.limits.slower)
        edges = self.edges and {name: edge + wider for name, edge in self.edges.items()}
        self.scales.weigh(look.stable.marks(self.edges), look.candidate.marks(edges))
        self.stable = Latency(self.stable.buckets + look.stable.latency.buckets)
        self.candidate = Latency(self.candidate.buckets + look.candidate.latency.buckets)
        self._learn(look.stable.latency)
        kind = next((name for name, bad in self.scales.bad().items() if bad), None)
        return self._finding(kind) if kind else None

    def figures(self) -> list[Figure]:
        """Return how each statistic stands that is judged."""
        logs, one, other = self.scales.logs(), self.scales.candidate, self.scales.stable
        counts = {FAILURES: (other.failed, other.calls, one.failed, one.calls)}
        counts |= {name: (other.slow[name], other.answered, one.slow[name], one.answered) for name in QUANTILES}
        if self.limits.most_disagreement is not None:
            counts[DISAGREEMENT] = (0, 0, one.flips, one.sure)
        return [
            Figure(
                statistic=name,
                stable=round(float(stable), 2),
                stable_of=int(stable_of),
                candidate=round(float(candidate), 2),
                candidate_of=int(candidate_of),
                evidence=math.exp(min(float(logs[name]), math.log(_MOST_EVIDENCE))),
                limit=self.limits.evidence(name),
            )
            for name, (stable, stable_of, candidate, candidate_of) in counts.items()
        ]

    def missing(self) -> list[str]:
        """Return what is not known yet, and is needed before the candidate may pass."""
        limits, one, least = self.limits, self.scales.candidate, self.limits.hard_calls
        counted: list[tuple[str, float, int, str]] = [
            ("calls", self.scales.stable.calls, least, "calls of the stable version"),
            ("calls", one.calls, least, "calls of the candidate"),
            ("latency", one.answered, least, "calls of the candidate"),
        ]
        if self.edges is None:
            known = self.before.buckets.total()
            counted[-1] = ("latency", known, limits.calibration, "calls of the stable version")
        if limits.most_disagreement is not None:
            counted.append(("disagreement", one.sure, limits.least_sure, "shadowed images with a sure answer"))
        return [f"{what}: {known:,.0f} of {wanted:,} {of}" for what, known, wanted, of in counted if known < wanted]

    @classmethod
    def from_dict(cls, limits: Limits, data: Mapping[str, Any]) -> Self:
        """Return the judge that gave *data*, to go on with."""
        judge = cls(limits, Latency.from_dict(data["before"]))
        judge.edges = data["edges"]
        judge.scales = Scales.from_dict(limits, data["scales"])
        judge.stable, judge.candidate = Latency.from_dict(data["stable"]), Latency.from_dict(data["candidate"])
        return judge

    def to_dict(self) -> dict[str, Any]:
        """Return its state as JSON-like data."""
        return {
            "before": self.before.to_dict(),
            "edges": self.edges,
            "scales": self.scales.to_dict(),
            "stable": self.stable.to_dict(),
            "candidate": self.candidate.to_dict(),
        }

    def _learn(self, latency: Latency) -> None:
        """Learn beyond which latency a call is slow, if enough of the stable version's calls are new."""
        self.before = Latency(self.before.buckets + latency.buckets)
        if self.before.buckets.total() >= self.limits.calibration:
            quantiles = {name: self.before.quantile(share) for name, share in QUANTILES.items()}
            self.edges = {name: BUCKETS_PER_OCTAVE * math.log2(took) for name, took in quantiles.items() if took}
            self.before = Latency()

    def _finding(self, kind: str) -> Finding:
        """Return why the canary is to be ended."""
        if kind == OUTRIGHT:
            return self._outright()
        figure = next(one for one in self.figures() if one.statistic == kind)
        found, other = _of(figure.candidate, figure.candidate_of), _of(figure.stable, figure.stable_of)
        took: dict[str, float | None] = {}
        if kind == FAILURES:
            what = (
                f"The candidate fails more often than the stable version: {found} of its calls failed, and {other} of "
            )
            what += "the stable version's."
        elif kind == DISAGREEMENT:
            what = (
                f"The candidate answers differently: {found} of the images for which the caller's answer was sure got "
            )
            what += f"another best class. The limit is {self.limits.most_disagreement:.1%}."
        else:
            share, slower = QUANTILES[kind], f"{self.limits.slower:g} times"
            took = {"stable_s": self.stable.quantile(share), "candidate_s": self.candidate.quantile(share)}
            one, two = (f"{brief(1e3 * (seconds or 0))} ms" for seconds in took.values())
            what = (
                f"The candidate is more than {slower} slower than the stable version: {share:.0%} of its calls took at "
            )
            what += (
                f"most {two}, of the stable version's {one}. {found} of its calls took longer than {slower} the time "
            )
            what += f"that {other} of the stable version's calls exceeded."
        chance = (
            f"If the candidate were good enough, chance would do this in at most 1 of {figure.evidence:,.0f} canaries."
        )
        return Finding(kind=kind, sentence=f"{what} {chance}", figures={**attrs.asdict(figure), **took})

    def _outright(self) -> Finding:
        """Return the finding of the hard stop."""
        block = self.scales.block.to_dict()
        sentence = (
            f"The candidate fails outright: {_of(block['failed'], block['calls'])} of its last calls failed, and "
            f"{_of(block['stable_failed'], block['stable_calls'])} of the stable version's in the same time. The limit "
            f"is {self.limits.hard_share:.0%}."
        )
        return Finding(kind=OUTRIGHT, sentence=sentence, figures={**block, "limit": self.limits.hard_share})


def _of(hits: float, calls: float) -> str:
    """Return a share in words: ``2.5% (12 of 480)``."""
    return f"{hits / max(calls, 1):.1%} ({hits:,.0f} of {calls:,.0f})"
