"""What a classifier's scores mean."""

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from triton_sdk._checks import number, whole
from triton_sdk.contract import Scores
from triton_sdk.errors import ConfigurationError, InferenceFailedError

__all__ = ["ClassScore", "Inference", "Prediction", "to_probabilities", "top_k"]

# Room for float32 sums over thousands of classes, and for models that round their output to half precision.
_SUM_TOLERANCE = 1e-3


@attrs.frozen(kw_only=True)
class ClassScore:
    """One class and how probable it is.

    Attributes:
        index: The class's place in the model's output, from 0.
        label: Its name; ``"class 12"`` where names are unknown.
        probability: From 0 to 1.
    """

    index: int
    label: str
    probability: float

    def __str__(self) -> str:
        return f"{self.label} {self.probability:.1%}"


@attrs.frozen(kw_only=True)
class Prediction:
    """What a model says about one image.

    Attributes:
        top: The most probable classes, the best first; at least one.
        model: The model's name.
        model_version: The version that answered, as the server says.
        probabilities: Of every class, float32 ``(classes,)``; None where only `top` is known.
        labels: A name for each class; None where names are unknown.
    """

    top: tuple[ClassScore, ...] = attrs.field(validator=attrs.validators.min_len(1))
    model: str
    model_version: int
    probabilities: NDArray[np.float32] | None = attrs.field(default=None, eq=False, repr=False)
    labels: Sequence[str] | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def index(self) -> int:
        """Index of the most probable class."""
        return self.top[0].index

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return self.top[0].label

    @property
    def probability(self) -> float:
        """Probability of the most probable class."""
        return self.top[0].probability

    def above(self, threshold: float) -> tuple[ClassScore, ...]:
        """Return every class with at least the probability *threshold*, the best first; it may be none.

        For models of several labels, where each class is true or not by itself: more may be true than `top` holds.

        Raises:
            ConfigurationError: If *threshold* is no number from 0 to 1.
        """
        number(threshold, "threshold", most=1.0)
        if self.probabilities is None:
            return tuple(score for score in self.top if score.probability >= threshold)
        count = int((self.probabilities >= threshold).sum())
        return top_k(self.probabilities, k=count, labels=self.labels) if count else ()

    def __str__(self) -> str:
        return f"{self.top[0]} ({self.model} version {self.model_version})"


@attrs.frozen(kw_only=True, eq=False)
class Inference:
    """What a model gave for one tensor.

    Attributes:
        scores: The model's output as it is, float32 ``(n, classes)``.
        model: The model's name.
        model_version: The version that answered, as the server says.
    """

    scores: NDArray[np.float32]
    model: str
    model_version: int


def to_probabilities(values: NDArray[np.float32], *, scores: Scores) -> NDArray[np.float32]:
    """Turn what a model gave into probabilities.

    Args:
        values: The model's output, float32 ``(n, classes)``.
        scores: What it holds. Of ``"unknown"`` ones, a row that already is a distribution (nothing negative, sum within
            1e-3 of 1) stays, and any other is taken for logits.

    Returns:
        float32 ``(n, classes)``; the softmax of each row of logits.

    Raises:
        InferenceFailedError: If a row holds NaN or has no largest finite score.
    """
    # One pass finds all three: NaN wins a maximum, +inf is one, and a row of only -inf has no other.
    usable = np.isfinite(values.max(axis=1))
    if not usable.all():
        bad = np.flatnonzero(~usable)
        raise InferenceFailedError(
            f"The model gave no usable scores for {bad.size} of {len(values)} images, first at position {bad[0]}: NaN "
            "or infinite, but finite numbers were expected. Its weights or its precision overflow on such an input."
        )
    if scores in ("probabilities", "multi-label"):
        return values
    if scores == "logits":
        return _softmax(values)
    ready = (values.min(axis=1) >= 0) & (np.abs(values.sum(axis=1, dtype=np.float64) - 1) <= _SUM_TOLERANCE)
    return values if ready.all() else np.where(ready[:, None], values, _softmax(values))


def top_k(probabilities: NDArray[np.float32], *, k: int, labels: Sequence[str] | None = None) -> tuple[ClassScore, ...]:
    """Pick the *k* most probable classes, the best first; of equals, the lower index first.

    Args:
        probabilities: Of one image, float32 ``(classes,)``.
        k: How many; all classes where there are fewer.
        labels: A name for each class.

    Raises:
        ConfigurationError: If *k* < 1, or there are not as many labels as classes.
    """
    classes = probabilities.size
    whole(k, "top_k")
    if labels is not None and len(labels) != classes:
        raise ConfigurationError(f"There are {len(labels)} labels, but the model has {classes} classes.")
    k = min(k, classes)
    # Partition finds the k-th value without sorting all; every class that reaches it is a candidate, in index order, so
    # that a stable sort settles ties at the edge as well as inside.
    least = np.partition(probabilities, classes - k)[classes - k]
    candidates = np.flatnonzero(probabilities >= least)
    best = candidates[np.argsort(-probabilities[candidates], kind="stable")][:k]
    return tuple(
        ClassScore(
            index=int(index),
            label=f"class {index}" if labels is None else labels[index],
            probability=float(probabilities[index]),
        )
        for index in best
    )


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the softmax of each row; less its maximum, so that nothing overflows but differences that become 0."""
    with np.errstate(over="ignore", under="ignore"):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
