"""Where the names of classes stand: in files beside a model, or in a key of its metadata that no format fixes."""

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from scripts.host.errors import TaskFailure
from scripts.sources.claims import Claim, Place, names, read_json
from triton_sdk import labels
from triton_sdk.errors import ConfigurationError

_USUAL = (
    "labels.txt",
    "classes.txt",
    "label.txt",
    "class_names.txt",
    "class_labels.txt",
    "synset.txt",
    "labels.json",
    "classes.json",
    "class_names.json",
    "class_indices.json",
    "id2label.json",
)
# RapidOCR writes "character"; older YOLOv5 "names" without a task; the others are what people call it themselves.
_KEYS = ("character", "names", "labels", "classes", "class_names", "id2label")
_BETWEEN = "_.-"
# Far longer than any class list; ast is not meant for more.
_LONGEST = 2**20


def claims(folder: Path, *, stem: str) -> Iterator[Claim]:
    """Yield the names of classes that stand in *folder*, for a model whose file is called *stem*.

    A file may have the model's name, or the beginning of it, before the usual one: ``cats_labels.txt`` belongs to
    ``cats.onnx`` and to ``cats_resnet18.onnx``, and to no other model of the folder.

    Raises:
        TaskFailure: If such a file cannot be read, or holds no names.
    """
    usual = [folder / name for name in (*_USUAL, f"{stem}.txt")]
    own = [path for name in _USUAL for path in sorted(folder.glob(f"*{name}")) if _is_of(path.name, name, stem=stem)]
    others = [path for path in sorted(folder.glob("*.names")) if path.name != f"{stem}.names"]
    for path in [folder / f"{stem}.names", *usual, *own, *others]:
        if path.is_file():
            yield Place("beside the file", path.name).claim("labels", read_names(path), "the names")


def from_metadata(metadata: Mapping[str, str], place: Place) -> Iterator[Claim]:
    """Yield the names of classes that stand in the metadata of an ONNX file, under a key that no format fixes.

    They may be JSON, a literal of Python, or one on each line; what is none of these is about something else.
    """
    if "task" in metadata and "imgsz" in metadata:  # Ultralytics', which is read as such
        return
    for key in _KEYS:
        text = metadata.get(key, "").strip()
        listed = _parsed(text)
        if listed is None and "\n" in text:
            listed = list[object](text.splitlines())
        if listed is None:
            continue
        found = names(listed)
        yield place.unusable("labels", key, found) if isinstance(found, str) else place.claim("labels", found, key)


def _is_of(name: str, usual: str, *, stem: str) -> bool:
    """Return whether the file *name*, which ends in *usual*, begins as the model *stem* does, up to a mark."""
    prefix, mark = name[: -len(usual) - 1], name[-len(usual) - 1 : -len(usual)]
    if not prefix or mark not in _BETWEEN:
        return False
    return stem.startswith(prefix) and stem[len(prefix) : len(prefix) + 1] in ("", *_BETWEEN)


def _parsed(text: str) -> list[object] | Mapping[object, object] | None:
    """Return the list or the mapping that *text* writes down; None where it is none."""
    for read in (json.loads, ast.literal_eval) if len(text) <= _LONGEST else ():
        try:
            found = read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(found, list | tuple):
            return list(found)
        if isinstance(found, Mapping):
            return found
    return None


def read_names(path: Path) -> tuple[str, ...]:
    """Return the names of classes in a text file, a line each, or in a JSON file, a list or by index.

    Raises:
        TaskFailure: If it holds none.
    """
    if path.suffix == ".json":
        found = names(read_json(path))
        if isinstance(found, str):
            raise TaskFailure(f"{path} {found}. Mend it, or move the model to a folder without it.")
        return found
    try:
        return labels.read(path)
    except ConfigurationError as error:
        raise TaskFailure(f"{error} Mend it, or move the model to a folder without it.") from error
