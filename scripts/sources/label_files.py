"""Files beside a model that hold the names of its classes."""

from collections.abc import Iterator
from pathlib import Path

from scripts.host.errors import TaskFailure
from scripts.sources.claims import Claim, Place, names, read_json
from triton_sdk import labels
from triton_sdk.errors import ConfigurationError

_USUAL = ("labels.txt", "classes.txt", "label.txt", "class_names.txt", "synset.txt", "labels.json", "classes.json")


def claims(folder: Path, *, stem: str) -> Iterator[Claim]:
    """Yield the names of classes that stand in *folder*, for a model whose file is called *stem*.

    Raises:
        TaskFailure: If such a file cannot be read, or holds no names.
    """
    usual = [folder / name for name in (*_USUAL, f"{stem}.txt", f"{stem}.labels.txt")]
    others = [path for path in sorted(folder.glob("*.names")) if path.name != f"{stem}.names"]
    for path in [folder / f"{stem}.names", *usual, *others]:
        if path.is_file():
            yield Place("beside the file", path.name).claim("labels", read_names(path), "the names")


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
