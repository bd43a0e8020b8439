"""Read files, and nothing else: a named pipe waits for its writer for ever, and a device may have no end."""

import errno
import stat
from io import BufferedReader
from pathlib import Path

# What a path may lead to that is no file, by the bits of its mode.
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind(path: Path) -> str | None:
    """Return what *path* leads to where it is no file, in words; None for a file.

    Raises:
        OSError: If there is nothing, or it cannot be looked at.
    """
    return _KINDS.get(stat.S_IFMT(path.stat().st_mode))


def opened(path: Path) -> BufferedReader:
    """Open the file *path* for reading bytes.

    Raises:
        OSError: If it cannot be opened, or is no file: then it is not opened at all.
    """
    if (found := kind(path)) is not None:
        raise OSError(errno.EINVAL, f"It is {found}, not a file", str(path))
    return path.open("rb")


def read_bytes(path: Path) -> bytes:
    """Return the content of the file *path*.

    Raises:
        OSError: If it cannot be read, or is no file.
    """
    with opened(path) as file:
        try:
            return file.read()
        except OSError as error:
            # An error of reading does not know the file's name.
            raise OSError(error.errno, error.strerror, str(path)) from error


def read_text(path: Path) -> str:
    """Return the content of the file *path*, which is UTF-8.

    Raises:
        OSError: If it cannot be read, or is no file.
        UnicodeDecodeError: If it is no UTF-8.
    """
    return read_bytes(path).decode("utf-8").replace("\r\n", "\n")
