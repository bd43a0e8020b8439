"""Folders of a task's own: each goes with its task, and what a killed task left behind goes with the next one."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "triton-task-"
_LOCK = "lock"
# One that is younger may be of a task that is about to lock it.
_ABANDONED_AFTER_S = 60.0


@contextlib.contextmanager
def folder(name: str) -> Iterator[Path]:
    """Give a new folder called *name* that only this user can enter, and that goes with the block."""
    remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as made, (Path(made) / _LOCK).open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        inner = Path(made) / name
        inner.mkdir(mode=0o700)
        yield inner


def remove_abandoned(where: Path) -> None:
    """Remove the folders below *where* of tasks that were killed: some hold logins, and nobody else will."""
    for left in where.glob(f"{_PREFIX}*"):
        # Whatever lies in somebody else's is not opened; one that is in use is not to be locked.
        with contextlib.suppress(OSError):
            if left.lstat().st_uid != os.getuid() or left.is_symlink():
                continue
            with (left / _LOCK).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - left.stat().st_mtime > _ABANDONED_AFTER_S:
                    shutil.rmtree(left)
