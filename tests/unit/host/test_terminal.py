"""Questions to a person."""

import contextlib
import errno
import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.host import terminal
from scripts.host.errors import TaskFailure
from tests.properties import examples


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


def stream(encoding: str, raw: io.RawIOBase | None = None) -> io.TextIOWrapper:
    """Return a stream that knows the characters of *encoding* alone."""
    return io.TextIOWrapper(io.BufferedWriter(raw) if raw else io.BytesIO(), encoding=encoding, write_through=True)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@examples(40)
@given(text=st.text(alphabet=st.characters(codec=None), max_size=30))
def test_whatever_a_text_holds_it_is_shown(encoding: str, text: str) -> None:
    """On a terminal of any encoding nothing fails, and no control character of a name, label or tensor gets out."""
    out, err = stream(encoding), stream(encoding)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        terminal.say(text)
        terminal.table(text, ("state", "why"), [("ok", text)])
        terminal.difference([f"+{text}"])
        terminal.step(text)
        with contextlib.suppress(SystemExit), terminal.reporting():
            raise TaskFailure(text)
    written = b"".join(getattr(part.buffer, "getvalue")() for part in (out, err))  # noqa: B009 - BytesIO's, for mypy
    assert not set(written.decode(encoding)) & {chr(code) for code in (*range(9), *range(11, 32), *range(127, 160))}


class Full(io.RawIOBase):
    """A file on a disk without room."""

    def writable(self) -> bool:
        """Return that it may be tried."""
        return True

    def write(self, _: object) -> int:
        """Fail as /dev/full does."""
        raise OSError(errno.ENOSPC, "No space left on device")


class Gone(io.RawIOBase):
    """A pipe whose reader has ended."""

    def writable(self) -> bool:
        """Return that it may be tried."""
        return True

    def write(self, _: object) -> int:
        """Fail as such a pipe does."""
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


RESULTS = pytest.mark.parametrize(
    "show",
    [lambda: terminal.say("x"), lambda: terminal.table("t", ("a",), [("b",)]), lambda: terminal.difference(["+a"])],
    ids=["line", "table", "difference"],
)


def ended(file: io.RawIOBase, show: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> tuple[object, int]:
    """Show results in *file*, before and between other work; return the task's status and how much work was done."""
    out, done = stream("utf-8", file), 0
    monkeypatch.setattr("sys.stdout", out)

    @terminal.reporting()
    def task() -> None:
        nonlocal done
        for _ in range(2):
            show()
            done += 1

    with pytest.raises(SystemExit) as status:
        task()
    with contextlib.suppress(OSError):
        out.close()
    return status.value.code, done


@RESULTS
def test_a_result_that_cannot_be_written_is_one_message(
    show: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The task goes on to its end, or a change would be left half done; it has status 1 and says why once."""
    assert ended(Full(), show, monkeypatch) == (1, 2)
    why = "Error: The result cannot be written to standard output: No space left on device. Write it elsewhere.\n"
    assert capsys.readouterr().err == why


@RESULTS
def test_a_reader_of_results_that_has_gone_has_seen_enough(
    show: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`| head -1` is no reason for a message, nor to leave a change half done; the status tells."""
    assert ended(Gone(), show, monkeypatch) == (1, 2)
    assert capsys.readouterr().err == ""


def test_a_lost_result_changes_no_other_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither that of a task which has another one, nor that of the next task."""
    pipe = stream("utf-8", Gone())

    @terminal.reporting()
    def task() -> None:
        terminal.say("x")
        raise SystemExit(3)

    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", pipe)
        with pytest.raises(SystemExit) as status:
            task()
    assert status.value.code == 3
    with contextlib.suppress(OSError):
        pipe.close()
    with terminal.reporting():
        terminal.say("x")


def test_progress_that_nobody_can_read_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full standard error keeps nothing from being done; a failure still has its status."""
    full = stream("utf-8", Full())
    monkeypatch.setattr("sys.stderr", full)
    terminal.step("working")
    with pytest.raises(SystemExit) as ended, terminal.reporting():
        raise TaskFailure("no")
    assert ended.value.code == 1
    with contextlib.suppress(OSError):
        full.close()


def test_what_is_being_done_goes_on_where_its_reader_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`invoke deploy-triton 2>&1 | tee log`, and Ctrl-C: tee ends, and all the rest was once left as it was."""
    pipe = stream("utf-8", Gone())
    monkeypatch.setattr("sys.stderr", pipe)
    terminal.step("working")
    for progress in (terminal.waiting, terminal.watching):
        with progress() as (line, _):
            line("working")
            line("still working")
    for bar in (terminal.byte_bar("publishing"), terminal.layer_bar(), terminal.picture_bar()):
        with bar as show:
            show(1, 2)
            show(2, 2)
    with pytest.raises(SystemExit) as ended, terminal.reporting():
        raise KeyboardInterrupt
    assert ended.value.code == 130
    with contextlib.suppress(OSError):
        pipe.close()


@pytest.mark.parametrize("width", [20, 80, 140])
@pytest.mark.parametrize(
    "word",
    [
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com/triton-infer:0123456789ab-0123456789ab",
        "https://example.com/a/long/path?with=query",
        "/home/someone/projects/triton/model_repository/resnet50/1/model.onnx",
    ],
)
def test_a_table_breaks_no_address(
    width: int, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However narrow the terminal, an address stands in one line and can be copied; other words are wrapped."""
    monkeypatch.setattr(terminal, "PIPE_WIDTH", width)
    terminal.table("Rows", ("", "state", "what"), [("a", "ok", f"it is at {word} and that is where it is")] * 2)
    lines = capsys.readouterr().out.splitlines()
    assert sum(word in line for line in lines) == 2
    assert max(map(len, lines)) <= max(width, len(word) + 20)


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Return that somebody looks."""
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Screen, True), (io.StringIO, False)], ids=["terminal", "pipe"])
def test_a_table_that_changes_is_for_a_terminal(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], shown: bool
) -> None:
    """In a pipe only the lines stand, each once; on a terminal nothing of the table is left at the end."""
    written = stream()
    monkeypatch.setattr("sys.stderr", written)
    monkeypatch.setenv("TERM", "xterm")
    with terminal.watching() as (line, show):
        show("first", ("a", "b"), [("1", "ok")])
        line("something happened")
        show("second\x1b[31m", ("a", "b"), [("2", "failed")])
    text = written.getvalue()
    assert text.count("something happened") == 1
    assert [("first" in text), ("second" in text)] == [shown, shown]
    assert "\x1b[31m\x1b" not in text
    if not shown:
        assert text == "  something happened\n"
