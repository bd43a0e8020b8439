"""Find out before a server starts what would keep it from starting."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from triton_sdk._checks import path, seconds, several
from triton_sdk.errors import LocalServerError

SHARED_MEMORY = Path("/dev/shm")
# Each instance of a version has a shared-memory region of this size, which grows to the largest batch it has seen.
REGION_BYTES = 1 << 20
# Below this for each version, batches of images may not fit: 32 FP32 images of 224 x 224 take 20 MiB.
COMFORT_BYTES = 32 << 20


def usable(repository: object, args: object, start_timeout: float) -> tuple[Path, tuple[str, ...], float]:
    """Return the arguments of a server as it uses them.

    Raises:
        ConfigurationError: If one cannot be used.
    """
    path(repository, "repository", "the path of the folder that holds the models", needed=True)
    given = several(args, "args", "a list of arguments, such as ['--log-verbose=1'],")
    return Path(cast(str, repository)).absolute(), tuple(given), seconds(start_timeout, "start_timeout")


def check_repository(repository: Path, args: Sequence[str], *, progress: Callable[[str], None]) -> None:
    """Check that *repository* holds a model, unless *args* let models come later, and tell what is left out.

    Raises:
        LocalServerError: If it does not.
    """
    if not repository.is_dir():
        raise LocalServerError(f"The model repository {repository} is not there, or is not a folder.")
    if (repository / "config.pbtxt").is_file():
        raise LocalServerError(
            f"{repository} is the folder of one model, because config.pbtxt lies in it. Give the folder that holds it: "
            f"{repository.parent}"
        )
    if _chosen(args):
        return
    if not any(repository.glob("*/config.pbtxt")):
        raise LocalServerError(
            f"The model repository {repository} holds no model: each is a folder with a config.pbtxt and a folder for "
            "each version."
        )
    if not _models(repository):
        raise LocalServerError(
            f"No model in {repository} has a version: there is nothing to serve. A version is a folder such as 1 with "
            "the model's file in it."
        )
    if names := left_out(repository):
        progress(f"Leaving out {', '.join(names)}: it has no version")


def left_out(repository: Path) -> list[str]:
    """Return the models in *repository* that have a configuration and no version, in order: Triton refuses them."""
    ready = _models(repository)
    return [path.parent.name for path in sorted(repository.glob("*/config.pbtxt")) if path.parent.name not in ready]


def model_choice(repository: Path, args: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the flags that load the models with a version alone; none where all have one, or *args* choose already."""
    if _chosen(args) or not left_out(repository):
        return ()
    return ("--model-control-mode=explicit", *(f"--load-model={name}" for name in _models(repository)))


def _chosen(args: Sequence[str]) -> bool:
    return any(arg.startswith("--model-control-mode") for arg in args)


def _models(repository: Path) -> list[str]:
    """Return the models that have a version, in order: a folder named by a positive number without a zero before it."""
    found = {path.parent.name for path in repository.glob("*/[1-9]*/") if path.name.isascii() and path.name.isdigit()}
    return sorted(name for name in found if not name.startswith("."))


def check_shared_memory(repository: Path, *, progress: Callable[[str], None], free: int | None = None) -> None:
    """Check that the versions in *repository* fit into shared memory, of which *free* bytes are left.

    Raises:
        LocalServerError: If they cannot.
    """
    if free is None:
        state = os.statvfs(SHARED_MEMORY)
        free = state.f_bavail * state.f_frsize
    versions = sum(1 for folder in repository.glob("*/*/") if folder.name.isdigit())
    advice = "In Docker, start the container with --shm-size=1g (its default is 64 MiB)."
    if free < versions * REGION_BYTES:
        raise LocalServerError(
            f"{SHARED_MEMORY} has {free >> 20} MiB left, too little for {versions} model versions, which need "
            f"{REGION_BYTES >> 20} MiB each to start. {advice}"
        )
    if free < versions * COMFORT_BYTES:
        progress(
            f"{SHARED_MEMORY} has only {free >> 20} MiB left for {versions} model versions: large batches may fail. "
            f"{advice}"
        )
