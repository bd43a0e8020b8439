"""How many threads may prepare images at once."""

import os
from pathlib import Path
from typing import Final

# More threads than this wait for each other's GIL: decoding releases it, but each image takes it some 30 times.
_MOST: Final = 8
_QUOTA_V2: Final = Path("/sys/fs/cgroup/cpu.max")
_QUOTA_V1: Final = (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))


def workers() -> int:
    """Return how many threads are worth having for decoding: one for each core that this process may use, 8 at most."""
    return max(1, min(_allowed(), _quota(), _MOST))


def _allowed() -> int:
    """Return the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota() -> int:
    """Return the cores' worth of time that a container's limit leaves, rounded up; many where there is no limit."""
    for paths in ((_QUOTA_V2,), _QUOTA_V1):
        try:
            quota, period = " ".join(path.read_text() for path in paths).split()
            return -(-int(quota) // int(period)) if int(quota) > 0 else _MOST
        except (OSError, ValueError, ZeroDivisionError):
            # No such file here, or "max": no limit.
            continue
    return _MOST
