"""Standard output that cannot be written: what is said, and what becomes of the rest."""

import contextlib
import os
from typing import TextIO


def unwritten(error: OSError) -> str:
    """Say that standard output cannot be written, and why."""
    return f"The result cannot be written to standard output: {error.strerror}. Write it elsewhere."


def forget(stream: TextIO | None) -> None:
    """Send what is left in *stream* nowhere: Python would try to write it at exit, and complain once more."""
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
