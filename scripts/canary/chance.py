"""How strongly counts tell against chance, at every look: e-processes mixed over a grid of odds ratios.

An e-process begins at 1. If the candidate is no worse, it exceeds ``1 / alpha`` in at most ``alpha`` of all canaries,
however often somebody looks (Ville's inequality). Nothing is assumed of how frequent a failure is, nor that this stays
the same from look to look, nor that the candidate's share of the calls does; within a look, calls must fail one by one.

For one look, let ``k`` of the ``n`` hits be the candidate's, whose calls are a share ``t`` of all, and ``s`` the share
of hits among all calls. If both versions are alike, k is hypergeometric, and the expectation of ``r**k`` is at most
that of each of the two binomials that draw with replacement (Hoeffding, 1963): ``(1 - t + t r)**n`` and
``(1 - s + s r)**calls``. So ``r**k`` over the smaller one is on average at most 1. It also holds for hits that count
by parts of 1.
"""

import math
from collections.abc import Sequence
from functools import reduce

import attrs

from scripts.canary.arithmetic import PLAIN, Arithmetic, Number

RATIOS = (1.4, 2.0, 4.0, 8.0, 20.0)


@attrs.define
class Evidence:
    """What speaks against one candidate, or each of many.

    Attributes:
        logs: The natural logarithm of the e-process of each odds ratio of the grid.
        arithmetic: What it is reckoned with.
    """

    logs: Sequence[Number] = (0.0,) * len(RATIOS)
    arithmetic: Arithmetic = attrs.field(default=PLAIN, eq=False, repr=False)

    def compare(self, hits: Number, calls: Number, stable_hits: Number, stable_calls: Number) -> None:
        """Add a look at the calls of both versions, of which the candidate may not have the greater share of hits.

        Args:
            hits: What counts against the candidate.
            calls: Of so many calls of the candidate.
            stable_hits: The same of the stable version.
            stable_calls: Of so many calls.
        """
        both_hits, both_calls = hits + stable_hits, self.arithmetic.maximum(calls + stable_calls, 1.0)
        by_hits = self._binomial(both_hits, calls / both_calls)
        by_calls = self._binomial(calls, both_hits / both_calls)
        self._add(hits, [self.arithmetic.minimum(one, other) for one, other in zip(by_hits, by_calls, strict=True)])

    def hold(self, hits: Number, calls: Number, most: float) -> None:
        """Add a look at one version, of whose calls a share of at most *most* may be hits."""
        self._add(hits, self._binomial(calls, most))

    def log(self, together: Number = 1.0) -> Number:
        """Return the natural logarithm of the evidence, mixed over the grid.

        Args:
            together: How many hits come together, at least 1: so many are one piece of evidence.
        """
        logs = [log / together for log in self.logs]
        most = reduce(self.arithmetic.maximum, logs)
        return most + self.arithmetic.log(sum(self.arithmetic.exp(log - most) for log in logs) / len(RATIOS))

    def _add(self, hits: Number, expected: Sequence[Number]) -> None:
        """Add a look, of which the logarithms of the expectations are known."""
        self.logs = [
            log + hits * math.log(ratio) - most for log, ratio, most in zip(self.logs, RATIOS, expected, strict=True)
        ]

    def _binomial(self, calls: Number, share: Number) -> Sequence[Number]:
        """Return the logarithm of the expectation of ``r**k`` for each ratio r, k being a share of the calls."""
        return [calls * self.arithmetic.log1p(share * (ratio - 1)) for ratio in RATIOS]
