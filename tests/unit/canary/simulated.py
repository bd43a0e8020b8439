"""Canaries of raw calls: each is routed, fails and takes its time by a chance of its own."""

import math
from collections import Counter
from typing import Any, cast

import attrs
import numpy as np
from numpy.typing import NDArray

from scripts.agent.outcomes import BUCKETS_PER_OCTAVE, Latency
from scripts.canary.arithmetic import Arithmetic
from scripts.canary.chance import RATIOS, Evidence
from scripts.canary.judge import Counts
from scripts.canary.limits import PARTS, QUANTILES, Limits
from scripts.canary.scales import Marks, Scales, beyond

NUMPY = cast(Arithmetic, np)
Steps = list[tuple[float, int]]
# The candidate's share, and how many calls of it.
PLAN: Steps = [(0.01, 100), (0.1, 300), (0.5, 1000)]
_MEDIAN_S = 0.05
# Normal quantiles at 75 and 95 %.
_Z = dict(zip(QUANTILES, (0.6745, 1.6449), strict=True))


@attrs.frozen(kw_only=True)
class Raw:
    """The calls of one look, shape ``[canaries, seconds, calls a second]``.

    Attributes:
        candidate: Whether the candidate got it.
        failed: Whether it failed.
        place: Its bucket in a histogram of latencies.
        sure: Shadowed images of which the caller's answer was sure, for each canary.
        flips: How many of those got another best class.
    """

    candidate: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    place: NDArray[np.float32]
    sure: NDArray[np.float64]
    flips: NDArray[np.float64]

    def marks(self, edges: dict[str, float], slower: float) -> tuple[Marks, Marks]:
        """Return what counts of the stable version and of the candidate, in all canaries."""
        wider = np.float32(BUCKETS_PER_OCTAVE * math.log2(slower))
        place = np.where(self.candidate, self.place - wider, self.place)
        above = {name: beyond(place, edge, NUMPY) for name, edge in edges.items()}
        return self._of(~self.candidate, above), self._of(self.candidate, above, sure=self.sure, flips=self.flips)

    def _of(self, mine: NDArray[np.bool_], above: dict[str, Any], **shadow: NDArray[np.float64]) -> Marks:
        calls, failed = _count(mine), self.failed & mine
        answered = mine & ~self.failed
        return Marks(
            calls=calls,
            failed=_count(failed),
            incidents=_count(np.any(failed, axis=2)),
            answered=calls - _count(failed),
            slow={name: np.einsum("ijk,ijk->i", parts, answered) for name, parts in above.items()},
            **shadow,
        )

    def counts(self, canary: int, *, candidate: bool) -> Counts:
        """Return what the judge of one canary gets to see of one version."""
        mine = self.candidate[canary] == candidate
        failed = self.failed[canary] & mine
        sure, flips = (int(self.sure[canary]), int(self.flips[canary])) if candidate else (0, 0)
        return Counts(
            calls=int(mine.sum()),
            failed=int(failed.sum()),
            incidents=int(failed.any(1).sum()),
            latency=Latency(Counter(self.place[canary][mine & ~failed].astype(int).tolist())),
            shadow_images=sure,
            shadow_same=sure - flips,
            shadow_sure=sure,
            shadow_sure_same=sure - flips,
        )


