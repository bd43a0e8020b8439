"""What is judged in a canary, and when it is enough."""

import attrs

OUTRIGHT, FAILURES, P75, P95, DISAGREEMENT = "outright", "failures", "slow p75", "slow p95", "disagreement"
# The quantile of the stable version's latencies beyond which a call is slow.
QUANTILES = {P75: 0.75, P95: 0.95}
# Which part of alpha is whose, if all are judged.
PARTS = {FAILURES: 0.4, P75: 0.2, P95: 0.1, DISAGREEMENT: 0.3}


@attrs.frozen(kw_only=True)
class Limits:
    """How bad a candidate may be, and how surely it has to be so.

    Attributes:
        alpha: In which share of the canaries of versions that are as good as the stable one chance may end them; all
            statistics together.
        slower: How many times slower the candidate may be.
        most_disagreement: Which share of the shadowed images, of which the caller's answer was sure, may get another
            best class; None: any.
        least_sure: How many such images are needed before a canary may pass.
        hard_share: The share of failed calls, beyond what the stable version fails too, that ends a canary at once,
        hard_calls: of at least so many calls of the candidate,
        hard_looks: in at least so many looks, and with failures in as many.
        calibration: How many calls of the stable version tell what it usually takes.
    """

    alpha: float = 0.01
    slower: float = 1.15
    most_disagreement: float | None = None
    least_sure: int = 300
    hard_share: float = 0.10
    hard_calls: int = 30
    hard_looks: int = 3
    calibration: int = 1000

    def evidence(self, statistic: str) -> float:
        """Return the evidence that ends a canary: all statistics that are judged share alpha."""
        return sum(PARTS[name] for name in self.judged) / (self.alpha * PARTS[statistic])

    @property
    def judged(self) -> list[str]:
        """The statistics that are judged."""
        return [name for name in PARTS if name != DISAGREEMENT or self.most_disagreement is not None]
