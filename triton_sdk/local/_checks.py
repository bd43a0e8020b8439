"""Find out before a server starts what would keep it from starting."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from triton_sdk.errors import LocalServerError

SHARED_MEMORY = Path("/dev/shm")
# Each instance of a version has a shared-memory region of this size, which grows to the largest batch it has seen.
REGION_BYTES = 1 << 20
# Below this for each version, batches of images may not fit: 32 FP32 images of 224 x 224 take 20 MiB.
COMFORT_BYTES = 32 << 20


def check_repository(repository: Path, args: Sequence[str]) -> None:
    """Check that *repository* holds a model, unless *args* let models come later.

    Raises:
        LocalServerError: If it does not.
    """
    if not repository.is_dir():
        raise LocalServerError(f"The model repository {repository} is not there, or is not a folder.")
    if any(arg.startswith("--model-control-mode") for arg in args):
        return
    if not any(repository.glob("*/config.pbtxt")):
        raise LocalServerError(
            f"The model repository {repository} holds no model: each is a folder with a config.pbtxt and a folder for "
            "each version."
        )


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
