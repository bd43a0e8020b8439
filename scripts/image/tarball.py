"""Archives whose bytes depend on names and contents alone, so that the same content is the same image layer."""

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import attrs

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
    """

    name: str
    path: Path
    runnable: bool = False


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
            with entry.path.open("rb") as content:
                info.size = os.fstat(content.fileno()).st_size
                tar.addfile(info, content)


def _info(name: str, *, mode: int, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.type, info.mtime = mode, kind, MTIME
    return info
