"""The report as a browser would read it."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scripts.compare.comparison import Comparison
from scripts.compare.page import page
from scripts.compare.verdict import Limits
from tests.unit.compare.scene import ROOT, comparison, pair

VOID = {"meta", "img", "br"}


class Read(HTMLParser):
    """What stands in a page; reading it fails where a tag is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember it."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember one of a plot's, which is closed at once."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close the one that was opened last."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Remember it."""
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        """All words, with single blanks."""
        return " ".join(" ".join(self.words).split())

    def of(self, tag: str, kind: str) -> int:
        """Return how many *tag* have the class *kind*."""
        return sum(name == tag and kind in (attrs.get("class") or "").split() for name, attrs in self.tags)


def look(path: Path) -> NDArray[np.uint8]:
    """Return a picture of one colour."""
    assert path.parent == ROOT
    return np.full((8, 16, 3), 200, np.uint8)


def read(found: Comparison) -> Read:
    """Return the report of *found*, read."""
    return Read(page(found, look=look))


def cells(text: str) -> list[int]:
    """Return the numbers in the confusion of a page."""
    return [int(part.partition("<")[0].partition(">")[2]) for part in text.split("rgba(var(--heat)")[1:]]


PAIRS = [
    pair(0, 0, label=0, shift=0.0, name="same.jpg"),
    pair(0, 2, label=0, shift=0.4, name='"><img src=x>.jpg'),
    pair(0, 2, label=2, shift=0.5),
    pair(1, 3, label=6, shift=0.3),
    pair(4, 4, label=4, shift=0.02),
]


def test_nothing_is_fetched_and_nothing_runs() -> None:
    """No script, no address but pictures in the page itself, whatever files and classes are called."""
    found = read(comparison(PAIRS))
    addresses = [value for _, attrs in found.tags for name, value in attrs.items() if name in ("src", "href", "srcset")]
    assert len(addresses) == 4
    assert all((address or "").startswith("data:image/jpeg;base64,") for address in addresses)
    assert {"script", "link", "iframe"}.isdisjoint(tag for tag, _ in found.tags)
    policy = next(attrs["content"] for tag, attrs in found.tags if "http-equiv" in attrs)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert "<script>alert(1)</script> 70.0%" in found.text
    assert '"><img src=x>.jpg' in found.text
    text = page(comparison(PAIRS), look=look)
    assert "url(" not in text
    assert "@import" not in text


def test_pictures_are_in_the_page() -> None:
    """Those that differ, small, as the baseline sees them."""
    found = read(comparison(PAIRS))
    addresses = [attrs["src"] or "" for tag, attrs in found.tags if tag == "img"]
    for address in addresses:
        picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
        assert (picture.format, picture.size) == ("JPEG", (16, 8))
    assert (found.of("span", "lost"), found.of("span", "won"), found.of("span", "other")) == (
        1,
        1,
        2,
    )  # and the key of a plot
    assert "same.jpg" not in found.text


def test_every_picture_is_a_point_and_every_change_a_cell() -> None:
    """The plots and the confusion count what the figures count."""
    found = read(comparison(PAIRS))
    assert (found.of("circle", "same"), found.of("circle", "other")) == (2, 3)
    assert found.of("rect", "bar") == 7
    text = page(comparison(PAIRS), look=look)
    assert sorted(cells(text)) == [1, 2]
    assert [tag for tag, _ in found.tags].count("svg") == 4


def test_many_classes_share_a_row() -> None:
    """The confusion has ten classes and the rest in one; each change stays in it, once."""
    few = [pair(0, 1)] * 3
    assert "other classes" not in page(comparison(few), look=look)
    names = [f"class {number}" for number in range(30)]
    many = few + [pair(number, number + 1, names=names) for number in range(2, 28, 2)]
    text = page(comparison(many), look=look)
    assert sum(cells(text)) == len(many)
    assert "other classes" in text


def test_each_ruling_says_what_it_is() -> None:
    """Beyond, within, too few, or measured without a limit."""
    broken = read(comparison(PAIRS, limits=Limits(disagreement=0.1, loss=0.0)))
    assert "Beyond the limit. 3 of 5 pictures get another answer" in broken.text
    assert "Within the limit. The candidate is right" in broken.text
    open_ = read(comparison(PAIRS))
    assert "Too few pictures. 3 of 5" in open_.text
    assert "Note. A note." in open_.text
    alike = read(comparison([pair(0, 0, shift=0.0)] * 200))
    assert "Measured. 0 of 200 pictures" in alike.text
    assert "No picture got another best class." in alike.text
    assert "No probability differs in any picture." in alike.text


def test_it_is_for_small_and_dark_screens() -> None:
    """A width of its own for telephones, and colours for both."""
    text = page(comparison(PAIRS), look=look)
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in text
    assert "@media (prefers-color-scheme: dark)" in text
