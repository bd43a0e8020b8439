"""The time, as far as waiting needs it."""

import time
from collections.abc import Callable

import attrs


@attrs.frozen
class Clock:
    """A clock that can be waited on.

    Attributes:
        now: Gives seconds that only grow.
        sleep: Waits for so many seconds.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
