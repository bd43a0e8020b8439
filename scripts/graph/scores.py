"""Say what the scores of a classifier are: by the operators that make them, and by numbers; never by a guess."""

from collections.abc import Sequence
from typing import Literal, get_args

import attrs
import numpy as np
import onnx
from numpy.typing import NDArray

from scripts.graph.bounds import Range
from scripts.graph.choose import earlier_values
from scripts.graph.ranges import range_of
from scripts.host.errors import TaskFailure

Told = Literal["logits", "probabilities", "log-probabilities", "multi-label"]
TOLD: tuple[Told, ...] = get_args(Told)
# What the graph's own output holds; "multi-label logits" are turned into probabilities by a sigmoid each.
Kind = Literal["logits", "probabilities", "log-probabilities", "multi-label", "multi-label logits"]
Served = Literal["probabilities", "multi-label"]

# Sums of float32 over thousands of classes, and outputs rounded to half precision.
_SUM_TOLERANCE = 2e-3
# Where steps make the sum of all classes as uncertain as this, a sum of about 1 proves nothing.
_UNPROVEN = 0.25
# Logarithms in coarser steps than this say nothing.
_LARGEST_LOG_STEP = 0.5
# Operators that bound each class by itself, so that several may be true, and those that only tell the best class.
_EACH = frozenset({"Sigmoid", "Tanh", "Erf", "Softsign", "Clip", "Reciprocal"})
_DECIDED = frozenset({"Hardmax", "OneHot", "ArgMax", "TopK"})


def served_as(kind: Kind) -> Served:
    """Return what clients get: probabilities that sum to 1, or one for each class by itself."""
    return "multi-label" if kind.startswith("multi-label") else "probabilities"


def as_served(scores: NDArray[np.float32], *, kind: Kind) -> NDArray[np.float32]:
    """Return what clients get of *scores* ``(n, classes)``; one score becomes two classes, "not" and "it is".

    This is the reference for what `rewrite` puts behind the graph, and shares nothing with it.
    """
    values = scores.astype(np.float64)
    single = values.shape[1] == 1
    if kind == "multi-label logits" or (kind == "logits" and single):
        values = 0.5 * (1 + np.tanh(values / 2))
    elif kind == "logits":
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        values = powers / powers.sum(axis=1, keepdims=True)
    elif kind == "log-probabilities":
        values = np.exp(values)
    if single:
        values = np.concatenate([1 - values, values], axis=1)
    return values.astype(np.float32)


def decide(model: onnx.ModelProto, rows: NDArray[np.float32], *, told: Told | None = None) -> Kind:
    """Say what the first output of *model* holds.

    Args:
        model: The classifier.
        rows: What it answered to images that differ much: ``(n, classes)``, finite.
        told: What its owner says.

    Raises:
        TaskFailure: If it is not certain and nobody told, or if what was told cannot be; the message says what was
            seen.
    """
    name = model.graph.output[0].name
    seen = _Seen.of(range_of(model, name), rows)
    ways = _ways([word for word in TOLD if not _objection(word, seen)], list(earlier_values(model, name).values()))
    if told is None:
        kind = _single(seen) if seen.classes == 1 else _several(seen)
        if kind is None:
            raise TaskFailure(f"It is not certain what the scores in {name!r} are: {seen}. {ways}")
        return kind
    if objection := _objection(told, seen):
        raise TaskFailure(f"--scores {told} cannot be: {objection}, and {seen}. {ways}")
    if told == "multi-label":
        if seen.classes == 1:
            return "probabilities" if seen.inside else "logits"
        return "multi-label" if seen.inside else "multi-label logits"
    return told


def _ways(possible: Sequence[Told], earlier: Sequence[str]) -> str:
    """Return in a sentence what an owner can do."""
    say = f"say {' or '.join(f'--scores {word}' for word in possible)}" if possible else ""
    choose = f"choose an earlier value: {', '.join(earlier)}" if earlier else ""
    way = ", or ".join(filter(None, [say, choose])) or "export the model again, with its logits as the output"
    return f"{way[0].upper()}{way[1:]}."


