"""What Invoke itself prints, the list and the help of the tasks: one message if that cannot be written."""

import atexit
import os
import sys
from types import TracebackType

from scripts.host.output import forget, unwritten


def watch() -> None:
    """Let a full disk, or a reader that has gone, end what Invoke prints without a traceback."""
    sys.excepthook = _told
    atexit.register(_flush)


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Take an exception that nobody else took: Python's own hook shows any that Invoke's printing did not raise."""
    if not isinstance(error, OSError) or not _in_invoke(trace):
        sys.__excepthook__(kind, error, trace)
        return
    _say(error)
    forget(sys.stdout)


def _in_invoke(trace: TracebackType | None) -> bool:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("invoke.")


def _flush() -> None:
    """Write at exit what was printed: the status of a program whose results are lost is not 0."""
    try:
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except OSError as error:
        _say(error)
        # At this point nothing else gives the program another status.
        os._exit(1)


def _say(error: OSError) -> None:
    # Whoever closed the pipe has seen enough.
    if sys.stderr is not None and not isinstance(error, BrokenPipeError):
        sys.stderr.write(f"Error: {unwritten(error)}\n")
        sys.stderr.flush()
