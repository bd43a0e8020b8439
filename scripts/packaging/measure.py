"""Prove that a packaged graph is the original one, and act on what else is measured: chance, rounding, batch-mates."""

import attrs
import numpy as np
import onnx
from numpy.typing import NDArray

from scripts.graph import compare
from scripts.graph.inspect import Classifier
from scripts.graph.pixels import Pixels
from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from scripts.repository import golden
from scripts.repository.manifest import Measured
from scripts.sources.source import Progress
from triton_sdk.contract import ModelContract

# What rounding may do to a float model's probabilities; ResNet50 showed 1e-6.
FLOAT_LIMIT = 1e-4
# A quantised graph turns the last bit of an input into a whole level now and then.
QUANTISED_LIMIT = 0.02
# Integer kernels differ between kinds of CPU and between CPU and GPU, and nobody measured all of them: this only
# catches nonsense, and what is held firmly is the best class.
QUANTISED_TOLERANCE = 0.05
# Rounding in half precision is the model's own: it is measured, and other machines round elsewhere. Less than the first
# is never asked of it, and more than the second would let another model pass.
HALF_LIMIT, HALF_MOST = 1e-3, 0.05
_NOISE_MARGIN = 4.0
# Four images show only part of what other batch-mates may do.
_BATCHING_MARGIN = 2.0
# Whatever draws lots draws them for any image.
_ASKED_AGAIN = 2
# What the same kernels on the same numbers differ by at most where nothing draws lots.
_SAME = 1e-6


@attrs.frozen(kw_only=True)
class Subject:
    """What is measured.

    Attributes:
        original: The model before it was packaged.
        served: What will be served.
        classifier: What `inspect` says of *original*.
        contract: What will be served takes and gives.
        pixels: What the original's input holds for a pixel.
        max_batch: Most images that will share a batch.
    """

    original: onnx.ModelProto
    served: onnx.ModelProto
    classifier: Classifier
    contract: ModelContract
    pixels: Pixels
    max_batch: int


def measure(subject: Subject, *, progress: Progress) -> Measured:
    """Return what was measured, and say it.

    Raises:
        TaskFailure: If the graph is not the original one, answers by chance, or lets an image's answer depend on what
            shares its batch; the message says what to do.
    """
    pictures = golden.pictures(subject.contract)
    limit = _limit(subject, pictures, progress=progress)
    _check_chance(subject, pictures, limit=limit, progress=progress)
    proof = _prove(subject, pictures, limit=limit, progress=progress)
    allowed = limit if subject.classifier.quantisation == "none" else QUANTISED_TOLERANCE
    batching = _batching(subject, pictures, allowed=allowed)
    tolerance = allowed
    if subject.max_batch > 1:
        tolerance = max(allowed, _BATCHING_MARGIN * batching)
        progress(
            f"Sharing a batch moves a probability by at most {batching:.1e}; the golden check allows {tolerance:.1e}"
        )
    return Measured(images=len(pictures), proof=proof, proof_limit=limit, batching=batching, tolerance=tolerance)


def _limit(subject: Subject, pictures: NDArray[np.generic], *, progress: Progress) -> float:
    """Return how far the packaged graph may lie from the original, in a probability."""
    if subject.classifier.quantisation != "none":
        return QUANTISED_LIMIT
    if not subject.classifier.half:
        return FLOAT_LIMIT
    noise = compare.rounding_noise(subject.served, pictures)
    limit = min(max(HALF_LIMIT, _NOISE_MARGIN * noise), HALF_MOST)
    progress(f"Half precision moves a probability by {noise:.1e} if it is rounded elsewhere; {limit:.1e} is allowed")
    return limit


def _check_chance(subject: Subject, pictures: NDArray[np.generic], *, limit: float, progress: Progress) -> None:
    """Say it if the same images, asked again, get other answers; refuse it where the golden check could not pass."""
    session, few = Session(subject.served), pictures[:_ASKED_AGAIN]
    first, again = session.alone(few), session.alone(few)
    noise = float(np.abs(first.astype(np.float64) - again).max())
    if noise <= _SAME:
        return
    drawing = compare.random_nodes(subject.original)
    by = f", because {', '.join(drawing)} draws random numbers" if drawing else ""
    found = (
        f"The model is not deterministic{by}: the same picture, asked twice, gets a probability that differs by "
        f"{noise:.1e}"
    )
    if noise > limit:
        raise TaskFailure(
            f"{found}, but only {limit:.0e} is allowed. Export it for inference, in PyTorch after model.eval()."
        )
    progress(f"Warning: {found}; the golden check allows {limit:.0e}")


def _prove(subject: Subject, pictures: NDArray[np.generic], *, limit: float, progress: Progress) -> float:
    """Return the largest difference of a probability between the packaged graph and the original."""
    if subject.contract.input == subject.classifier.input:
        expected = compare.expected_answers(subject.original, subject.classifier, pictures)
        proof = golden.compare(expected, Session(subject.served).alone(pictures)).difference
    else:
        proof = compare.fused_difference(
            subject.original,
            subject.served,
            subject.classifier,
            images=golden.images(height=subject.contract.height, width=subject.contract.width),
            pixels=subject.pixels,
        )
    found = f"the packaged graph differs from the original by at most {proof:.1e} in a probability"
    if not proof <= limit:
        raise TaskFailure(
            f"Proof failed: on {len(pictures)} generated images {found}, but only {limit:.0e} is allowed. Nothing was "
            "published. Please report this model: the fault is not in it."
        )
    progress(f"Proof: on {len(pictures)} generated images {found} (allowed: {limit:.0e})")
    return proof


def _batching(subject: Subject, pictures: NDArray[np.generic], *, allowed: float) -> float:
    """Return how much a probability changes, at most, with what shares its batch; 1 where no batch runs at all.

    Raises:
        TaskFailure: If that is more than *allowed*, and batches will be served.
    """
    try:
        batching = compare.batch_difference(subject.served, pictures)
    except TaskFailure:
        if subject.max_batch > 1:
            raise
        return 1.0
    if subject.max_batch > 1 and not batching <= allowed:
        cause = (
            "A dynamically quantised graph takes its scales from the whole batch: quantise it statically"
            if subject.classifier.quantisation == "dynamic"
            else "A normalisation that was exported for training does that: export it for inference"
        )
        raise TaskFailure(
            f"An image's answer depends on what shares its batch: a probability moves by {batching:.1e}, but only "
            f"{allowed:.0e} is allowed. {cause}, or package it as a new model with --max-batch 1, and each image "
            "is asked alone."
        )
    return batching
