"""Where the report is written: looked at before anything is measured."""

from pathlib import Path

import pytest

from scripts.compare.written import check, write
from scripts.host.errors import TaskFailure


@pytest.mark.parametrize("path", ["report.html", "new/folder/report.html"])
def test_looking_leaves_nothing(path: str, tmp_path: Path) -> None:
    """Neither a file nor a folder; what was there stays."""
    (tmp_path / "other").write_text("mine")
    check(tmp_path / path)
    assert [found.name for found in tmp_path.rglob("*")] == ["other"]
    write(tmp_path / path, "new")
    check(tmp_path / path)
    assert (tmp_path / path).read_text() == "new"
    write(tmp_path / path, "newer")
    assert [found.name for found in (tmp_path / path).parent.glob("*.html")] == ["report.html"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (".", "is a folder"),
        ("file/report.html", "file is a file, not a folder"),
        ("n" * 300, "too long"),
    ],
)
def test_what_cannot_be_written_is_refused(path: str, words: str, tmp_path: Path) -> None:
    """One message with the reason, before and after the work."""
    (tmp_path / "file").write_text("")
    with pytest.raises(TaskFailure, match=words):
        check(tmp_path / path)
    with pytest.raises(TaskFailure, match="cannot be written"):
        write(tmp_path / path, "text")
    assert [found.name for found in tmp_path.rglob("*")] == ["file"]
