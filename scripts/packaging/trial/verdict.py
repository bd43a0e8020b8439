"""What a handful of pictures can tell about the ways to prepare them, and what they cannot. Numbers only."""

import math
from collections.abc import Callable, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

# How improbable a result has to be before it is believed.
SIGNIFICANT = 0.01
# How many standard errors a mean of paired differences has to lie from 0: one of a thousand by chance.
_APART = 3.0
# Below float32's smallest number there is nothing to tell apart.
_LEAST = 1e-30
_TEMPERATURES = np.geomspace(0.05, 200, 60)


def right(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for which pictures the best class is the right one."""
    return np.asarray(probabilities.argmax(axis=1) == labels)


def chance(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return how probable as many right answers are, if the answers had nothing to do with the pictures.

    Answers and labels are taken as they come, and only their pairing as chance: a model that always gives the class of
    half of the pictures is right half of the time, and that proves nothing.
    """
    predicted, count = probabilities.argmax(axis=1), len(labels)
    share = sum(float((predicted == c).mean() * (labels == c).mean()) for c in np.unique(labels))
    return binomial_tail(int(right(probabilities, labels).sum()), count, share)


def could_tell(labels: NDArray[np.int64]) -> bool:
    """Return whether all answers right would be more than chance, with these labels."""
    share = sum(float((labels == c).mean()) ** 2 for c in np.unique(labels))
    return binomial_tail(len(labels), len(labels), share) <= SIGNIFICANT


def better(right_one: NDArray[np.bool_], right_other: NDArray[np.bool_], *, of: int) -> bool:
    """Return whether the first of two ways is right more often than the second, by McNemar's exact test.

    Args:
        right_one: For which pictures the first is right.
        right_other: For which the second is.
        of: How many ways are compared with the second: the more, the more often one is better by chance.
    """
    gains, losses = int((right_one & ~right_other).sum()), int((~right_one & right_other).sum())
    return binomial_tail(gains, gains + losses, 0.5) <= SIGNIFICANT / max(of, 1)


def losses(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each picture's negative logarithm of the probability of the right class, at the kindest temperature.

    A way with larger inputs is surer of everything, right or wrong. One temperature for all pictures, which makes the
    mean the smallest, takes that away, and leaves what the answers say.
    """
    logits = np.log(np.maximum(probabilities.astype(np.float64), _LEAST))
    best: NDArray[np.float64] | None = None
    for temperature in _TEMPERATURES:
        scaled = logits / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        found = np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]
        if best is None or found.mean() < best.mean():
            best = found
    assert best is not None
    return best


def apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Return whether the mean of *one* is smaller than that of *other* by more than chance, picture by picture."""
    difference = other - one
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference)) if len(difference) > 1 else math.inf
    return float(difference.mean()) > max(_APART * error, 1e-6)


@attrs.frozen(kw_only=True)
class Certainty:
    """How sure a model is of pictures whose classes nobody told.

    Attributes:
        top: Mean probability of the best class.
        told: How much an answer tells about its picture, in nats: 0 where all pictures get the same answer, and at most
            the logarithm of the number of classes.
    """

    top: float
    told: float

    @classmethod
    def of(cls, probabilities: NDArray[np.float32]) -> "Certainty":
        """Measure it on ``(n, classes)``: the entropy of the mean answer, less the mean entropy of the answers."""
        values = probabilities.astype(np.float64)
        return cls(
            top=float(values.max(axis=1).mean()),
            told=_entropy(values.mean(axis=0)) - float(np.mean([_entropy(row) for row in values])),
        )


def far_more_certain(one: Certainty, other: Certainty, *, most: float, larger: bool) -> bool:
    """Return whether the first is far more certain than the second, and not of the same thing each time.

    Args:
        one: Of another way to prepare the pictures.
        other: Of the way as it is packaged.
        most: The most that answers could tell: the logarithm of the number of classes, or of pictures.
        larger: Whether the other way makes the model's inputs larger, which makes it surer whatever is right. Then the
            packaged way has to tell next to nothing.
    """
    if larger and other.told > 0.1 * most:
        return False
    return one.told - other.told >= 0.25 * most and one.top - other.top >= 0.2


def spread(tensor: Sequence[NDArray[np.generic]]) -> float:
    """Return the root of the mean square of a model's inputs."""
    return math.sqrt(float(np.mean([np.mean(np.square(batch.astype(np.float64))) for batch in tensor])))


def _entropy(row: NDArray[np.float64]) -> float:
    shares = row[row > 0]
    return float(-(shares * np.log(shares)).sum())


def binomial_tail(hits: int, count: int, share: float) -> float:
    """Return the probability of at least *hits* of *count*, each with the probability *share*."""
    if hits <= 0 or share >= 1:
        return 1.0
    if share <= 0 or hits > count:
        return 0.0
    odds = share / (1 - share)
    # From the edge outwards the terms fall, so that few of thousands count.
    if hits > count * share:
        return min(1.0, _falling(hits, count, share, lambda k: (count - k) / (k + 1) * odds, step=1))
    return max(0.0, 1 - _falling(hits - 1, count, share, lambda k: k / (count - k + 1) / odds, step=-1))


def _falling(edge: int, count: int, share: float, ratio: Callable[[int], float], *, step: int) -> float:
    """Sum the probabilities from *edge* hits on, each *ratio* times the one before, until they no longer count."""
    chosen = math.lgamma(count + 1) - math.lgamma(edge + 1) - math.lgamma(count - edge + 1)
    term = math.exp(chosen + edge * math.log(share) + (count - edge) * math.log1p(-share))
    total, k = 0.0, edge
    while term > total * 1e-17:
        total += term
        term *= ratio(k)
        k += step
    return total
