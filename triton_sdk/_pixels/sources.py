"""Get the bytes out of whatever names or holds a file."""

import io
import os
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO, Final

from triton_sdk._files import opened
from triton_sdk.errors import InvalidImageError

# Above any photograph, and a bound on what one hostile upload costs.
MAX_BYTES: Final = 32 * 2**20

_CHUNK: Final = 8 * 2**20
_SHOWN: Final = 200
# A Path folds the slashes of a URL into one.
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]+):/|(data):", re.IGNORECASE)


def read(image: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO) -> tuple[str, bytes]:
    """Return what to call the source in a message, and all its bytes.

    Raises:
        InvalidImageError: If it cannot be read, is empty, is larger than 32 MiB, or is no source of bytes.
    """
    what = _name(image)
    try:
        with _opened(image) as file:
            content = _read_to_end(file, what)
    except InvalidImageError:
        raise
    except Exception as error:  # a caller's file object may raise anything; nothing but opening and reading stands here
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InvalidImageError(
            f"Cannot read {what}: {reason}; the path, the bytes or an open binary file of an image was expected."
        ) from error
    if not content:
        hint = "; seek(0) first, if it was read before" if hasattr(image, "read") else ""
        raise InvalidImageError(f"Cannot read {what}: it is empty{hint}.")
    return what, content


def _name(image: object) -> str:
    if isinstance(image, bytes | bytearray | memoryview):
        return "the given bytes"
    if isinstance(image, str | os.PathLike):
        name = os.fsdecode(image)
        if url := _URL.match(name):
            # Only the scheme is shown: the rest may hold a password or a signature.
            raise InvalidImageError(
                f"Cannot read a {url[1] or url[2]}: URL; URLs are never fetched: get it, then pass its bytes or path."
            )
        return repr(name if len(name) <= _SHOWN else name[:_SHOWN] + "...")
    if hasattr(image, "read"):
        title = getattr(image, "name", None)
        return f"the given file {title!r}" if isinstance(title, str) else "the given file"
    several = " predict() takes one image; give several to predict_many()." if isinstance(image, Iterable) else ""
    raise InvalidImageError(
        f"Cannot read an image from {type(image).__name__}: a path, bytes, a binary file, a PIL image or a uint8 array "
        f"(height, width, 3) was expected.{several}"
    )


def _opened(
    image: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO,
) -> AbstractContextManager[BinaryIO | io.FileIO]:
    """Open what is ours to open, and leave the caller's file open behind the context."""
    if isinstance(image, bytes | bytearray | memoryview):
        return io.BytesIO(image)
    if isinstance(image, str | os.PathLike):
        return opened(image)
    return nullcontext(image)


def _read_to_end(file: BinaryIO | io.FileIO, what: str) -> bytes:
    """Read in steps: a raw file gives what it has at the moment, and a device may never end."""
    chunks, size = [], 0
    while chunk := file.read(_CHUNK):
        if isinstance(chunk, str):
            raise InvalidImageError(f"Cannot read {what}: it is open as text; open it with open(PATH, 'rb').")
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BYTES:
            raise InvalidImageError(
                f"Cannot use {what}: it is larger than {MAX_BYTES // 2**20} MiB, the most that is taken."
            )
    return b"".join(chunks)
