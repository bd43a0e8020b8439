"""Build a folder out of sight, then make it appear whole.

What is being built lies hidden beside the repository, never in it: Triton lists every folder in it as a model. A
lock file, held open by the run that owns the folder, tells a folder in use from one that a killed run left behind.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from scripts.host.errors import TaskFailure

_FOLDER_MODE = 0o755
_FILE_MODE = 0o644


class TakenError(Exception):
    """Another run published under this name first."""


@contextlib.contextmanager
def stage(repository: Path) -> Iterator[Path]:
    """Give an empty folder beside *repository*, on its filesystem, that is gone afterwards; remove dead runs' first.

    Args:
        repository: The model repository, resolved; it need not exist, its parent must.

    Raises:
        TaskFailure: If nothing can be written beside the repository, or it lies on a filesystem of its own.
    """
    parent = repository.parent
    if not parent.is_dir():
        raise TaskFailure(f"The folder {parent}, which should hold {repository.name}, does not exist. Create it first.")
    if repository.exists() and not repository.is_dir():
        raise TaskFailure(f"{repository} is no folder. Name the folder that holds the models.")
    if repository.exists() and repository.stat().st_dev != parent.stat().st_dev:
        raise TaskFailure(
            f"{repository} is a mount point: nothing beside it can be moved into it in one step. Package into a folder "
            "within another one, or mount the folder above it."
        )
    try:
        _remove_abandoned(repository)
        folder, lock = _create(repository)
    except OSError as error:
        raise TaskFailure(
            f"Nothing can be written in {parent}, where a new version is built before it is moved into "
            f"{repository.name}: {error.strerror or error}. Make the folder writable, or choose another repository."
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _lock_path(folder).unlink(missing_ok=True)
        os.close(lock)


def publish_folder(built: Path, *, target: Path) -> None:
    """Make the folder *built* appear as *target*, whole and on disk, or not at all.

    Raises:
        TakenError: If there is something under that name already.
        TaskFailure: If it cannot be moved there.
    """
    settle(built)
    try:
        # Refuses a folder that holds something, whoever made it and whenever; an empty one is replaced.
        built.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise TakenError(str(target)) from error
        hint = "Both must lie on one filesystem." if error.errno == errno.EXDEV else "Make its folder writable."
        raise TaskFailure(f"{target} cannot be written: {error.strerror}. {hint}") from error
    _sync(target.parent)


@contextlib.contextmanager
def replaced(path: Path, text: str, *, folder: Path) -> Iterator[None]:
    """Replace the text of *path* in one step, keeping its mode, and hold the new file as `locked` held the old one.

    Who comes while more is to be done would otherwise find a file that nobody holds. *folder* is a staging folder on
    the file's filesystem.
    """
    path = path.resolve()
    new = folder / f".{path.name}.new"
    new.write_text(text, encoding="utf-8", newline="")
    new.chmod(path.stat().st_mode & 0o777)
    descriptor = os.open(new, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.fsync(descriptor)
        new.replace(path)
        _sync(path.parent)
        yield
    finally:
        os.close(descriptor)


def add(path: Path, text: str, *, folder: Path) -> None:
    """Make a file *path* with *text* appear whole; *folder* is a staging folder on its filesystem."""
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(_FOLDER_MODE)
    new = folder / f".{path.name}.new"
    new.write_text(text, encoding="utf-8", newline="")
    new.chmod(_FILE_MODE)
    _sync(new)
    new.replace(path)
    _sync(path.parent)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file *path* for this run alone, even while others replace it; wait for whoever holds it.

    Raises:
        TaskFailure: If it cannot be opened for writing, which network filesystems ask of whoever locks.
    """
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise TaskFailure(f"{path} cannot be changed: {error.strerror}. Make it writable.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever held it before us may have put another file in its place: then lock that one.
            if _is_still(descriptor, path):
                yield
                return
        finally:
            os.close(descriptor)


def settle(folder: Path) -> None:
    """Make everything below *folder* readable for all, whatever the umask, and write it to disk.

    The server often runs as another user than the one who packaged.
    """
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod(_FOLDER_MODE if path.is_dir() else _FILE_MODE)
        _sync(path)
    folder.chmod(_FOLDER_MODE)
    _sync(folder)


def create_repository(repository: Path) -> None:
    """Create the repository's folder where it is missing."""
    with contextlib.suppress(FileExistsError):
        repository.mkdir()
        repository.chmod(_FOLDER_MODE)


def _prefix(repository: Path) -> str:
    return f".{repository.name}.staging-"


def _lock_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _create(repository: Path) -> tuple[Path, int]:
    """Return a new staging folder and the descriptor that holds its lock."""
    while True:
        folder = repository.with_name(f"{_prefix(repository)}{secrets.token_hex(4)}")
        lock = os.open(_lock_path(folder), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Between those two calls another run may have taken the file for abandoned, and removed it.
            if _is_still(lock, _lock_path(folder)):
                folder.mkdir(mode=0o700)
                return folder, lock
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            _lock_path(folder).unlink(missing_ok=True)
            os.close(lock)
            raise
        os.close(lock)


def _remove_abandoned(repository: Path) -> None:
    """Remove the staging folders whose owner is gone; the lock file goes last, so that a kill here loses nothing."""
    for path in repository.parent.glob(f"{_prefix(repository)}*.lock"):
        try:
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            continue  # its owner has just tidied up, or is another user, who will
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            pass  # in use
        finally:
            os.close(lock)


def _is_still(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
