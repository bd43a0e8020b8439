"""What is refused before a server is asked."""

from pathlib import Path

import pytest

from scripts.compare.run import Wanted
from scripts.compare.verdict import Limits
from scripts.host.errors import TaskFailure


@pytest.mark.parametrize(
    ("versions", "images", "words"),
    [
        ((2, 2), ".", "both say version 2: give two versions"),
        ((1, 2), "nowhere", "nowhere cannot be read: No such file"),
        ((1, 2), "n" * 300, "cannot be read: File name too long"),
        ((1, 2), "outputs.json", "outputs.json is neither a folder of pictures nor a .csv file"),
    ],
)
def test_what_cannot_be_compared_is_refused(versions: tuple[int, int], images: str, words: str, tmp_path: Path) -> None:
    """The same version twice, no pictures, and lists that compare does not take."""
    (tmp_path / "outputs.json").write_text("{}")
    with pytest.raises(TaskFailure, match=words):
        Wanted(model="pets", versions=versions, images=tmp_path / images, labels=None, limits=Limits(), callers=0)
