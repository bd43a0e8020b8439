"""What a person sees: tables, progress, and one clear message when something fails."""

import contextlib
import errno
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import rich.box
import rich.live
import rich.progress
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from scripts.host.errors import TaskFailure
from scripts.host.output import forget, unwritten
from scripts.host.stopping import stoppable
from triton_sdk.errors import TritonError
from triton_sdk.text import shown

# Where there is no terminal (CI, a pipe) rich assumes 80 columns and breaks the tables.
PIPE_WIDTH = 140

STYLES = {"ok": "green", "failed": "bold red", "error": "bold red"} | dict.fromkeys(
    ("missing", "skipped", "warning"), "yellow"
)

# Why results of this task could not be written.
_lost: list[OSError] = []


class _Console(Console):
    """A console that ends nothing which is being done."""

    def on_broken_pipe(self) -> None:
        """Say no more to a reader that has gone; of rich's own the program would end here, half way through a change.

        Raises:
            BrokenPipeError: If results were for that reader.
        """
        if not self.stderr:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        self.quiet = True
        forget(sys.stderr)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    if stream is None:  # it is closed: `>&-` of a shell
        if not stderr:
            raise OSError(errno.EBADF, "It is closed")
        stream = io.StringIO()
    if isinstance(stream, io.TextIOWrapper) and stream.errors != "backslashreplace":
        # A terminal that knows ASCII alone gets an escape for what it cannot show. A full disk is told by what follows.
        with contextlib.suppress(OSError):
            stream.reconfigure(errors="backslashreplace")
    width = None if stream.isatty() else PIPE_WIDTH
    return _Console(file=stream, stderr=stderr, width=width, highlight=False, soft_wrap=False)


def _text(text: str, style: str = "") -> Text:
    """Return *text*, of which nothing reaches the terminal as a command to it."""
    return Text(shown(text), style=style)


def _result(what: RenderableType, *, soft_wrap: bool = False, least: int = 0) -> None:
    """Print what was asked for, *least* columns wide or as wide as the terminal.

    If it cannot be written, the task still goes on to its end, so that nothing is left half done.
    """
    try:
        console = _console(stderr=False)
        console.width = max(console.width, least)
        console.print(what, soft_wrap=soft_wrap)
    except OSError as error:
        forget(sys.stdout)
        # Whoever closed the pipe has seen enough.
        if not _lost and not isinstance(error, BrokenPipeError):
            _failed(unwritten(error))
        _lost.append(error)


def _note(text: Text) -> None:
    """Print what is no result on standard error: what is being done is finished, or undone, if nobody reads along."""
    try:
        _console(stderr=True).print(text, soft_wrap=True)
    except OSError:
        forget(sys.stderr)


def _failed(why: str) -> None:
    """Print what went wrong on standard error."""
    _note(Text.assemble(("Error: ", "bold red"), shown(why)))


def say(text: str) -> None:
    """Print a line on standard output."""
    _result(_text(text), soft_wrap=True)


def step(text: str) -> None:
    """Print a line of progress on standard error, so that it never mixes with a result."""
    _note(_text(f"  {text}", style="dim"))


def confirm(question: str, *, otherwise: str) -> bool:
    """Ask on the terminal and return whether the answer is yes; anything but that is no.

    Raises:
        TaskFailure: If there is no terminal; *otherwise* says how to answer without one.
    """
    if not is_asked():
        raise TaskFailure(f"There is no terminal to ask on: {otherwise}")
    try:
        answer = _console(stderr=True).input(_text(f"{question} [y/N] ", style="bold"))
    except EOFError:  # Ctrl-D
        return False
    return answer.strip().lower() in ("y", "yes")


