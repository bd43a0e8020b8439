"""The commands that the pages show, as a reader would type them, and the sessions that there are."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md")))
# Its language, which commands have none of, and what stands in it.
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
# A name for a command inside of a sentence or a table.
SPAN = re.compile(r"`((?:invoke|nox) [^`]+)`")


@attrs.frozen
class Shown:
    """A command on a page.

    Attributes:
        place: Page and line.
        text: The command, without the comment beside it.
    """

    place: str
    text: str

    @property
    def words(self) -> list[str]:
        """What the program gets from a shell, which keeps ``> FILE`` at the end to itself."""
        words = shlex.split(self.text)
        return words[:-2] if words[-2:-1] == [">"] else words


def fenced() -> Iterator[Shown]:
    """Yield each command that stands in a fence of its own, lines that go on joined."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for fence in FENCE.finditer(text):
            first = text[: fence.start()].count("\n") + 2
            lines = [] if fence[1] else fence[2].replace("\\\n", "").splitlines()
            for number, one in enumerate(lines, first):
                if command := re.sub(r"\s+# .*", "", one).strip():
                    yield Shown(f"{page.name}:{number}", re.sub(r" +", " ", command))


def named() -> Iterator[Shown]:
    """Yield each task and session that a sentence or a table names."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for span in SPAN.finditer(text):
            yield Shown(f"{page.name}:{text[: span.start()].count(chr(10)) + 1}", span[1].replace("\n", " "))


def sessions() -> set[str]:
    """Return the names of the sessions of noxfile.py."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {one.name for one in functions if any(ast.unparse(mark) == "nox.session" for mark in one.decorator_list)}
