"""canary.toml says what holds without it, and nonsense is refused as a whole."""

import re
from pathlib import Path

import attrs
import pytest

from scripts.canary.settings import FILE, Settings, Step
from scripts.host.errors import TaskFailure


def test_the_file_says_what_holds_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the letter, also what is left out of it."""
    assert Settings.read(None) == Settings()
    text = FILE.read_text(encoding="utf-8")
    fields = {*attrs.fields_dict(Settings), *attrs.fields_dict(type(Settings().limits)), *attrs.fields_dict(Step)}
    said = set(re.findall(r"^(\w+) =", text, re.MULTILINE)) | set(re.findall(r"^\[+(\w+)\]", text, re.MULTILINE))
    assert said == fields
    monkeypatch.setattr("scripts.canary.settings.FILE", tmp_path / "none")
    assert Settings.read(None) == Settings()


def test_every_line_of_the_file_is_explained() -> None:
    """By a comment beside it."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if "=" in line.partition("#")[0]]
    assert len(lines) > 10
    assert [line for line in lines if not re.search(r"# [A-Zai0-9]", line)] == []


def test_what_is_said_holds_and_the_rest_stays() -> None:
    """Of the steps all are said, or none."""
    read = Settings.parse(
        "every = 1\n[[steps]]\nshare = 0.2\ncalls = 5\nseconds = 0\n[limits]\nalpha = 0.05", where="f"
    )
    assert (read.every, read.expires, read.steps) == (1.0, 180.0, (Step(share=0.2, calls=5, seconds=0),))
    assert read.limits == attrs.evolve(Settings().limits, alpha=0.05)


@pytest.mark.parametrize("text", ["shadow = 0", "[limits]\nmost_disagreement = 1"])
def test_disagreement_may_be_left_out(text: str) -> None:
    """Where nothing is shadowed nobody could tell, and a canary would wait for ever."""
    assert Settings.parse(text, where="f").limits.most_disagreement is None


def test_all_that_is_wrong_is_named_at_once() -> None:
    """With what would be right."""
    text = """
every = "often"
shadow = 2
expire = 5
[[steps]]
share = 0.5
calls = 1.5
[[steps]]
share = 0.1
calls = 10
seconds = 10
[limits]
alpha = true
"""
    with pytest.raises(TaskFailure) as told:
        Settings.parse(text, where="canary.toml")
    for words in (
        "canary.toml cannot be used: every is 'often', and it has to be a number from 0.5 to 60",
        "shadow is 2",
        "expire is not known (known: every, expires, shadow, steps, limits)",
        "step 1: calls is 1.5, and it has to be a whole number",
        "step 1: seconds is missing",
        "limits.alpha is True",
    ):
        assert words in str(told.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("steps = 3", "steps has to be 1 to 20 tables"),
        ("steps = []", "steps has to be 1 to 20 tables"),
        ("limits = 3", "limits has to be a table"),
        ("every = 30\nexpires = 60", "expires is 60, and it has to be 4 times as long as every"),
        ("every = nan", "every is nan"),
        ("every =", "is not TOML"),
        (
            "[[steps]]\nshare = 0.5\ncalls = 1\nseconds = 1\n[[steps]]\nshare = 0.5\ncalls = 1\nseconds = 1",
            "the share has to grow",
        ),
    ],
)
def test_nonsense_is_refused(text: str, why: str) -> None:
    """One message says what is wrong."""
    with pytest.raises(TaskFailure, match=why):
        Settings.parse(text, where="f")


def test_a_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    """And has to be text."""
    with pytest.raises(TaskFailure, match="there is no such file"):
        Settings.read(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(TaskFailure, match="cannot be read"):
        Settings.read(tmp_path / "bytes.toml")
