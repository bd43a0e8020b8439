"""The files of a version, and the digest that names them."""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from scripts.agent.errors import StoreError


@dataclass(frozen=True)
class File:
    """One file by its content.

    Attributes:
        sha256: Of its bytes, in hexadecimal.
        size: How many bytes it has.
    """

    sha256: str
    size: int


Files = Mapping[str, File]


def digest(files: Files) -> str:
    """Return what names the bytes of a version, wherever it lies: SHA-256 in hexadecimal."""
    return hashlib.sha256(json.dumps(to_dict(files), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def to_dict(files: Files) -> dict[str, Any]:
    """Return *files* as JSON-like data."""
    return {name: {"sha256": file.sha256, "size": file.size} for name, file in sorted(files.items())}


def from_dict(data: object, *, where: str) -> dict[str, File]:
    """Read what `to_dict` gave.

    Raises:
        StoreError: If it is something else, or a path in it leaves the folder; *where* names it.
    """
    if not isinstance(data, dict) or not data:
        raise StoreError(f"{where} names no files.")
    read = {}
    for name, entry in data.items():
        if not is_inside(name):
            raise StoreError(f"{where} names a file {name!r}, which is no path below the version's folder.")
        sha256, size = (entry.get("sha256"), entry.get("size")) if isinstance(entry, dict) else (None, None)
        if not isinstance(sha256, str) or len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise StoreError(f"{where}: {name} has no SHA-256.")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise StoreError(f"{where}: {name} has no size.")
        read[name] = File(sha256=sha256, size=size)
    return read


def is_inside(name: str) -> bool:
    """Return whether *name* is a plain relative path that stays below where it is put."""
    parts = name.split("/")
    plain = not any(part in ("", ".", "..") for part in parts) and "\0" not in name and "\\" not in name
    return plain and not PurePosixPath(name).is_absolute()


def scan(folder: Path, names: frozenset[str] | None = None) -> dict[str, File]:
    """Return the files below *folder*, by their path there.

    Args:
        folder: What is looked through.
        names: Only these of its entries; None: all.

    Raises:
        StoreError: If one cannot be read, or is neither a file nor a folder: a link may lead anywhere.
    """
    found: dict[str, File] = {}
    try:
        for path in sorted(folder.iterdir()):
            if names is not None and path.name not in names:
                continue
            _scan(path, path.name, found)
    except OSError as error:
        raise StoreError(f"{error.filename or folder} cannot be read: {error.strerror or error}.") from error
    return found


def _scan(path: Path, name: str, found: dict[str, File]) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        for inner in sorted(path.iterdir()):
            _scan(inner, f"{name}/{inner.name}", found)
    elif stat.S_ISREG(mode):
        found[name] = measure(path)
    else:
        raise StoreError(f"{path} is neither a file nor a folder: it is no part of a version.")


def measure(path: Path) -> File:
    """Return what *path* holds."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        return File(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size=size)
