"""Images to try a classifier with before anybody has said what it expects."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.graph.session import Session
from triton_sdk.contract import Layout, TensorSpec

# The element types that an image or its scores may have, by KServe's names.
NUMPY: Mapping[str, type[np.generic]] = {
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "UINT8": np.uint8,
}
# Where the channels stand behind the batch axis.
CHANNELS: Mapping[Layout, int] = {"NCHW": 0, "NHWC": 2}


def random_batch(spec: TensorSpec, count: int) -> NDArray[Any]:
    """Return *count* random images as a model with the input *spec* takes them, normalised ones where it is a float."""
    random = np.random.default_rng(0)
    shape = (count, *spec.shape)
    if spec.dtype == "UINT8":
        return random.integers(0, 256, shape, dtype=np.uint8)
    return random.standard_normal(shape, np.float32).astype(NUMPY[spec.dtype])


def _varied(spec: TensorSpec, layout: Layout) -> Iterator[NDArray[Any]]:
    """Yield single images that differ much in range and in mean, since nobody has said what the model expects."""
    random = np.random.default_rng(1)
    axis = CHANNELS[layout]
    tint = [1, 1, 1]
    tint[axis] = spec.shape[axis]
    for _ in range(4):
        image = 1.5 * random.uniform(-1, 1, tint) + random.standard_normal(spec.shape) / 2
        pixels = np.clip(image * 64 + 128, 0, 255)
        ranges = [pixels] if spec.dtype == "UINT8" else [image, pixels / 255, pixels]
        yield from (values.astype(NUMPY[spec.dtype])[np.newaxis] for values in ranges)


def varied_scores(session: Session, spec: TensorSpec, layout: Layout, *, output: str) -> NDArray[np.float32]:
    """Return the scores of single images that differ much: FP32 ``(n, classes)``, without those that overflow.

    Quantisation makes 0 of what overflowed in front of it, so that all scores are one; what is always so stays.
    """
    images = _varied(spec, layout)
    rows = np.array([session.outputs({spec.name: image}, names=[output])[0].reshape(-1) for image in images])
    finite = rows[np.isfinite(rows).all(axis=1)].astype(np.float32)
    telling: NDArray[np.float32] = finite[np.ptp(finite, axis=1) > 0]
    return telling if len(telling) else finite
