"""An environment for each peer, in the user's cache folder: what they pin must not touch each other or us."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import platformdirs

Progress = Callable[[str], None]

# What each peer needs; its own newest release at the time of writing, so that a run can be repeated.
PEERS: Final[Mapping[str, tuple[str, ...]]] = {
    "tritonclient": ("tritonclient[grpc]==2.73.0", "numpy", "pillow"),
    "pytriton": ("nvidia-pytriton==0.7.0", "pillow"),
    "tritony": ("tritony==0.0.23", "pillow"),
}


class NotInstalled(Exception):  # noqa: N818 - it stands for a state
    """A peer cannot be installed here; the text says why."""


def python_of(peer: str, *, progress: Progress, cache: Path | None = None) -> Path:
    """Return the interpreter that has *peer*, installed first where it is not there yet.

    Raises:
        NotInstalled: If pip cannot install it on this platform and Python.
    """
    wanted = PEERS[peer]
    digest = hashlib.sha256("\n".join((sys.version, sys.executable, *wanted)).encode()).hexdigest()[:12]
    folder = (cache or platformdirs.user_cache_path("triton-sdk") / "bench") / f"{peer}-{digest}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if complete.exists() and python.exists():
        return python
    progress(f"Installing {wanted[0]} into an environment of its own")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "virtualenv", "--quiet", str(folder)])
    _run([str(python), "-m", "pip", "install", "--quiet", *wanted])
    complete.touch()
    return python


def version_of(python: Path, distribution: str) -> str:
    """Return the version of *distribution* in the environment of *python*."""
    code = f"from importlib.metadata import version; print(version({distribution!r}))"
    return _run([str(python), "-c", code]).strip()


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise NotInstalled(" ".join(last) or f"{command[0]} failed with status {done.returncode}")
    return done.stdout
