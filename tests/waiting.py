"""Wait for what a test needs, however slow the machine is."""

import time
from collections.abc import Callable

# A busy machine may take so long for what takes a moment; a test that waits in vain says what for.
PATIENCE_S = 30.0


def wait_until(
    true: Callable[[], object],
    what: str = "what was waited for",
    *,
    within_s: float = PATIENCE_S,
    every_s: float = 0.01,
    told: Callable[[], str] = str,
    error: type[Exception] = AssertionError,
) -> None:
    """Wait until *true* says yes.

    Args:
        true: Is asked again and again; what it raises ends the waiting.
        what: What is waited for, for the message.
        within_s: How long, in seconds.
        every_s: The pause between two questions, in seconds.
        told: Gives more for the message, such as the end of a log.
        error: What is raised.

    Raises:
        AssertionError: If it does not in time; or *error*.
    """
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise error(f"{what}: not within {within_s:g} s. {told()}".rstrip())
        time.sleep(every_s)
