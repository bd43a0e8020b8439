"""What a terminal would obey is never shown as it is."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import examples
from triton_sdk.text import shown, shown_in_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat", "cat"),
        ("é 猫 🐈", "é 猫 🐈"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\x00\x7f", r"a\x0db\x00\x7f"),
        ("gpj.\u202exe", r"gpj.\u202exe"),
        ("caf\udce9.png", r"caf\xe9.png"),
        ("\ud83d", r"\ud83d"),
    ],
)
def test_what_a_terminal_obeys_is_an_escape(text: str, expected: str) -> None:
    """Escape sequences, returns, marks of direction and broken characters; letters of any script stay."""
    assert shown(text) == expected


def test_a_part_of_a_line_holds_no_line_end() -> None:
    """A name cannot make a line that looks like the program's own."""
    assert shown_in_line("photo\nError: all is lost\t.jpg") == r"photo\x0aError: all is lost\x09.jpg"


@examples(300)
@given(st.text(alphabet=st.characters(codec=None), max_size=40))
def test_nothing_raw_is_left(text: str) -> None:
    """Of any text only printable characters and line ends are left, and all of it can be written."""
    left = shown(text)
    left.encode()
    assert {c for c in left if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")} <= {"\n", "\t"}
    assert not {"\n", "\t"} & set(shown_in_line(text))
