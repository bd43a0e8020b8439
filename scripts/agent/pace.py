"""How fast the server has been of late: what it counts, cut into short windows of the wall clock."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from scripts.agent.triton import Triton

# How long a window is, in seconds, and how many of them are kept: ten minutes.
EVERY_S = 3.0
MOST = 200
# The number of a window, how many requests were answered in it, and how many microseconds they took together.
Window = tuple[int, int, int]


@dataclass(kw_only=True)
class Pace:
    """How many requests each version has answered in each window, and how long they took in the server.

    Windows have the same numbers in all pods, so that pods can be compared at the same moments. Whatever a version was
    asked before its first look is left out: the warm-up is no traffic.

    Attributes:
        triton: The server.
        wall: Gives the time since 1970, in seconds.
    """

    triton: Triton
    wall: Callable[[], float] = time.time
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    _windows: dict[tuple[str, int], deque[Window]] = field(default_factory=dict)

    def look(self) -> None:
        """Note what came since the last look; windows without a request are left out.

        Raises:
            AwayError: If Triton does not answer.
        """
        found = self.triton.answered()
        now = int(self.wall() // EVERY_S)
        with self._lock:
            for one, (count, spent_ns) in found.items():
                windows = self._windows.setdefault(one, deque(maxlen=MOST))
                before, before_ns = self._seen.get(one, (count, spent_ns))
                # Less than before: the version was loaded again.
                if count > before and spent_ns >= before_ns:
                    windows.append((now, count - before, (spent_ns - before_ns) // 1000))
                while windows and windows[0][0] <= now - MOST:
                    windows.popleft()
            for gone in self._windows.keys() - found.keys():
                del self._windows[gone]
            self._seen = found

    def to_dict(self) -> dict[str, dict[str, list[Window]]]:
        """Return the windows of each model and version as JSON-like data, the oldest first."""
        told: dict[str, dict[str, list[Window]]] = {}
        with self._lock:
            for (model, version), windows in sorted(self._windows.items()):
                if windows:
                    told.setdefault(model, {})[str(version)] = list(windows)
        return told
