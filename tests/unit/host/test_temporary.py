"""Folders of tasks: what a killed one left goes with the next, and nothing of anybody else's."""

import fcntl
import os
import stat
import tempfile
from pathlib import Path

import pytest

from scripts.host import temporary


def left_behind(where: Path, name: str) -> Path:
    """Make what a killed task leaves, long ago."""
    folder = where / f"triton-task-{name}"
    (folder / "push").mkdir(parents=True)
    (folder / "push" / "config.json").write_text("a login", encoding="utf-8")
    (folder / "lock").touch()
    os.utime(folder, (0, 0))
    return folder


def test_a_folder_goes_with_its_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called as it was asked, empty, and closed to others."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary.folder("image") as folder:
        assert (folder.name, list(folder.iterdir())) == ("image", [])
        assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)} == {0o700}
        (folder / "context").touch()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_task_left_goes_with_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a task uses stays, and one that may be about to be used."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    used, _, young = (left_behind(tmp_path, name) for name in ("used", "abandoned", "young"))
    os.utime(young)
    with (used / "lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        with temporary.folder("push"):
            pass
    assert sorted(tmp_path.iterdir()) == [used, young]


def test_a_folder_in_use_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another task beside it leaves it alone, however long it takes."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary.folder("push") as folder:
        os.utime(folder.parent, (0, 0))
        with temporary.folder("push") as other:
            assert other != folder
        assert folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_task_s_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's own folder that is called alike has no lock in it; a link leads to what is no task's."""
    mine, target = tmp_path / "triton-task-notes", tmp_path / "mine"
    for folder in (mine, target):
        folder.mkdir()
        os.utime(folder, (0, 0))
    (target / "lock").touch()
    os.utime(target, (0, 0))
    (tmp_path / "triton-task-link").symlink_to(target)
    temporary.remove_abandoned(tmp_path)
    # Of others nothing is opened: a named pipe would hold the task up for ever.
    others = tmp_path / "triton-task-others"
    others.mkdir()
    os.mkfifo(others / "lock")
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    temporary.remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "mine",
        *(f"triton-task-{n}" for n in ("notes", "link", "others")),
    }
    assert (target / "lock").exists()
