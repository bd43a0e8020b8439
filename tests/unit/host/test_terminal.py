"""Questions to a person."""

import io
from collections.abc import Callable

import pytest

from scripts.host import terminal
from scripts.host.errors import TaskFailure


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give a function that types on a terminal."""

    def type_in(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        monkeypatch.setattr(terminal, "is_asked", lambda: True)

    return type_in


@pytest.mark.parametrize(
    ("text", "answer"),
    [("y\n", True), (" YES \n", True), ("n\n", False), ("\n", False), ("yesterday\n", False), ("", False)],
    ids=["y", "yes", "n", "return", "something else", "end of input"],
)
def test_only_yes_is_yes(typed: Callable[[str], None], text: str, answer: bool) -> None:
    """Anything else, the mere return key and Ctrl-D among it, is no."""
    typed(text)
    assert terminal.confirm("Sure?", otherwise="--yes") is answer


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is piped in is no answer; the message says how to give one."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(TaskFailure, match=r"no terminal to ask on: --yes does it"):
        terminal.confirm("Sure?", otherwise="--yes does it")
