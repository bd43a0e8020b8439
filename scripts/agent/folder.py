"""Objects of the model store in a folder."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from scripts.agent.errors import StoreError
from scripts.agent.store import Moved


@dataclass(frozen=True)
class Folder:
    """Objects in a folder: on NFS, in a volume, on a laptop.

    Attributes:
        root: The folder; `create` and `put` make what is missing below it, not itself.
    """

    root: Path

    @property
    def address(self) -> str:
        """What names it in messages."""
        return f"file://{self.root}"

    def get(self, key: str, *, most: int) -> bytes | None:
        """Return a small object, or None where there is none."""
        with self._errors(), self._opened(key) as file:
            if file is None:
                return None
            data: bytes = file.read(most + 1)
            if len(data) > most:
                raise StoreError(f"{self.address}/{key} has more than {most} bytes.")
            return data

    def size(self, key: str) -> int | None:
        """Return how many bytes an object has, or None where there is none."""
        with self._errors(), self._opened(key) as file:
            return None if file is None else os.fstat(file.fileno()).st_size

    def changed(self, key: str) -> datetime | None:
        """Return when an object was written, or None where there is none."""
        with self._errors(), self._opened(key) as file:
            return None if file is None else datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)

    def fetch(self, key: str, target: Path, moved: Moved) -> None:
        """Copy an object into the new file *target*."""
        with self._errors(), self._opened(key) as file:
            if file is None:
                raise StoreError(f"{self.address}/{key} is missing. Publish the version again.")
            with target.open("xb") as written:
                while part := file.read(2**20):
                    written.write(part)
                    moved(len(part))

    def put(self, key: str, source: Path, moved: Moved) -> None:
        """Copy a file into place by a rename."""
        with self._errors(), self._written(key) as (unfinished, path), source.open("rb") as file:
            with unfinished.open("xb") as written:
                while part := file.read(2**20):
                    written.write(part)
                    moved(len(part))
                written.flush()
                os.fsync(written.fileno())
            unfinished.replace(path)

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object by a link, which fails where there is one."""
        with self._errors(), self._written(key) as (unfinished, path):
            with unfinished.open("xb") as written:
                written.write(data)
                written.flush()
                os.fsync(written.fileno())
            try:
                os.link(unfinished, path)
            except FileExistsError:
                return False
            return True

    def children(self, key: str) -> list[str]:
        """Return the names right below *key*, in order."""
        with self._errors():
            try:
                return sorted(path.name for path in (self.root / key).iterdir() if not path.is_symlink())
            except (FileNotFoundError, NotADirectoryError):
                if not self.root.is_dir():
                    raise self._away() from None
                return []

    def _away(self) -> StoreError:
        return StoreError(
            f"The store's folder {self.root} is not there. Mount what holds it, or make a new one: invoke create-store"
        )

    @contextlib.contextmanager
    def _opened(self, key: str) -> Iterator[Any]:
        """Open an object for reading, or give None; a link on the way, which may lead out of the store, is refused."""
        place = self.root
        for part in key.split("/"):
            place = place / part
            if place.is_symlink():
                raise StoreError(f"{place} is a link. A store holds plain files: remove it.")
        try:
            file = place.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            if not self.root.is_dir():
                raise self._away() from None
            yield None
            return
        with file:
            yield file

    @contextlib.contextmanager
    def _written(self, key: str) -> Iterator[tuple[Path, Path]]:
        """Give an unfinished file's path and the final one, both on the store's file system."""
        if not self.root.is_dir():
            raise self._away()
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            yield unfinished, path
        finally:
            unfinished.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = error.filename or self.root
            raise StoreError(f"The store {self.address}: {what}: {error.strerror or error}.") from error


def folder_of(address: str) -> Path | None:
    """Return the folder that a ``file://`` address names, or None where it is no such address.

    Raises:
        StoreError: If it is one, but names no folder by its whole path.
    """
    parts = urlsplit(address)
    if parts.scheme != "file":
        return None
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.path == "/":
        raise StoreError(f"MODEL_STORE={address} names no folder: write file:///FOLDER, with three slashes.")
    return Path(unquote(parts.path))
