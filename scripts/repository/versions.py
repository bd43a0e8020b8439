"""Which versions a model repository holds, as Triton reads its folders."""

import re
import shlex
from pathlib import Path

import attrs

from scripts.host.errors import TaskFailure
from scripts.repository import manifest
from scripts.repository.manifest import Manifest

CONFIG = "config.pbtxt"
# The graph that Triton takes if config.pbtxt names no other.
MODEL = "model.onnx"
# What stays unquoted in URLs, metrics and shells; a blank makes the Python backend's child process abort at load.
_SANE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@attrs.frozen(kw_only=True)
class PackagedVersion:
    """A version in a repository.

    Attributes:
        model: The model's name.
        version: Its number.
        path: Its folder.
        manifest: What was written when it was packaged; None where this project did not package it, or it is broken.
    """

    model: str
    version: int
    path: Path
    manifest: Manifest | None

    @property
    def summary(self) -> str:
        """What it takes and gives, in a line."""
        if self.manifest is None:
            return "no manifest: packaged by something else"
        return f"{self.manifest.contract.input} -> {self.manifest.contract.output}"


def packaged(repository: Path) -> list[PackagedVersion]:
    """Return the versions in *repository*, by model and number; none where there is no such folder."""
    if not repository.is_dir():
        return []
    return [
        PackagedVersion(model=folder.name, version=number, path=path, manifest=_manifest_in(path))
        for folder in sorted(repository.iterdir())
        if not folder.name.startswith(".")
        for number, path in version_folders(folder).items()
    ]


def check_place(repository: Path) -> None:
    """Check that *repository* can be a repository, which holds models, and is not the folder of one.

    Raises:
        TaskFailure: If it is.
    """
    if (repository / CONFIG).is_file():
        raise TaskFailure(
            f"{repository} is the folder of one model, because {CONFIG} lies in it. Name the folder that holds the "
            f"models: --repository {shlex.quote(str(repository.parent))}"
        )


def require(repository: Path) -> list[PackagedVersion]:
    """Return the versions in *repository*, of which there must be one.

    Raises:
        TaskFailure: If there is none; the message says how to package one.
    """
    check_place(repository)
    if not (found := packaged(repository)):
        where = f"in {repository}" if repository.is_dir() else f"in {repository}, which is no folder"
        raise TaskFailure(
            f"No model version is packaged {where}: there is nothing to serve. Package one first:\n"
            "  invoke package-model --model resnet50                     (real weights, from the internet)\n"
            "  invoke package-model --model resnet50 --weights seeded    (made here, no internet needed)"
        )
    return found


def version_folders(folder: Path) -> dict[int, Path]:
    """Return the folders of *folder* that Triton takes for versions, in order."""
    if not folder.is_dir():
        return {}
    found = {int(path.name): path for path in folder.iterdir() if path.is_dir() and is_version(path.name)}
    return dict(sorted(found.items()))


def is_version(name: str) -> bool:
    """Return whether Triton takes a folder of this name for a version: a positive whole number, no zero before it."""
    return name.isascii() and name.isdigit() and not name.startswith("0")


def _manifest_in(version: Path) -> Manifest | None:
    try:
        return manifest.read(version / manifest.FILE)
    except TaskFailure:
        return None  # the linter says what is wrong with it


def is_sane_name(name: str) -> bool:
    """Return whether *name* can name a model everywhere it has to appear."""
    return len(name) <= 64 and _SANE_NAME.fullmatch(name) is not None
