"""Measure how far two ways to ask one model lie apart."""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from scripts.graph.inspect import Classifier
from scripts.graph.pixels import Pixels
from scripts.graph.scores import as_served
from scripts.graph.session import Session
from scripts.graph.walk import all_nodes
from scripts.host.errors import TaskFailure


def fused_difference(
    original: onnx.ModelProto,
    fused: onnx.ModelProto,
    classifier: Classifier,
    *,
    images: NDArray[np.uint8],
    pixels: Pixels,
) -> float:
    """Return the largest difference between a fused model and the reference way to the same probabilities.

    Args:
        original: The model before it was fused.
        fused: The same with ``image`` and ``probabilities``.
        classifier: What `inspect` says of *original*.
        images: uint8 RGB ``(n, height, width, 3)``; each is alone in its batch, both times.
        pixels: What the original's input holds for a pixel.

    Raises:
        TaskFailure: If onnxruntime cannot run one of the models, or *original* answers NaN for one of the images.
    """
    batch = pixels.tensor(images, layout=classifier.layout, dtype=classifier.numpy_input)
    return _largest(expected_answers(original, classifier, batch), Session(fused).alone(images))


def expected_answers(
    original: onnx.ModelProto, classifier: Classifier, batch: NDArray[np.generic]
) -> NDArray[np.float32]:
    """Return what a packaged version must answer to *batch*, which the original takes: FP32 ``(n, classes)``.

    Raises:
        TaskFailure: If the original answers NaN or infinity for one of the images.
    """
    scores = Session(original).alone(batch)
    if not np.isfinite(scores).all():
        raise TaskFailure("The model answers NaN or infinity for a generated image. It cannot be packaged.")
    return as_served(scores, kind=classifier.scores)


def batch_difference(model: onnx.ModelProto, inputs: NDArray[np.generic]) -> float:
    """Return how much an image's scores change, at most, with what shares its batch.

    Each image is asked alone, in one batch with all others, and in pairs with each of its neighbours.

    Args:
        model: A model with a dynamic batch dimension.
        inputs: What it takes, ``(n, ...)`` with n >= 2; the more the images differ, the more is found.

    Raises:
        TaskFailure: If onnxruntime cannot run the model.
    """
    session = Session(model)
    alone = session.alone(inputs)
    differences = [_largest(alone, session.scores(inputs))]
    for first in range(len(inputs) - 1):
        pair = slice(first, first + 2)
        differences.append(_largest(alone[pair], session.scores(inputs[pair])))
    return max(differences)


def bucket_difference(
    plain: Session, buckets: Session, images: NDArray[np.generic], *, sizes: Sequence[int], limit: float
) -> tuple[float, int]:
    """Return how far a graph with branches for batch sizes lies from the plain one, and for how many images.

    Each branch is asked for the most and for the fewest images that it gets, until one differs by more than *limit*.
    For the numbers between it computes the very same on as many rows, of which fewer are repeated; that each number of
    images is led into its branch and out of it rightly, `scripts.graph.wiring` tells at next to no cost. The plain
    graph is asked once, since what shares a batch changes nothing in what is packaged with batches.

    Args:
        plain: The graph without branches.
        buckets: The same with them.
        images: What both take, ``(n, ...)``; n is the largest batch.
        sizes: The sizes that have a branch, from the smallest on; n is the last.
        limit: Largest difference of a score that is allowed.

    Raises:
        TaskFailure: If one of them fails.
    """
    largest, where = 0.0, 1
    answers = plain.scores(images)
    fewest = [1, *(size + 1 for size in sizes[:-1])]
    for count in sorted({*fewest, *sizes}):
        expected, got = answers[:count], buckets.scores(images[:count])
        difference = _largest(expected, got) if expected.shape == got.shape else float("inf")
        # Written so that NaN counts as different.
        if not difference <= largest:
            largest, where = difference, count
        if not largest <= limit:
            break
    return largest, where


def rounding_noise(model: onnx.ModelProto, inputs: NDArray[np.generic]) -> float:
    """Return how much an image's scores change, at most, with where half precision is rounded.

    With its optimisations onnxruntime computes in full on a CPU where casts to half and back meet; without them each
    operator rounds, as on a GPU.
    """
    return _largest(Session(model).alone(inputs), Session(model, optimise=False).alone(inputs))


def random_nodes(model: onnx.ModelProto) -> list[str]:
    """Return the operators of *model* that draw random numbers, each with the name of what it makes."""
    nodes = all_nodes([*model.graph.node, *(node for function in model.functions for node in function.node)])
    return [
        f"{node.op_type} ({node.output[0]!r})"
        for node in nodes
        if node.op_type.startswith("Random") or node.op_type in ("Bernoulli", "Multinomial")
    ]


def _largest(expected: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    return float(np.abs(expected.astype(np.float64) - got).max())
