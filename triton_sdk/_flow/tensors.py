"""Plan a call: check what the user gave, make the tensor, cut it into requests. No input or output happens here."""

import math
import os
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, BinaryIO, Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from triton_sdk._bounds import REPLY_BYTES, REQUEST_BYTES
from triton_sdk._flow.failures import about
from triton_sdk._pixels import sources
from triton_sdk.config import ClientConfig
from triton_sdk.contract import Framing, ModelContract
from triton_sdk.errors import ConfigurationError, InvalidImageError, InvalidRequestError
from triton_sdk.images import Decode, ImageLike, to_pixels, to_tensor

# Enough to fill a server's batch, few enough that decoding one batch does not keep the server waiting for long.
BATCH_SIZE: Final = 16

_DTYPES: Final[dict[str, np.dtype[Any]]] = {"UINT8": np.dtype(np.uint8), "FP32": np.dtype(np.float32)}
_ONE: Final = (str, bytes, bytearray, memoryview, os.PathLike, Image.Image)
_T = TypeVar("_T")


def batched(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yield the items in order, in lists of *size*; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def check_several(images: object, *, waiting: bool) -> None:
    """Check that *images* are several, in an iterable, and not one: that may be walked as well, letter by letter.

    Args:
        images: What a user gave.
        waiting: Whether an asynchronous iterable will do.

    Raises:
        ConfigurationError: If they are none.
    """
    one = isinstance(images, _ONE) or hasattr(images, "read") or (isinstance(images, np.ndarray) and images.ndim < 4)
    if one:
        raise ConfigurationError(
            f"images is one image ({type(images).__name__}); a list of images was expected, or another iterable. Give "
            "[image], or call predict(image)."
        )
    if isinstance(images, Mapping):
        raise ConfigurationError(
            f"images is of type {type(images).__name__}, whose keys would be taken; a list of images was expected, or "
            "another iterable. Give its values()."
        )
    if isinstance(images, Iterable) or (waiting and isinstance(images, AsyncIterable)):
        return
    hint = " AsyncResNetClient takes asynchronous iterables." if isinstance(images, AsyncIterable) else ""
    raise ConfigurationError(
        f"images is of type {type(images).__name__}; a list of images was expected, or another iterable.{hint}"
    )


def rereadable(
    pictures: Sequence[ImageLike], *, first: int | None, check_time: Callable[[], object] = lambda: None
) -> list[ImageLike]:
    """Return *pictures* with the bytes in place of open files, for those can be read only once.

    Raises:
        InvalidImageError: If a file cannot be read; the message says which, as for `prepare`.
    """
    kept: list[ImageLike] = []
    for place, picture in enumerate(pictures):
        check_time()
        with _naming(first, place):
            kept.append(sources.read(cast(BinaryIO, picture))[1] if is_file(picture) else picture)
    return kept


def is_file(picture: ImageLike) -> bool:
    """Return whether *picture* is an open file."""
    return hasattr(picture, "read") and not isinstance(picture, np.ndarray | Image.Image)


def prepare(
    pictures: Sequence[ImageLike],
    *,
    contract: ModelContract,
    framing: Framing,
    first: int | None,
    decode: Decode = "exact",
    orient: bool = False,
    check_time: Callable[[], object] = lambda: None,
) -> NDArray[Any]:
    """Make the tensor that the model takes.

    Args:
        pictures: At least one.
        contract: What the model takes.
        framing: What is done to each picture.
        first: Place of the first picture in the user's list, to name a bad one; None where there is only one.
        decode: How exactly large JPEGs are decoded, as for `to_pixels`.
        orient: Whether a picture is turned as its EXIF data says.
        check_time: Called before each picture; may raise.

    Returns:
        The contract's dtype and ``(n, *input.shape)``.

    Raises:
        InvalidImageError: If a picture cannot be used; the message says which.
    """
    pixels = np.empty((len(pictures), contract.height, contract.width, 3), np.uint8)
    for place, picture in enumerate(pictures):
        check_time()
        with _naming(first, place):
            pixels[place] = to_pixels(
                picture,
                resize=framing.resize,
                height=contract.height,
                width=contract.width,
                interpolation=framing.interpolation,
                fit=framing.fit,
                decode=decode,
                orient=orient,
            )
    return to_tensor(pixels, contract)


@contextmanager
def _naming(first: int | None, place: int) -> Iterator[None]:
    """Say in an InvalidImageError which image of the user's list it is about."""
    try:
        yield
    except InvalidImageError as error:
        if first is None:
            raise
        raise InvalidImageError(f"Image {first + place} (counted from 0): {error}") from error


def check_batch(batch: NDArray[Any], contract: ModelContract, config: ClientConfig, version: int | None) -> None:
    """Check a prepared tensor against what the model takes.

    Raises:
        InvalidRequestError: If it does not fit; the message says what was expected and what was given.
    """
    problem = _problem(batch, contract)
    if problem:
        words = f"Cannot send {problem}: model {contract.model!r} takes {contract.input}, finite, n at least 1."
        raise about(InvalidRequestError(words), config, version=version)


def is_another(batch: object, contract: ModelContract) -> bool:
    """Return whether *batch* is an array, but not one of the contract's dtype and shape."""
    wanted = (_DTYPES[contract.input.dtype], contract.input.shape)
    return isinstance(batch, np.ndarray) and (batch.dtype, batch.shape[1:]) != wanted


def _problem(batch: object, contract: ModelContract) -> str:
    if not isinstance(batch, np.ndarray):
        return f"a {type(batch).__name__}, not a numpy array"
    if is_another(batch, contract):
        return f"{batch.dtype} {batch.shape}"
    if len(batch) == 0:
        return f"an empty batch, {batch.dtype} {batch.shape}"
    if batch.dtype.kind == "f" and not np.isfinite(batch).all():
        return f"{batch.dtype} {batch.shape} with NaN or infinite values"
    return ""


def most_at_once(contract: ModelContract) -> int:
    """Return how many images one request may have, by its own size and its answer's; 1 without a batch axis."""
    image_bytes = math.prod(contract.input.shape) * _DTYPES[contract.input.dtype].itemsize
    # Room for the names and numbers beside the scores.
    scores = REPLY_BYTES // 2 // (contract.classes * 4)
    return max(1, min(contract.max_batch, REQUEST_BYTES // image_bytes, scores))


def split(batch: NDArray[Any], contract: ModelContract) -> Iterator[NDArray[Any]]:
    """Yield the parts of *batch*, each as large as one request may be."""
    size = 1 if len(batch) == 1 else most_at_once(contract)
    for start in range(0, len(batch), size):
        yield batch[start : start + size]


def zero_image(contract: ModelContract) -> NDArray[Any]:
    """Return a batch of one image that holds nothing, ``(1, *input.shape)``."""
    return cast(NDArray[Any], np.zeros((1, *contract.input.shape), _DTYPES[contract.input.dtype]))