def _count(true: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how many are true in each canary; where few are, this is faster than their sum."""
    size = int(np.prod(true.shape[1:]))
    return np.bincount(np.flatnonzero(true) // size, minlength=len(true)).astype(np.float64)


@attrs.frozen(kw_only=True)
class World:
    """What there is in truth.

    Attributes:
        failing: Which share of the stable version's calls fails,
        candidate_failing: and of the candidate's.
        batch: How many calls of a version in a second fail together.
        away: In which share of the looks the pod is away in the second half, and each call fails.
        sigma: The spread of the latencies' logarithm.
        slower: How many times slower the candidate is.
        spells: The spread of what all calls of a version in one second have in common, in the same logarithm.
        sure: Shadowed images for each call of which the caller's answer is sure,
        flips: and which share of them gets another best class.
        rate: Calls a second.
        look_s: Seconds from look to look.
    """

    failing: float = 0.005
    candidate_failing: float = 0.005
    batch: int = 1
    away: float = 0.0
    sigma: float = 0.3
    slower: float = 1.0
    spells: float = 0.0
    sure: float = 0.0
    flips: float = 0.0
    rate: int = 10
    look_s: int = 5

    @property
    def edges(self) -> dict[str, float]:
        """Beyond which place between buckets a call of the stable version is slow."""
        return {name: self._place(1, self.sigma * z) for name, z in _Z.items()}

    def look(self, draws: np.random.Generator, canaries: int, share: float) -> Raw:
        """Return the calls of one look."""
        shape = (canaries, self.look_s, self.rate)
        mine = draws.random(shape, np.float32) < share
        if self.batch == 1:
            chance = np.where(mine, np.float32(self.candidate_failing), np.float32(self.failing))
            failed = draws.random(shape, np.float32) < chance
        else:
            failed = mine & self._batches(draws, mine, self.candidate_failing)
            failed |= ~mine & self._batches(draws, ~mine, self.failing)
        if self.away:
            failed[draws.random(canaries) < self.away, self.look_s // 2 :] = True
        place = draws.standard_normal(shape, np.float32)
        place *= self.sigma * BUCKETS_PER_OCTAVE / math.log(2)
        place += np.where(mine, np.float32(self._place(self.slower)), np.float32(self._place(1)))
        if self.spells:
            for version in (mine, ~mine):
                place += version * self._spell(draws, canaries)
        sure = draws.binomial(self.look_s * self.rate, self.sure, canaries)
        return Raw(
            candidate=mine,
            failed=failed,
            place=np.floor(place, out=place),
            sure=sure.astype(np.float64),
            flips=draws.binomial(sure, self.flips).astype(np.float64),
        )

    def _batches(self, draws: np.random.Generator, mine: NDArray[np.bool_], failing: float) -> NDArray[np.bool_]:
        """Return what fails if the calls of a version in one second go in batches, and these fail or not."""
        batch = np.maximum(np.cumsum(mine, axis=2) - 1, 0) // self.batch
        fails = draws.random((*mine.shape[:2], self.rate // self.batch + 1)) < failing
        return np.take_along_axis(fails, batch, 2)

    def _spell(self, draws: np.random.Generator, canaries: int) -> NDArray[np.float32]:
        """Return by how many buckets a version is slower in each second."""
        spells = draws.standard_normal((canaries, self.look_s, 1), np.float32)
        return spells * np.float32(self.spells * BUCKETS_PER_OCTAVE / math.log(2))

    @staticmethod
    def _place(slower: float, more: float = 0.0) -> float:
        """Return the place between buckets of so many times the median, and *more* in the logarithm."""
        return BUCKETS_PER_OCTAVE * (math.log2(_MEDIAN_S * slower) + more / math.log(2))


@attrs.frozen(kw_only=True)
class Ended:
    """How canaries went.

    Attributes:
        by: Why each was ended; empty: it was not.
        requests: After how many calls of both versions; infinite if it was not.
        calls: After how many of the candidate.
    """

    by: NDArray[np.str_]
    requests: NDArray[np.float64]
    calls: NDArray[np.float64]

    @property
    def share(self) -> float:
        """Which share was ended."""
        return float((self.by != "").mean())


def empty(canaries: int, limits: Limits) -> Scales:
    """Return the scales of many canaries."""
    none = [np.zeros(canaries)] * len(RATIOS)
    return Scales(limits=limits, evidence={name: Evidence(none, NUMPY) for name in PARTS}, arithmetic=NUMPY)


def run(world: World, steps: Steps, *, canaries: int, seed: int, limits: Limits | None = None) -> Ended:
    """Judge canaries of *world*: each step takes as many looks as its calls of the candidate take on average."""
    draws, limits = np.random.default_rng(seed), limits or Limits()
    scales = empty(canaries, limits)
    by = np.full(canaries, "", dtype="<U16")
    requests, calls = np.full(canaries, np.inf), np.full(canaries, np.inf)
    looks, a_look = 0, world.rate * world.look_s
    for share, wanted in steps:
        for _ in range(math.ceil(wanted / share / a_look)):
            looks += 1
            scales.weigh(*world.look(draws, canaries, share).marks(world.edges, limits.slower))
            for name, bad in scales.bad().items():
                new = np.asarray(bad) & (by == "")
                by[new], requests[new], calls[new] = name, looks * a_look, np.asarray(scales.candidate.calls)[new]
            if (by != "").all():
                return Ended(by=by, requests=requests, calls=calls)
    return Ended(by=by, requests=requests, calls=calls)
