"""Open files, and nothing else: a named pipe waits for its writer for ever, and a device may have no end."""

import errno
import os
import stat
from io import FileIO
from pathlib import Path
from typing import Final

# What a path may lead to that is no file.
_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def opened(path: str | os.PathLike[str]) -> FileIO:
    """Open the file *path* for reading bytes.

    Raises:
        OSError: If it cannot be opened, or is none: then it is not opened at all.
    """
    if (found := _KINDS.get(stat.S_IFMT(Path(path).stat().st_mode))) is not None:
        raise OSError(errno.EINVAL, f"it is {found}, but a file was expected")
    return Path(path).open("rb", buffering=0)
