"""The file of the report: whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from scripts.host.errors import TaskFailure


def check(path: Path) -> None:
    """Look whether *path* can be written, so that minutes of measuring are not lost, and leave nothing there.

    Raises:
        TaskFailure: If it cannot.
    """
    with _failing(path):
        if path.is_dir():
            raise TaskFailure(f"--report {path} is a folder: name the file, for example {path / 'report.html'}.")
        there = next(folder for folder in path.absolute().parents if folder.exists())
        if not there.is_dir():
            raise TaskFailure(f"--report {path} cannot be written: {there} is a file, not a folder.")
        made = [folder for folder in path.absolute().parents if not folder.exists()]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = _beside(path)
            unfinished.touch()
            unfinished.unlink()
        finally:
            for folder in made:
                with contextlib.suppress(OSError):
                    folder.rmdir()


def write(path: Path, text: str) -> None:
    """Write the report in one step: whoever reads *path* meanwhile sees the old file or the new one.

    Raises:
        TaskFailure: If it cannot be written.
    """
    unfinished = _beside(path)
    with _failing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def _failing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TaskFailure(f"--report {path} cannot be written: {error.strerror or error}.") from error


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")
