from pathlib import Path

import pytest

from triton_sdk import labels
from triton_sdk.errors import ConfigurationError


def test_imagenet_names_are_in_index_order() -> None:
    """The packaged names are ImageNet's thousand, at the indices that its models use."""
    names = labels.imagenet()
    assert len(names) == 1000
    assert (names[0], names[1], names[999]) == ("tench", "goldfish", "toilet tissue")
    assert [name for name in names if names.count(name) > 1] == ["crane", "crane", "maillot", "maillot"]
    assert all(name == name.strip() != "" for name in names)


@pytest.mark.parametrize(
    "content",
    ["cat\ndog\nœuf dur\n", "cat\r\ndog\r\nœuf dur", "\ufeffcat\ndog \n  œuf dur\n\n \n"],
    ids=["plain", "windows", "byte-order-mark-and-spaces"],
)
def test_a_line_is_a_class(tmp_path: Path, content: str) -> None:
    """Line ends, a byte order mark, spaces and blank lines at the end leave no trace in the names."""
    path = tmp_path / "labels.txt"
    path.write_bytes(content.encode())
    assert labels.read(path) == labels.read(str(path)) == ("cat", "dog", "œuf dur")


def test_a_name_may_hold_unusual_separators(tmp_path: Path) -> None:
    """Only line feeds separate names, for another separator inside a name would shift all names behind it."""
    path = tmp_path / "labels.txt"
    path.write_text("cat\u2028big\ndog\x0bsmall\n", encoding="utf-8")
    assert labels.read(path) == ("cat\u2028big", "dog\x0bsmall")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n \n", "it is empty"),
        (b"cat\n\ndog\n", "line 2 is blank"),
        (b"\ncat\n", "line 1 is blank"),
        (b"cat\n\xff\xfe\n", "UTF-8"),
    ],
    ids=["empty", "blank", "gap", "gap-at-the-start", "binary"],
)
def test_what_is_no_list_of_names_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file that would give wrong names is refused by its path and its fault."""
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        labels.read(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is a configuration error that names it and keeps its cause."""
    with pytest.raises(ConfigurationError, match=r"missing\.txt.*No such file") as caught:
        labels.read(tmp_path / "missing.txt")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
