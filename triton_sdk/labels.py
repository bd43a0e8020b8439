"""Names of classes."""

import functools
import os
from importlib import resources

from triton_sdk._files import opened
from triton_sdk.errors import ConfigurationError

__all__ = ["imagenet", "read"]


@functools.cache
def imagenet() -> tuple[str, ...]:
    """Return the names of ImageNet's 1000 classes, in the order of their indices; "crane" and "maillot" stand twice."""
    text = resources.files("triton_sdk.data").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def read(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read the names of classes from a UTF-8 text file, a line for each class in the order of their indices.

    Blank lines at the end are ignored; elsewhere each would shift the names behind it, so they are refused.

    Raises:
        ConfigurationError: If the file cannot be read, is no text, holds no name, or has a blank line between names.
    """
    try:
        # utf-8-sig: Windows editors put a byte order mark before the first name.
        with opened(path) as file:
            text = file.readall().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigurationError(
            f"Cannot read the labels in {os.fspath(path)!r}: {reason}; UTF-8 text, a line for each class, was expected."
        ) from error
    # Not splitlines(), which also splits at characters that may stand inside a name.
    labels = tuple(line.strip() for line in text.rstrip().split("\n"))
    if "" in labels:
        problem = f"line {labels.index('') + 1} is blank" if len(labels) > 1 else "it is empty"
        raise ConfigurationError(
            f"Cannot use the labels in {os.fspath(path)!r}: {problem}; a name on each line was expected."
        )
    return labels
