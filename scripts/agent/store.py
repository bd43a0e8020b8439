"""The model store: published versions in a folder or in S3, each file by its SHA-256, a version's manifest last."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from scripts.agent import files
from scripts.agent.errors import StoreError, TakenError
from scripts.agent.files import File, Files
from scripts.agent.plan import is_model_name, is_version

SCHEMA = 1
_MANIFEST = "manifest.json"
# A manifest names a few files; what is longer is none.
_LARGEST_MANIFEST = 2**20

Moved = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class StoredVersion:
    """A published version.

    Attributes:
        model: The model's name.
        version: Its number.
        files: What lies in the version's folder.
        shared: What lay beside the versions when this one was published: ``config.pbtxt``, labels, ``configs/``.
    """

    model: str
    version: int
    files: Files
    shared: Files

    @property
    def digest(self) -> str:
        """What names the version's bytes."""
        return files.digest(self.files)

    def to_json(self) -> str:
        """Return the text of the store's manifest."""
        data = {
            "schema": SCHEMA,
            "model": self.model,
            "version": self.version,
            "files": files.to_dict(self.files),
            "shared": files.to_dict(self.shared),
            "digest": self.digest,
        }
        return json.dumps(data, indent=2, sort_keys=True) + "\n"


class Objects(Protocol):
    """Where a store keeps its bytes, by key; keys are relative paths."""

    @property
    def address(self) -> str:
        """What names it in messages."""

    def get(self, key: str, *, most: int) -> bytes | None:
        """Return a small object of at most *most* bytes, or None where there is none."""

    def size(self, key: str) -> int | None:
        """Return how many bytes an object has, or None where there is none."""

    def fetch(self, key: str, target: Path, moved: Moved) -> None:
        """Write an object into the new file *target*; *moved* is told of each part's bytes."""

    def put(self, key: str, source: Path, moved: Moved) -> None:
        """Write an object from a file, whole or not at all."""

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one; return whether it was written."""

    def changed(self, key: str) -> datetime | None:
        """Return when an object was written, or None where there is none."""

    def children(self, key: str) -> list[str]:
        """Return the names right below *key*, in order."""


@dataclass(frozen=True)
class Store:
    """The published versions.

    Attributes:
        objects: Where the bytes are.
    """

    objects: Objects

    def models(self) -> list[str]:
        """Return the names of the models that have a version here."""
        return [name for name in self.objects.children("models") if is_model_name(name)]

    def versions(self, model: str) -> list[int]:
        """Return the numbers of the model's published versions, in order."""
        numbers = sorted(int(name) for name in self.objects.children(f"models/{model}") if is_version(name))
        return [number for number in numbers if self.objects.size(_manifest_key(model, number)) is not None]

    def find(self, model: str, version: int) -> StoredVersion | None:
        """Return a published version, or None where there is none.

        Raises:
            StoreError: If the store cannot be read, or what it holds there is damaged.
        """
        key = _manifest_key(model, version)
        text = self.objects.get(key, most=_LARGEST_MANIFEST)
        if text is None:
            return None
        where = f"{self.objects.address}/{key}"
        try:
            data = json.loads(text)
            if data["schema"] != SCHEMA:
                raise StoreError(f"{where} has schema {data['schema']!r}; this version of the tool reads {SCHEMA}.")
            shared = data["shared"]
            found = StoredVersion(
                model=data["model"],
                version=data["version"],
                files=files.from_dict(data["files"], where=where),
                shared=files.from_dict(shared, where=where) if shared else {},
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StoreError(f"{where} is no manifest of a published version: {error!r}.") from error
        if (found.model, found.version) != (model, version):
            raise StoreError(f"{where} is the manifest of {found.model} version {found.version}.")
        if data.get("digest") != found.digest:
            raise StoreError(f"{where} is damaged: its digest does not belong to its files.")
        return found

    def fetch(self, version: StoredVersion, folder: Path, moved: Moved) -> None:
        """Write the version's files into the new folder *folder*, each verified.

        Raises:
            StoreError: If one cannot be fetched or holds other bytes than the manifest says.
        """
        folder.mkdir()
        for name, file in version.files.items():
            self.fetch_file(file, folder / name, moved)

    def fetch_file(self, file: File, target: Path, moved: Moved) -> None:
        """Write one file, verified.

        Raises:
            StoreError: If it cannot be fetched or holds other bytes than its name says.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        size = self.objects.size(_blob_key(file))
        if size not in (None, file.size):  # it might fill the disk
            raise StoreError(
                f"{self.objects.address}/{_blob_key(file)} is damaged: it holds {size} bytes, but {file.size} were "
                "published. Publish the version again."
            )
        self.objects.fetch(_blob_key(file), target, moved)
        found = files.measure(target)
        if found != file:
            target.unlink()
            raise StoreError(
                f"{self.objects.address}/{_blob_key(file)} is damaged: it holds {found.size} bytes with SHA-256 "
                f"{found.sha256}, but {file.size} were published. Publish the version again."
            )

    def read(self, file: File) -> bytes | None:
        """Return what a small file holds, or None where the store lacks it.

        Raises:
            StoreError: If the store cannot be read.
        """
        return self.objects.get(_blob_key(file), most=_LARGEST_MANIFEST)

    def published(self, model: str, version: int) -> datetime | None:
        """Return when a version was published, or None where it was not.

        Raises:
            StoreError: If the store cannot be read.
        """
        return self.objects.changed(_manifest_key(model, version))

    def lacks(self, file: File) -> bool:
        """Return whether the store has yet to get *file*: none is there, or one of another size."""
        return self.objects.size(_blob_key(file)) != file.size

    def publish(self, version: StoredVersion, folder: Path, moved: Moved) -> bool:
        """Upload what the store lacks of the version, then its manifest; return whether it was new.

        Args:
            version: What is published.
            folder: The model's folder: holds the shared files, and the version's in a folder of its number.
            moved: Told of each part's bytes, those that were there already included.

        Raises:
            TakenError: If the store holds other bytes under this number.
            StoreError: If it cannot be written.
        """
        self._refuse_other(version)
        inside = folder / str(version.version)
        for source, file in (
            *((inside / name, file) for name, file in version.files.items()),
            *((folder / name, file) for name, file in version.shared.items()),
        ):
            if self.lacks(file):
                self.objects.put(_blob_key(file), source, moved)
            else:
                moved(file.size)
        if self.objects.create(_manifest_key(version.model, version.version), version.to_json().encode()):
            return True
        self._refuse_other(version)  # somebody else was faster
        return False

    def _refuse_other(self, version: StoredVersion) -> None:
        found = self.find(version.model, version.version)
        if found is not None and found.digest != version.digest:
            raise TakenError(
                f"{self.objects.address} holds other bytes as {version.model} version {version.version} (digest "
                f"{found.digest[:12]}, yours {version.digest[:12]}). A published version never changes: package yours "
                "under the next number."
            )


def _manifest_key(model: str, version: int) -> str:
    return f"models/{model}/{version}/{_MANIFEST}"


def _blob_key(file: File) -> str:
    return f"blobs/{file.sha256[:2]}/{file.sha256}"
