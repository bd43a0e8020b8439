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

import attrs
import numpy as np
from numpy.typing import NDArray

# A number of one canary, or an array with the numbers of many.
Number = NDArray[np.float64] | np.float64 | float

RATIOS = np.array([1.4, 2.0, 4.0, 8.0, 20.0])


def zero() -> NDArray[np.float64]:
    """Return the evidence of no look: none for any ratio."""
    return np.zeros(len(RATIOS))


@attrs.define
class Evidence:
    """What speaks against one candidate, or each of many.

    Attributes:
        logs: The natural logarithm of the e-process of each odds ratio of the grid, shape ``[..., ratios]``.
    """

    logs: NDArray[np.float64] = attrs.field(factory=zero, eq=attrs.cmp_using(eq=np.array_equal))

    def compare(self, hits: Number, calls: Number, stable_hits: Number, stable_calls: Number) -> None:
        """Add a look at the calls of both versions, of which the candidate may not have the greater share of hits.

        Args:
            hits: What counts against the candidate.
            calls: Of so many calls of the candidate.
            stable_hits: The same of the stable version.
            stable_calls: Of so many calls.
        """
        both_hits, both_calls = np.add(hits, stable_hits), np.maximum(np.add(calls, stable_calls), 1)
        by_hits = _binomial(both_hits, np.divide(calls, both_calls))
        by_calls = _binomial(calls, np.divide(both_hits, both_calls))
        self.logs = self.logs + np.multiply.outer(hits, np.log(RATIOS)) - np.minimum(by_hits, by_calls)

    def hold(self, hits: Number, calls: Number, most: float) -> None:
        """Add a look at one version, of whose calls a share of at most *most* may be hits."""
        self.logs = self.logs + np.multiply.outer(hits, np.log(RATIOS)) - _binomial(calls, most)

    def log(self, together: Number = 1.0) -> NDArray[np.float64]:
        """Return the natural logarithm of the evidence, mixed over the grid.

        Args:
            together: How many hits come together, at least 1: so many are one piece of evidence.
        """
        logs = self.logs / np.expand_dims(together, -1)
        return np.asarray(np.logaddexp.reduce(logs, axis=-1) - np.log(len(RATIOS)))


def _binomial(calls: Number, share: Number) -> NDArray[np.float64]:
    """Return the logarithm of the expectation of ``r**k`` for each ratio r, k being a share of the calls."""
    return np.asarray(np.expand_dims(calls, -1) * np.log1p(np.multiply.outer(share, RATIOS - 1)))
