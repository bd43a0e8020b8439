"""What a packaged version must answer: a few generated images, and the scores that onnxruntime gave for them."""

from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from scripts.host import files
from scripts.host.errors import TaskFailure
from triton_sdk.contract import ModelContract
from triton_sdk.images import to_tensor

FILE = "golden.npz"
COUNT = 4
_SEED = 20240607


@attrs.frozen(kw_only=True, eq=False)
class Golden:
    """An input and the output that belongs to it.

    Attributes:
        input: What is sent, as the contract says: UINT8 or FP32 ``(n, height, width, 3)`` or ``(n, 3, height, width)``.
        output: FP32 scores ``(n, classes)``; each image was alone in its batch.
    """

    input: NDArray[np.uint8] | NDArray[np.float32]
    output: NDArray[np.float32]


@attrs.frozen(kw_only=True)
class Compared:
    """How far scores lie from the golden ones.

    Attributes:
        difference: Largest absolute difference of any score; infinite where one of them is not finite.
        same_top1: Whether every image has the same best class.
    """

    difference: float
    same_top1: bool


def images(count: int = COUNT, *, height: int, width: int, seed: int = _SEED) -> NDArray[np.uint8]:
    """Return generated images that differ in colour, layout and texture: uint8 ``(count, height, width, 3)``."""
    random = np.random.default_rng(seed)
    rows = np.linspace(0, 1, height)[:, None, None]
    columns = np.linspace(0, 1, width)[None, :, None]
    made = np.empty((count, height, width, 3), np.uint8)
    for index in range(count):
        colour, other = random.uniform(0, 1, (2, 3))
        angle, frequency = random.uniform(0, np.pi), random.uniform(1, 12)
        wave = np.sin(2 * np.pi * frequency * (rows * np.sin(angle) + columns * np.cos(angle)))
        y, x, radius = random.uniform(0.2, 0.8, 3)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < (radius / 2) ** 2
        ground = colour + 0.25 * wave * (1 - colour)
        picture = np.where(disc, other, ground) + random.normal(0, 0.03, (height, width, 3))
        made[index] = np.clip(picture * 255, 0, 255).astype(np.uint8)
    return made


def pictures(contract: ModelContract, count: int = COUNT) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Return generated images as *contract* takes them: UINT8 or FP32 ``(count, *contract.input.shape)``."""
    pixels = images(count, height=contract.height, width=contract.width)
    return to_tensor(pixels, contract)


def save(golden: Golden, *, path: Path) -> None:
    """Write *golden* as a compressed npz file with the arrays ``input`` and ``output``."""
    np.savez_compressed(path, allow_pickle=False, input=golden.input, output=golden.output)


def load(path: Path) -> Golden:
    """Read what `save` wrote.

    Raises:
        TaskFailure: If the file is missing, broken, or holds something else.
    """
    try:
        # Opened here, since np.load leaves a file that it cannot read open.
        with files.opened(path) as file, np.load(file, allow_pickle=False) as arrays:
            golden = Golden(input=arrays["input"], output=arrays["output"])
    except Exception as error:  # numpy, zipfile and zlib raise a dozen classes on a damaged file
        raise TaskFailure(f"{path} cannot be read as golden data: {error}. Package the version again.") from error
    sent, scores = golden.input, golden.output
    if sent.ndim != 4 or sent.dtype not in (np.uint8, np.float32) or scores.ndim != 2 or scores.dtype != np.float32:
        raise TaskFailure(
            f"{path} holds an input {sent.dtype} {sent.shape} and an output {scores.dtype} {scores.shape}, but "
            "images (n, height, width, 3) or (n, 3, height, width) and FP32 scores (n, classes) were expected."
        )
    if len(sent) != len(scores) or not len(sent):
        raise TaskFailure(f"{path} holds {len(sent)} images and {len(scores)} rows of scores.")
    return golden


def compare(expected: NDArray[np.float32], got: NDArray[np.float32]) -> Compared:
    """Return how far the scores *got* lie from *expected*, both FP32 ``(n, classes)``; other shapes never agree."""
    if expected.shape != got.shape or not (np.isfinite(expected).all() and np.isfinite(got).all()):
        return Compared(difference=float("inf"), same_top1=False)
    return Compared(
        difference=float(np.abs(expected.astype(np.float64) - got).max()),
        same_top1=bool((expected.argmax(axis=1) == got.argmax(axis=1)).all()),
    )
