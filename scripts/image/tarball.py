"""Archives whose bytes depend on names and contents alone, so that the same content is the same image layer."""

import hashlib
import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import attrs

from scripts.host import files
from scripts.host.errors import TaskFailure

# 1980-01-01, the oldest time that every archive format can say.
MTIME = 315532800
READABLE = 0o644
RUNNABLE = 0o755


@attrs.frozen(kw_only=True)
class File:
    """A file of an archive.

    Attributes:
        name: Its path in the archive.
        path: Where its content is.
        runnable: Whether it is a program.
        sha256: What its content must have, in hexadecimal; None where nobody knows.
    """

    name: str
    path: Path
    runnable: bool = False
    sha256: str | None = None


@attrs.frozen(kw_only=True)
class Link:
    """A symbolic link of an archive.

    Attributes:
        name: Its path in the archive.
        target: What it points to.
    """

    name: str
    target: str


def write_tar(archive: Path, entries: Sequence[File | Link]) -> None:
    """Write *entries* and their folders to *archive*: owned by root, readable by all, of one fixed time.

    The folders are in it too, since unpacking a file into one would otherwise give it the time of the build, and the
    layer another digest.

    Raises:
        TaskFailure: If a file's content is not the one that is wanted.
    """
    entries = sorted(entries, key=lambda entry: entry.name)
    folders = {str(parent) for entry in entries for parent in PurePosixPath(entry.name).parents} - {"."}
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for folder in sorted(folders):
            tar.addfile(_info(folder, mode=RUNNABLE, kind=tarfile.DIRTYPE))
        for entry in entries:
            if isinstance(entry, Link):
                link = _info(entry.name, mode=0o777, kind=tarfile.SYMTYPE)
                link.linkname = entry.target
                tar.addfile(link)
                continue
            info = _info(entry.name, mode=RUNNABLE if entry.runnable else READABLE, kind=tarfile.REGTYPE)
            with files.opened(entry.path) as content:
                info.size = os.fstat(content.fileno()).st_size
                # Packed and hashed in one reading: a model may have gigabytes.
                read = _Hashed(content)
                tar.addfile(info, read)
            if entry.sha256 not in (None, read.digest.hexdigest()):
                raise TaskFailure(
                    f"{entry.path} is not the file that was packaged. Package the version again, under a new number."
                )


class _Hashed(io.RawIOBase):
    """A file that is hashed as it is read."""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        part = self._content.read(size)
        self.digest.update(part)
        return part


def _info(name: str, *, mode: int, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.type, info.mtime = mode, kind, MTIME
    return info