@attrs.frozen(kw_only=True)
class _Seen:
    """What the operators and the numbers show.

    Attributes:
        range: What the operators say.
        classes: How many scores an image has.
        low: Smallest score.
        high: Largest score.
        sums: Smallest and largest sum of an image's scores.
        tolerance: How far a sum of probabilities may lie from 1, with this many classes and such steps.
        inside: Whether every score lies in [0, 1].
        normal: Whether every image's scores are probabilities that sum to 1.
        log_normal: Whether every image's scores are logarithms of such.
        steady: Whether all sums are one number, although the scores differ: percentages, points of a hundred.
    """

    range: Range
    classes: int
    low: float
    high: float
    sums: tuple[float, float]
    tolerance: float
    inside: bool
    normal: bool
    log_normal: bool
    steady: bool

    @classmethod
    def of(cls, by_operators: Range, rows: NDArray[np.float32]) -> "_Seen":
        """Look at *rows* ``(n, classes)``."""
        exact = rows.astype(np.float64)
        low, high, sums = float(exact.min()), float(exact.max()), exact.sum(axis=1)
        tolerance = _SUM_TOLERANCE + by_operators.step * rows.shape[1] / 2
        room = 1e-4 + by_operators.step
        inside = low >= -room and high <= 1 + room
        with np.errstate(over="ignore"):
            powers = np.exp(exact).sum(axis=1)
        # A step of the logarithm is a factor of the power.
        log_tolerance = _SUM_TOLERANCE + float(np.expm1(min(by_operators.step, _LARGEST_LOG_STEP) / 2))
        spread = float(np.ptp(sums)) <= _SUM_TOLERANCE * max(abs(sums).max(), 1e-9)
        return cls(
            range=by_operators,
            classes=rows.shape[1],
            low=low,
            high=high,
            sums=(float(sums.min()), float(sums.max())),
            tolerance=tolerance,
            inside=inside,
            normal=inside and float(np.abs(sums - 1).max()) <= tolerance,
            log_normal=high <= room and float(np.abs(powers - 1).max()) <= log_tolerance,
            steady=low >= -room and spread and float(np.ptp(exact, axis=0).max()) > room,
        )

    @property
    def bounded(self) -> frozenset[str]:
        """The operators that bound the scores or decide; a Clip or a division alone may bound anything."""
        return self.range.found - {"Clip", "Reciprocal"}

    @property
    def softmax(self) -> bool:
        """Whether a softmax made them, or a part of them."""
        return not self.range.found.isdisjoint({"Softmax", "LogSoftmax"})

    @property
    def each(self) -> bool:
        """Whether only operators that look at one class by itself bound the scores."""
        return bool(self.range.found) and self.range.found <= _EACH

    def __str__(self) -> str:
        made = f"the graph ends in {' and '.join(sorted(self.range.found))}, " if self.range.found else ""
        sums = " to ".join(f"{end:.4g}" for end in dict.fromkeys(self.sums))
        return f"{made}the scores lie between {self.low:.4g} and {self.high:.4g}, and an image's sum to {sums}"


def _several(seen: _Seen) -> Kind | None:
    """Decide for two classes or more."""
    proven = seen.normal and seen.tolerance <= _UNPROVEN
    if seen.range.found & _DECIDED:
        return None
    if proven or (seen.normal and seen.range.unit and seen.softmax):
        return "probabilities"
    if seen.log_normal:
        return "log-probabilities"
    if seen.range.unit and seen.each:
        return "multi-label"
    if seen.bounded or seen.inside or seen.steady:
        return None
    return "logits"


def _single(seen: _Seen) -> Kind | None:
    """Decide for one score: the probability of the second of two classes, or nobody knows what."""
    return "probabilities" if seen.range.unit and seen.each and seen.low < seen.high else None


def _objection(told: Told, seen: _Seen) -> str:
    """Say why the scores cannot be what was *told*; nothing where they can."""
    proven = seen.normal and seen.tolerance <= _UNPROVEN
    if told == "logits" and not seen.log_normal:
        again = proven or seen.softmax or (seen.classes == 1 and seen.range.unit)
        return "what is a probability already would be spoiled by another softmax" if again else ""
    if told == "probabilities":
        fits = seen.inside and (seen.classes == 1 or seen.sums[1] <= 1 + seen.tolerance)
        return "" if fits else "probabilities lie in [0, 1], and those of an image sum to 1"
    if told == "log-probabilities":
        fits = seen.log_normal or (seen.classes == 1 and seen.high <= 0)
        return "" if fits else "logarithms of probabilities are below 0, and their powers sum to 1"
    if told == "multi-label" and not seen.inside and seen.bounded:
        return "probabilities lie in [0, 1]"
    return ""
