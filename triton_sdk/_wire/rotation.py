"""Whose turn it is among several addresses."""

import time
from collections.abc import Callable
from itertools import count
from typing import Final

# How long an address that was not there is left alone: this long at first, twice as long each time, and no longer.
FIRST_REST: Final = 0.5
LAST_REST: Final = 30.0


class Rotation:
    """Goes round and round, past addresses that are not there; of those, one call now and then looks again.

    No lock: two threads that meet here at worst look again at the same time.

    Args:
        size: How many addresses there are.
        clock: Seconds that only grow.
    """

    def __init__(self, size: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turns = count()
        self._losses: list[int] = [0] * size
        self._rests_until: list[float] = [0.0] * size

    def next(self) -> int:
        """Return the place of the address to ask; where all rest, each is asked in its turn."""
        size = len(self._losses)
        turn: int = next(self._turns) % size
        if any(self._losses):
            now = self._clock()
            for further in range(size):
                place = (turn + further) % size
                if not self._losses[place]:
                    return place
                if now >= self._rests_until[place]:
                    # This call looks again; the others still go past.
                    self._rest(place, now)
                    return place
        return turn

    def lost(self, place: int) -> None:
        """Note that the address did not answer."""
        if not self._losses[place]:
            self._rest(place, self._clock())

    def found(self, place: int) -> None:
        """Note that the address answered."""
        self._losses[place] = 0

    def _rest(self, place: int, now: float) -> None:
        # 2**7 times the first rest is longer than the last.
        self._rests_until[place] = now + min(FIRST_REST * 2 ** min(self._losses[place], 7), LAST_REST)
        self._losses[place] += 1
