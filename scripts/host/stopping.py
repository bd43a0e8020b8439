"""Signals that ask a task to stop: each acts like Ctrl-C, so that what was begun is brought to an end."""

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt in the block, as Ctrl-C does; one that is ignored stays so.

    Only Ctrl-C stops what is being done after a first stop: a CI system sends one signal after the other, and whoever
    means it sends SIGKILL at last.
    """
    if threading.current_thread() is not threading.main_thread():  # where Python takes no handlers
        yield
        return
    stopping = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal stopping
        if number == signal.SIGHUP:
            _forget_a_closed_terminal()
        first, stopping = not stopping, True
        if first or number == signal.SIGINT:
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _forget_a_closed_terminal() -> None:
    """Send what is printed from now on nowhere if the terminal is gone: each write to it would fail."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # no file, or a closed one
            file = stream.fileno()
            try:
                os.get_terminal_size(file)
            except OSError as error:
                if error.errno == errno.EIO:  # it was a terminal, and is none any more
                    nowhere = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(nowhere, file)
                    os.close(nowhere)
