"""From what a model gave to probabilities, where there are any to be had from it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from triton_sdk._flow.failures import about
from triton_sdk._flow.session import Session
from triton_sdk.contract import ModelContract
from triton_sdk.errors import InferenceFailedError
from triton_sdk.predictions import Inference, to_probabilities

# Room for float32 sums over thousands of classes, and for half precision.
_TOLERANCE: Final = 1e-3
# Scores of 8 bits are rounded by half a step each; few of very many classes are rounded up.
_ROUNDING: Final = 1 / 512
_MOST_ROUNDING: Final = 0.5


def probabilities(session: Session, answer: Inference, known: ModelContract) -> NDArray[np.float32]:
    """Turn the scores of *answer* into probabilities, float32 ``(n, classes)``.

    Raises:
        InferenceFailedError: If there are none to be had from them, or they are not what *known* says.
    """
    try:
        if known.scores in ("probabilities", "multi-label"):
            _check(answer.scores, several=known.scores == "multi-label")
        return to_probabilities(answer.scores, scores=known.scores)
    except InferenceFailedError as error:
        about(error, session.config, version=answer.model_version)
        raise


def _check(values: NDArray[np.float32], *, several: bool) -> None:
    """Refuse rows that are no probabilities: each from 0 to 1, and in sum about 1 unless *several* classes may be true.

    A sum may be below 1, for some models round small scores to 0. NaN is for others to tell.
    """
    high, low = values.max(axis=1), values.min(axis=1)
    unfit = (low < -_TOLERANCE) | (high > 1 + _TOLERANCE)
    if not several:
        most = 1 + _TOLERANCE + min(values.shape[1] * _ROUNDING, _MOST_ROUNDING)
        unfit |= (high <= 0) | (values.sum(axis=1, dtype=np.float64) > most)
    unfit &= np.isfinite(high)
    if not unfit.any():
        return
    place = int(unfit.argmax())
    row = values[place]
    expected = "scores from 0 to 1" if several else "scores from 0 to 1, in sum 1,"
    raise InferenceFailedError(
        f"The model gave no probabilities for image {place} (counted from 0) of a request: its scores go "
        f"from {row.min():.4g} to {row.max():.4g} and sum to {row.sum(dtype=np.float64):.4g}, but {expected} were "
        "expected. Correct image.scores in the model's configuration, or the model."
    )
