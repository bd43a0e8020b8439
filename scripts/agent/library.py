"""Where a version's bytes come from: the image's folder, or the store, fetched and verified."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from scripts.agent import files
from scripts.agent.errors import AgentError, StoreError
from scripts.agent.plan import is_model_name, is_version
from scripts.agent.store import Store, StoredVersion

# What has to stay free beside a fetched version: Triton and its logs write too.
_SPARE_BYTES = 64 * 2**20
# What a fetched version's folder holds.
_VERSION, _SHARED = "version", "shared"


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
        room: How many bytes the fetched versions may take together; None: as many as the disk has.
    """

    image: Path
    fetched: Path
    store: Store | None = None
    room: int | None = None
    _digests: dict[tuple[Path, int], str] = field(default_factory=dict)
    _image: dict[str, tuple[int, ...]] | None = None

    def create(self) -> None:
        """Make the folders, and remove what an earlier run left unfinished."""
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._unfinished.mkdir(parents=True, exist_ok=True)

    @property
    def _unfinished(self) -> Path:
        return self.fetched / ".unfinished"

    def in_image(self) -> Mapping[str, tuple[int, ...]]:
        """Return the versions that the image had of each model when this was first asked.

        On a laptop more may be packaged while the server runs: nobody is served one of those before it is promoted.
        """
        if self._image is None:
            self._image = self._look()
        return self._image

    def _look(self) -> dict[str, tuple[int, ...]]:
        found = {}
        for folder in sorted(self.image.iterdir()) if self.image.is_dir() else ():
            if not is_model_name(folder.name) or not (folder / "config.pbtxt").is_file():
                continue
            numbers = sorted(int(path.name) for path in folder.iterdir() if path.is_dir() and is_version(path.name))
            if numbers:
                found[folder.name] = tuple(numbers)
        return found

    def in_image_as(self, model: str, version: int, *, digest: str | None) -> Found | None:
        """Return a version of the image; None where it has none, or one with another digest than *digest*.

        Raises:
            AgentError: If it cannot be read.
        """
        path = self.image / model / str(version)
        if not path.is_dir():
            return None
        found = Found(path=path, shared=path.parent, digest=self._digest(path), source="image")
        return found if digest in (None, found.digest) else None

    def from_store(self, model: str, version: int, *, digest: str | None, moved: Callable[[int], None]) -> Found:
        """Return a version that the image does not have, fetched from the store if it is not here yet.

        Args:
            model: The model's name.
            version: Its number.
            digest: What its bytes must have; None: any.
            moved: Told of each part's bytes while it is fetched.

        Raises:
            AgentError: If it cannot be had, or has other bytes everywhere.
        """
        if digest is not None and (kept := self._kept(model, version, digest)).path.is_dir():
            return kept  # whether the store answers or not
        if self.store is None:
            other = (self.image / model / str(version)).is_dir()
            raise AgentError(
                f"The image holds other bytes as version {version} than the plan names, and there is no store "
                "(MODEL_STORE) to fetch them from."
                if other
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

    def prune(self, used: Set[Path]) -> None:
        """Remove the fetched versions whose files are none of *used*."""
        for folder in self.fetched.glob("*/*"):
            if folder / _VERSION not in used and folder.parent != self._unfinished:
                shutil.rmtree(folder, ignore_errors=True)

    def _kept(self, model: str, version: int, digest: str) -> Found:
        """Return where a fetched version lies, or would."""
        folder = self.fetched / model / f"{version}-{digest[:16]}"
        shared = self.image / model
        if not (shared / "config.pbtxt").is_file():
            shared = folder / _SHARED
        return Found(path=folder / _VERSION, shared=shared, digest=digest, source="store")

    def _fetched(self, store: Store, stored: StoredVersion, moved: Callable[[int], None]) -> Found:
        """Return the stored version's files on this machine; they appear by a rename, whole and verified."""
        found = self._kept(stored.model, stored.version, stored.digest)
        folder = found.path.parent
        if folder.is_dir():
            return found
        needed = sum(file.size for file in (*stored.files.values(), *stored.shared.values()))
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AgentError(f"{folder.parent}: {error.strerror}.") from error
        if (free := self._free(folder.parent)) < needed + _SPARE_BYTES:
            raise AgentError(
                f"Version {stored.version} takes {needed >> 20} MiB, and {free >> 20} MiB are free in {folder.parent}."
            )
        unfinished = self._unfinished / secrets.token_hex(8)
        try:
            unfinished.mkdir()
            store.fetch(stored, unfinished / _VERSION, moved)
            for name, file in stored.shared.items():
                store.fetch_file(file, unfinished / _SHARED / name, moved)
            unfinished.rename(folder)
        except OSError as error:
            if folder.is_dir():
                return found  # it was fetched twice at once
            raise AgentError(f"Version {stored.version} cannot be written: {error.strerror or error}.") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return found

    def _free(self, folder: Path) -> int:
        """Return how many bytes can be written into *folder*: a volume's limit may be below what its disk has."""
        free = shutil.disk_usage(folder).free
        if self.room is None:
            return free
        taken = 0
        for root, _, names in os.walk(self.fetched):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # what is no longer needed goes meanwhile
                    taken += Path(root, name).lstat().st_size
        return max(0, min(free, self.room - taken))

    def _digest(self, path: Path) -> str:
        """Return the digest of a version, whose files never change."""
        try:
            key = (path, path.stat().st_ino)
        except OSError as error:
            raise AgentError(f"{path}: {error.strerror}.") from error
        if key not in self._digests:
            self._digests[key] = files.digest(files.scan(path))
        return self._digests[key]
