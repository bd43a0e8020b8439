"""The folder that Triton serves: links to versions, and one configuration a model with the plan's version policy.

Triton reloads every version of a model whose folder changes beside the versions (docs/versions-in-production.md).
Therefore a model's folder is put in place once and whole; from then on only links to versions come and go, and
``config.pbtxt`` is replaced by a rename when the policy changes. Nothing unfinished ever lies in it.
"""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.agent import pbtxt
from scripts.agent.errors import AgentError
from scripts.agent.plan import CANDIDATE, TRIAL, is_version

CONFIG = "config.pbtxt"
_CONFIGS = "configs"
_POLICY = re.compile(r"^version_policy \{ specific \{ versions: \[ ([0-9, ]*) \] \} \}$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Served:
    """The served folder.

    Attributes:
        folder: Triton's model repository.
        work: What is unfinished, on the same file system and outside of *folder*.
        config_name: The configuration of a model that is taken from its ``configs/`` if it has that one: ``"gpu"``.
            Empty: ``config.pbtxt`` always.
        overrides: A folder with configurations that win over the models' own, as ``MODEL.pbtxt``; None: there is none.
    """

    folder: Path
    work: Path
    config_name: str = ""
    overrides: Path | None = None

    def create(self) -> None:
        """Make the folders, and remove what an earlier run left unfinished."""
        for folder in (self.folder, self.work):
            folder.mkdir(parents=True, exist_ok=True)
        for left in self._unfinished().iterdir():
            _remove(left)

    def models(self) -> list[str]:
        """Return the names of the models in the folder."""
        return sorted(path.name for path in self.folder.iterdir())

    def put_model(self, name: str, *, shared: Path, versions: dict[int, Path]) -> None:
        """Put a new model in place, whole: its shared files, links to *versions*, and a policy that serves them.

        Args:
            name: The model's name on the server.
            shared: The folder with ``config.pbtxt``, labels and the like; version folders in it are left out.
            versions: Where each version's files are.

        Raises:
            AgentError: If its configuration cannot be read or written.
        """
        with self._new(name) as folder, _errors(shared):
            folder.mkdir()
            for path in shared.iterdir():
                if path.name in (CONFIG, _CONFIGS) or (path.is_dir() and is_version(path.name)):
                    continue
                if path.is_dir():
                    shutil.copytree(path, folder / path.name)
                else:
                    shutil.copyfile(path, folder / path.name)
            text = pbtxt.named(self._config(name, shared).read_text("utf-8"), name)
            (folder / CONFIG).write_text(pbtxt.serving(text, versions=sorted(versions)), "utf-8")
            for version, target in versions.items():
                (folder / str(version)).symlink_to(target)
            folder.rename(self.folder / name)

    def remove_model(self, name: str) -> None:
        """Remove a model, which Triton has unloaded, at once."""
        with self._new(name) as folder, contextlib.suppress(FileNotFoundError):
            (self.folder / name).rename(folder)

    def versions(self, name: str) -> dict[int, Path]:
        """Return the versions that the model's folder links to, and where their files are."""
        try:
            entries = [path for path in (self.folder / name).iterdir() if path.is_symlink() and is_version(path.name)]
        except FileNotFoundError:
            return {}
        return {int(path.name): path.readlink() for path in entries}

    def link(self, name: str, version: int, target: Path) -> None:
        """Let the model have *version*, whose files are in *target*; its policy does not serve it yet."""
        with self._new(name) as link, _errors(self.folder / name):
            link.symlink_to(target)
            link.replace(self.folder / name / str(version))

    def unlink(self, name: str, version: int) -> None:
        """Take *version*, which the policy does not serve, out of the model's folder."""
        (self.folder / name / str(version)).unlink(missing_ok=True)

    def policy(self, name: str) -> tuple[int, ...]:
        """Return the versions that the model's configuration serves; none where there is no such model."""
        try:
            text = (self.folder / name / CONFIG).read_text("utf-8")
        except FileNotFoundError:
            return ()
        found = _POLICY.findall(text)
        return tuple(int(number) for number in found[-1].split(",") if number.strip()) if found else ()

    def set_policy(self, name: str, versions: Iterable[int]) -> None:
        """Let the model's configuration serve just *versions*, by a rename."""
        path = self.folder / name / CONFIG
        with self._new(name) as new, _errors(path):
            new.write_text(pbtxt.serving(path.read_text("utf-8"), versions=sorted(versions)), "utf-8")
            new.replace(path)

    def is_batched(self, name: str) -> bool:
        """Return whether requests for the model carry a batch axis."""
        text = (self.folder / name / CONFIG).read_text("utf-8")
        return pbtxt.number(text, "max_batch_size") > 0

    def _config(self, name: str, shared: Path) -> Path:
        """Return the configuration that counts here, for a model or for a version of it on trial."""
        if self.overrides is not None:
            own = self.overrides / f"{name.removesuffix(CANDIDATE).removesuffix(TRIAL)}.pbtxt"
            if own.is_file():
                return own
        named = shared / _CONFIGS / f"{self.config_name}.pbtxt"
        return named if self.config_name and named.is_file() else shared / CONFIG

    def _unfinished(self) -> Path:
        folder = self.work / "unfinished"
        folder.mkdir(exist_ok=True)
        return folder

    @contextlib.contextmanager
    def _new(self, name: str) -> Iterator[Path]:
        """Give a path that nothing has yet, and remove what is left there."""
        path = self._unfinished() / f"{name}.{secrets.token_hex(4)}"
        try:
            yield path
        finally:
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _errors(where: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise AgentError(f"{where}: the configuration is not UTF-8.") from error
    except OSError as error:
        raise AgentError(f"{error.filename or where}: {os.strerror(error.errno or 0)}.") from error
