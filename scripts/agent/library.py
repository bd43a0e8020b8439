"""Where a version's bytes come from: the image's folder, or the store, fetched and verified."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.agent import files
from scripts.agent.errors import AgentError, StoreError
from scripts.agent.plan import is_model_name, is_version
from scripts.agent.store import Store, StoredVersion, free_bytes

# What has to stay free beside a fetched version: Triton and its logs write too.
_SPARE_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Found:
    """A version on this machine.

    Attributes:
        path: Its files.
        shared: The folder with the model's configuration and labels.
        digest: What names its bytes.
        source: ``"image"`` or ``"store"``.
    """

    path: Path
    shared: Path
    digest: str
    source: str


@dataclass(kw_only=True)
class Library:
    """All versions that can be had here.

    Attributes:
        image: The folder with the models of the image, or a laptop's model repository.
        fetched: Where versions of the store are put.
        store: The store; None: there is none.
    """

    image: Path
    fetched: Path
    store: Store | None = None
    _digests: dict[Path, str] = field(default_factory=dict)

    def in_image(self) -> Mapping[str, tuple[int, ...]]:
        """Return the versions that the image has of each model."""
        found = {}
        for folder in sorted(self.image.iterdir()) if self.image.is_dir() else ():
            if not is_model_name(folder.name) or not (folder / "config.pbtxt").is_file():
                continue
            numbers = sorted(int(path.name) for path in folder.iterdir() if path.is_dir() and is_version(path.name))
            if numbers:
                found[folder.name] = tuple(numbers)
        return found

    def get(self, model: str, version: int, *, digest: str | None, moved: Callable[[int], None]) -> Found:
        """Return a version, fetched from the store if need be.

        Args:
            model: The model's name.
            version: Its number.
            digest: What its bytes must have; None: any.
            moved: Told of each part's bytes while it is fetched.

        Raises:
            AgentError: If it cannot be had, or has other bytes everywhere.
        """
        path = self.image / model / str(version)
        here = None
        if path.is_dir():
            here = Found(path=path, shared=path.parent, digest=self._digest(path), source="image")
            if digest in (None, here.digest):
                return here
        if self.store is None:
            raise AgentError(
                f"The image holds other bytes as version {version} than the plan names."
                if here
                else f"The image does not hold version {version}, and there is no store (MODEL_STORE)."
            )
        stored = self.store.find(model, version)
        if stored is None:
            raise StoreError(f"Neither the image nor {self.store.objects.address} holds version {version}.")
        if digest not in (None, stored.digest):
            raise StoreError(
                f"{self.store.objects.address} holds other bytes as version {version} than the plan names (digest "
                f"{stored.digest[:12]}, the plan's {str(digest)[:12]})."
            )
        return self._fetched(self.store, stored, moved)

    def describe(self, path: Path) -> tuple[str, str]:
        """Return the digest and the source of the version whose files are in *path*."""
        return self._digest(path), "image" if path.is_relative_to(self.image) else "store"

    def _fetched(self, store: Store, stored: StoredVersion, moved: Callable[[int], None]) -> Found:
        """Return the stored version's files on this machine; they appear by a rename, whole and verified."""
        folder = self.fetched / stored.model / f"{stored.version}-{stored.digest[:16]}"
        shared = self.image / stored.model
        if not (shared / "config.pbtxt").is_file():
            shared = folder / "shared"
        found = Found(path=folder / "version", shared=shared, digest=stored.digest, source="store")
        if folder.is_dir():
            return found
        needed = sum(file.size for file in (*stored.files.values(), *stored.shared.values()))
        folder.parent.mkdir(parents=True, exist_ok=True)
        if (free := free_bytes(folder.parent)) < needed + _SPARE_BYTES:
            raise AgentError(
                f"Version {stored.version} takes {needed >> 20} MiB, and {free >> 20} MiB are free in {folder.parent}."
            )
        unfinished = folder.with_name(f".{folder.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            store.fetch(stored, unfinished / "version", moved)
            for name, file in stored.shared.items():
                store.fetch_file(file, unfinished / "shared" / name, moved)
            unfinished.rename(folder)
        except OSError as error:
            raise AgentError(f"Version {stored.version} cannot be written: {error.strerror or error}.") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return found

    def _digest(self, path: Path) -> str:
        """Return the digest of a version, whose files never change."""
        if path not in self._digests:
            self._digests[path] = files.digest(files.scan(path))
        return self._digests[path]
