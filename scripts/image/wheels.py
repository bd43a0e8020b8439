"""Packages for an image, fetched and checked here, so that the build needs no network."""

import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.host import temporary
from scripts.host.errors import TaskFailure
from scripts.host.shell import Command, Runner


def pip_command(listed: Path, target: Path, *, tags: Sequence[str]) -> Command:
    """Return the command that unpacks the packages in *listed*, each with its hash, into *target*.

    Args:
        listed: A requirements file.
        target: A folder.
        tags: pip's options for the Python and the machine that they are for.
    """
    return Command(
        (
            sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-compile",
            "--require-hashes", "--no-deps", "--only-binary=:all:", *tags, f"--target={target}",
            f"--requirement={listed}",
        )
    )  # fmt: skip


def unpack(requirements: str, target: Path, *, tags: Sequence[str], runner: Runner) -> None:
    """Unpack the packages that *requirements* names, each with its hash, into the folder *target*.

    Raises:
        TaskFailure: If they cannot be had.
    """
    with temporary.folder("wheels") as folder:
        listed = folder / "requirements.txt"
        listed.write_text(requirements, encoding="utf-8")
        done = runner.stream(pip_command(listed, target, tags=tags), show=lambda _: None)
    if done.status:
        raise TaskFailure(
            f"The image's packages cannot be fetched; pip ended with status {done.status}:\n{done.output}\n"
            "Check that the package index can be reached (pip's own settings and PIP_* variables apply)."
        )
