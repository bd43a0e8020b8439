"""Text that others chose, made fit for a terminal: names of files, of tensors and of classes may hold anything."""

import re
from typing import Final

__all__ = ["shown", "shown_in_line"]

# Control characters, of which a terminal makes commands; marks that turn the order of text around; half characters.
_RAW: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ENDS: Final = re.compile("[\t\n]")


def shown(text: str) -> str:
    r"""Return *text* with an escape such as ``\x1b`` in the place of each character that a terminal would obey."""
    return _RAW.sub(_escape, text)


def shown_in_line(text: str) -> str:
    r"""Return *text* as `shown` does, and with ``\x0a`` and ``\x09`` for line ends and tabs: for a part of a line."""
    return _ENDS.sub(_escape, shown(text))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    # A byte that is no text stands in Python's names as this code and itself.
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
