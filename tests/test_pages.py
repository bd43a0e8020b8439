"""What the pages tell people to type is there: tasks, flags, sessions, extras. And the index has every page."""

import configparser
import re

import pytest
from invoke import Parser

from tasks import namespace
from tests.shown import ROOT, Shown, fenced, named, sessions

# Programs that the pages use beside ours; whoever deploys has them.
OTHERS = {"curl", "docker", "git", "gpg", "helm", "kubectl", "openssl", "rm"}
# Stand for what belongs there.
OPEN = ("...", "TASK", "*")


def check_invoke(words: list[str]) -> None:
    """Let Invoke read the words as it would, without doing anything."""
    if not words or words[0].startswith("--") or any(word.startswith(OPEN) for word in words):
        return
    Parser(contexts=namespace.to_contexts()).parse_argv(words)


def check_nox(words: list[str]) -> None:
    """Look for the sessions of ``-s``, up to the next flag."""
    if words[:1] == ["-s"]:
        asked = words[1 : next((n for n, word in enumerate(words) if n and word.startswith("-")), None)]
        assert set(asked) <= sessions()


def check_pip(words: list[str]) -> None:
    """Look for the extras that are named."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    asked = {name for word in words for names in re.findall(r"\[(.+)\]", word) for name in names.split(",")}
    assert asked <= set(config["options.extras_require"])


def check(command: Shown) -> None:
    """Check one command, whatever program it starts."""
    program, *words = command.words
    if program == "invoke":
        check_invoke(words)
    elif program == "nox":
        check_nox(words)
    elif program == "pip":
        check_pip(words)
    elif program == "python":
        assert words[0] == "-m"
        assert (ROOT / words[1].replace(".", "/")).exists()


@pytest.mark.parametrize("command", [*fenced()], ids=lambda command: command.place)
def test_a_command_of_a_fence_can_be_typed(command: Shown) -> None:
    """Its program is one that the reader has, and its words are those that it takes."""
    if re.match(r"\w+=", command.text):
        return  # A variable.
    known = OTHERS | {"invoke", "nox", "pip", "python"}
    assert command.text.split()[0] in known, "write ```text where a fence shows no commands"
    check(command)


def test_a_command_of_a_sentence_is_there() -> None:
    """Tasks and sessions that a sentence or a table names have these flags."""
    for command in named():
        try:
            check(command)
        except Exception as error:  # Whatever Invoke says of it, the place is what the reader needs.
            raise AssertionError(f"{command.place}: {command.text}") from error


def test_the_index_has_every_page() -> None:
    """A page that the index does not name is found by nobody."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {name for name in pages if f"({name}" not in index} == set()
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert {name for name in pages if f": {name}" not in navigation} == set()