def is_asked() -> bool:
    """Say whether there is a terminal with somebody to ask."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    """Turn a failure that we know into one message on standard error and exit status 1; Ctrl-C into status 130.

    SIGTERM and SIGHUP, as a cancelled CI job and a terminal that is closed send them, act like Ctrl-C. If a result
    could not be written, the status of a task that did all the rest is 1.
    """
    _lost.clear()
    try:
        with stoppable():
            yield
    except (TaskFailure, TritonError) as error:
        _failed(str(error))
        raise SystemExit(1) from error
    except KeyboardInterrupt as error:
        _note(_text(str(error) or "Stopped.", style="yellow"))
        raise SystemExit(130) from None
    if _lost:
        raise SystemExit(1)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, picture: Path | None = None) -> None:
    """Print *rows* under *title*; a cell that holds one of the known states is coloured.

    Args:
        title: A line above the table.
        columns: The heads of the columns.
        rows: The cells, a sequence for each row.
        picture: Also draw the table as an SVG image in this file.

    Raises:
        TaskFailure: If *picture* cannot be written.
    """
    grid, least = _grid(title, columns, rows)
    _result(grid, least=least)
    if picture is not None:
        grid.title = None  # the window of the picture has it
        recorder = Console(record=True, width=PIPE_WIDTH, file=io.StringIO(), highlight=False)
        recorder.width = recorder.measure(grid).maximum
        recorder.print(grid)
        # Without the fonts that rich would have a reader's browser fetch from elsewhere; any monospaced one will do.
        drawing = re.sub(r"@font-face \{.*?\}\s*", "", recorder.export_svg(title=title), flags=re.DOTALL)
        try:
            picture.write_text(drawing, encoding="utf-8")
        except OSError as error:
            raise TaskFailure(f"Cannot write {picture}: {error.strerror}.") from error


def _grid(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[Table, int]:
    """Return a table, and how many columns of a terminal it needs."""
    heads = any(columns)
    box = rich.box.SIMPLE_HEAD if heads else rich.box.SIMPLE
    grid = Table(
        title=_text(title), box=box, show_header=heads, title_justify="left", title_style="bold", pad_edge=False
    )
    # An address or a path that is broken cannot be copied: what is longer than the terminal is wrapped by itself.
    longest = [
        max((len(word) for row in rows for word in shown(row[at]).split()), default=0) for at in range(len(columns))
    ]
    for column, width in zip(columns, longest, strict=True):
        grid.add_column(column, overflow="fold", min_width=width)
    for row in rows:
        grid.add_row(*(_text(cell, style=STYLES.get(cell, "")) for cell in row))
    return grid, sum(max(width, len(name)) + 3 for width, name in zip(longest, columns, strict=True))


def _lines(console: Console) -> Callable[[str], None]:
    def line(text: str) -> None:
        # What is being done is finished, or undone, even where nobody reads along any more.
        with contextlib.suppress(OSError):
            console.print(_text(f"  {text}", style="dim"), soft_wrap=True)

    return line


@contextlib.contextmanager
def waiting() -> Iterator[tuple[Callable[[str], None], Callable[[str], None]]]:
    """Give two functions that show progress on standard error: a line that stays, and one that the next replaces.

    The second is for terminals; in a pipe it shows nothing.
    """
    console = _console(stderr=True)
    line = _lines(console)
    if not console.is_terminal:
        yield line, lambda _: None
        return
    with console.status("") as spinner:
        # Such a line may be cut, or the terminal would keep what is left of it.
        yield line, lambda text: spinner.update(_text(text[: console.width - 4], style="dim"))


@contextlib.contextmanager
def watching() -> Iterator[tuple[Callable[[str], None], Callable[[str, Sequence[str], Sequence[Sequence[str]]], None]]]:
    """Give two functions that show progress on standard error: a line that stays, and a table that the next replaces.

    The second is for terminals; in a pipe it shows nothing.
    """
    console = _console(stderr=True)
    line = _lines(console)
    if not console.is_terminal:
        yield line, lambda *_: None
        return
    with rich.live.Live(console=console, transient=True, auto_refresh=False) as live:
        yield line, lambda *shown: live.update(_grid(*shown)[0], refresh=True)


def difference(lines: Sequence[str]) -> None:
    """Print the lines of a unified difference, coloured on a terminal."""
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for text in lines:
        style = "bold" if text.startswith(("+++", "---")) else styles.get(text[:1], "")
        _result(_text(text, style=style), soft_wrap=True)


def byte_bar(doing: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """Give a function that shows the bytes done, of the bytes in all, as a bar on standard error."""
    return _bar(
        f"  {doing}",
        rich.progress.DownloadColumn(),
        rich.progress.TransferSpeedColumn(),
        rich.progress.TimeRemainingColumn(),
        ends_when_full=True,
    )


def layer_bar() -> AbstractContextManager[Callable[[int, int], None]]:
    """Give a function that shows the layers done, of the layers in all, as a bar on standard error."""
    return _bar(
        "  pushing",
        rich.progress.TextColumn("{task.completed:.0f} of {task.total:.0f} layers"),
        rich.progress.TimeElapsedColumn(),
        ends_when_full=False,  # while more layers become known
    )


def picture_bar() -> AbstractContextManager[Callable[[int, int], None]]:
    """Give a function that shows the pictures done, of the pictures in all, as a bar on standard error."""
    return _bar(
        "  asking",
        rich.progress.TextColumn("{task.completed:.0f} of {task.total:.0f} pictures"),
        rich.progress.TimeRemainingColumn(),
        ends_when_full=True,
    )


@contextlib.contextmanager
def _bar(
    doing: str, *columns: rich.progress.ProgressColumn, ends_when_full: bool
) -> Iterator[Callable[[int, int], None]]:
    progress = rich.progress.Progress(
        rich.progress.TextColumn(doing), rich.progress.BarColumn(), *columns, console=_console(stderr=True)
    )

    def show(done: int, total: int) -> None:
        if not progress.tasks:
            progress.start()
            progress.add_task("")
        progress.update(progress.task_ids[0], completed=done, total=total)
        if ends_when_full and done >= total:
            progress.stop()

    try:
        yield show
    finally:
        if progress.live.is_started:  # stopping what never started prints an empty line
            progress.stop()
