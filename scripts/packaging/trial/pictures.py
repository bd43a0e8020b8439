"""The owner's pictures for ``--images``: by folders, by a list, or with the owner's own outputs."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from scripts.host.errors import TaskFailure

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif"})
_SHOWN = 5


@attrs.frozen(kw_only=True, eq=False)
class Pictures:
    """Pictures, and what their owner knows about them.

    Attributes:
        paths: The files, in order.
        labels: The class of each, by index; None where none is told.
        ordered: Whether the classes are known by the order of the folders' names alone.
        outputs: What the owner's own program gave for each, probabilities float32 ``(n, classes)``; None where it is
            not told.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64] | None = None
    ordered: bool = False
    outputs: NDArray[np.float32] | None = None

    def digest(self, place: int) -> str:
        """Return the SHA-256 of a picture's file, in hexadecimal."""
        return hashlib.sha256(self.paths[place].read_bytes()).hexdigest()


def check(source: Path) -> None:
    """Check that what ``--images`` names is there, before the minutes that a version takes, or a server's start.

    Raises:
        TaskFailure: If it is not, or is a folder without pictures.
    """
    if not source.exists():
        raise TaskFailure(f"--images {source}: there is no such folder or file.")
    if source.is_dir() and not any(_pictures_in(folder) for folder in (source, *_folders_in(source))):
        raise _empty(source)


def read(source: Path, *, names: Sequence[str] | None, classes: int) -> Pictures:
    """Read what ``--images`` names.

    Args:
        source: A folder of pictures or of folders named by class; a CSV file with a picture and its class on each line;
            a JSON file of outputs by picture; or an NPZ file with the arrays ``files`` and ``outputs``. Names of files
            are relative to the folder of the list.
        names: Names of the classes, where they are known; an index is always understood.
        classes: Number of classes.

    Raises:
        TaskFailure: If there are no pictures, one is missing, or a class is unknown.
    """
    check(source)
    if source.is_dir():
        found = _folder(source, names, classes)
    elif source.suffix.lower() == ".csv":
        found = _csv(source, names, classes)
    elif source.suffix.lower() in (".json", ".npz"):
        found = _outputs(source, _json(source) if source.suffix.lower() == ".json" else _npz(source), classes)
    else:
        raise TaskFailure(
            f"--images {source} is neither a folder of pictures nor a .csv, .json or .npz file that lists them."
        )
    if not found.paths:
        raise _empty(source)
    return found


def _empty(source: Path) -> TaskFailure:
    return TaskFailure(
        f"--images {source}: there is no picture in it. Pictures are {', '.join(sorted(_SUFFIXES))}; folders in it "
        "are named by class."
    )


def _folder(source: Path, names: Sequence[str] | None, classes: int) -> Pictures:
    folders = _folders_in(source)
    filled = [(folder, pictures) for folder in folders if (pictures := _pictures_in(folder))]
    if not filled:
        return Pictures(paths=tuple(_pictures_in(source)))
    # torchvision's ImageFolder and Keras number classes in this order.
    ordered = names is None and len(folders) == classes and not all(folder.name.isdigit() for folder in folders)
    known = [folder.name for folder in folders] if ordered else names
    paths, labels = list[Path](), list[int]()
    for folder, pictures in filled:
        label = _class(folder.name, known, classes, where=f"the folder {folder}")
        paths.extend(pictures)
        labels.extend([label] * len(pictures))
    return Pictures(paths=tuple(paths), labels=np.array(labels, np.int64), ordered=ordered)


def _folders_in(source: Path) -> list[Path]:
    return sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))


def _pictures_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and path.is_file())


def _csv(source: Path, names: Sequence[str] | None, classes: int) -> Pictures:
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row and any(part.strip() for part in row)]
    except (OSError, ValueError, csv.Error) as error:
        raise TaskFailure(f"{source} cannot be read as CSV: {error}.") from error
    # A first line of titles names no file.
    if rows and not (source.parent / rows[0][0].strip()).is_file() and len(rows) > 1:
        rows = rows[1:]
    paths, labels = list[Path](), list[int]()
    for number, row in enumerate(rows, 1):
        if len(row) < 2:
            raise TaskFailure(f"{source}: picture {number} has no class. Write a file and its class on each line.")
        paths.append(_file(source, row[0].strip()))
        labels.append(_class(row[1].strip(), names, classes, where=f"{source}, picture {number}"))
    return Pictures(paths=tuple(paths), labels=np.array(labels, np.int64))


def _json(source: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(source.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise TaskFailure(f"{source} cannot be read as JSON: {error}.") from error
    if not isinstance(content, Mapping):
        raise TaskFailure(f'{source} holds no outputs by file, as in {{"cat.jpg": [0.9, 0.1]}}.')
    return content


def _npz(source: Path) -> Mapping[str, Any]:
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            files, outputs = arrays["files"], arrays["outputs"]
            return {str(name): row for name, row in zip(files.tolist(), outputs, strict=True)}
    except Exception as error:  # numpy, zipfile and zlib raise a dozen classes on a damaged file
        raise TaskFailure(
            f"{source} cannot be read: {error}. It has the arrays `files` (names) and `outputs` (n, classes)."
        ) from error


def _outputs(source: Path, content: Mapping[str, Any], classes: int) -> Pictures:
    rows = []
    for name, values in content.items():
        try:
            row = np.asarray(values, np.float32)
        except (TypeError, ValueError):
            row = np.empty(0, np.float32)
        if row.shape != (classes,) or not np.isfinite(row).all() or row.min() < -1e-4 or row.max() > 1 + 1e-4:
            raise TaskFailure(
                f"{source}: the output for {name} is no list of {classes} probabilities from 0 to 1, which is what the "
                "packaged version gives. Give probabilities, one for each class."
            )
        rows.append(row)
    paths = tuple(_file(source, name) for name in content)
    return Pictures(paths=paths, outputs=np.stack(rows) if rows else None)


def _file(source: Path, name: str) -> Path:
    path = source.parent / name
    if not path.is_file():
        raise TaskFailure(f"{source} names the picture {name}, which is not there (looked for {path}).")
    return path


def _class(text: str, names: Sequence[str] | None, classes: int, *, where: str) -> int:
    """Return the index of a class, given by its name or its index."""
    folded = [_folded(name) for name in names or ()]
    if folded.count(_folded(text)) == 1:
        return folded.index(_folded(text))
    if text.isascii() and text.isdigit() and int(text) < classes:
        return int(text)
    known = f" Classes are {', '.join(list(names)[:_SHOWN])}{'...' if len(names) > _SHOWN else ''}." if names else ""
    raise TaskFailure(
        f"{where}: {text!r} is neither the name of one class nor an index from 0 to {classes - 1}.{known} Name it so, "
        "or give the names with --labels FILE."
    )


def _folded(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())
