"""Run other programs: argument lists, never a shell string, and no secret in what comes back."""

import contextlib
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import attrs

from scripts.host import settings, tether
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret, redact

# What a streamed program printed last, kept for the message when it fails.
TAIL_LINES = 60
# Colours, which make no sense in lines that are shown elsewhere.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# A program that Ctrl-C reached too may clean up for so long, in seconds, before it is killed.
GRACE_S = 10.0


@attrs.frozen
class Command:
    """A program to run.

    Its text is what ``--dry-run`` prints: the arguments, and of the rest only the names.

    Attributes:
        argv: The program's name and its arguments; never a secret, since every user of the machine can read them.
        env: Variables that it gets beside the inherited ones.
        stdin: What it reads on standard input; None for nothing.
        hide: More values to take out of what it prints; those of *env* and *stdin* always are.
        cwd: The folder that it runs in; None for this process's own.
        unsaid: Variables that it gets too, of no use outside of this process: the text leaves them out.
    """

    argv: Sequence[str]
    env: Mapping[str, str | Secret] = attrs.field(factory=dict, kw_only=True)
    stdin: Secret | None = attrs.field(default=None, kw_only=True)
    hide: Sequence[Secret] = attrs.field(default=(), kw_only=True)
    cwd: Path | None = attrs.field(default=None, kw_only=True)
    unsaid: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)

    def __str__(self) -> str:
        shown = [f"{name}={'***' if isinstance(value, Secret) else value}" for name, value in self.env.items()]
        return shlex.join([*shown, *self.argv])

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every value that must not be seen in what it prints."""
        given = tuple(value for value in self.env.values() if isinstance(value, Secret))
        return (*given, *([self.stdin] if self.stdin else []), *self.hide)

    @property
    def environment(self) -> dict[str, str]:
        """The child's whole environment."""
        own = {name: value.reveal() if isinstance(value, Secret) else value for name, value in self.env.items()}
        return settings.inherited() | own | dict(self.unsaid)


@attrs.frozen(kw_only=True)
class Completed:
    """How a program ended.

    Attributes:
        status: Its exit status.
        output: What it printed on standard output, secrets taken out; of one that was streamed the last lines, those on
            standard error among them.
        errors: What it printed on standard error, likewise: never data, since a program's warnings stand there too.
    """

    status: int
    output: str
    errors: str = ""

    @property
    def said(self) -> str:
        """All that it printed: for a message, not for data."""
        return "\n".join(text for text in (self.output.strip(), self.errors.strip()) if text)


class Runner(Protocol):
    """What runs commands: this machine, or a script of answers in a test."""

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:
        """Run *command* and return what it printed."""
        ...

    def stream(self, command: Command, *, show: Callable[[str], None]) -> Completed:
        """Run *command*, handing on each line as it comes, and return its last lines."""
        ...


class LocalRunner:
    """Runs commands on this machine."""

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:
        """Run *command* and return what it printed; see :func:`capture`."""
        return capture(command, timeout_s=timeout_s)

    def stream(self, command: Command, *, show: Callable[[str], None]) -> Completed:
        """Run *command*, handing on each line as it comes, and return its last lines; see :func:`stream`."""
        return stream(command, show=show)


def capture(command: Command, *, timeout_s: float = 30.0) -> Completed:
    """Run *command* and return what it printed.

    Raises:
        TaskFailure: If the program is missing or takes longer than *timeout_s*.
    """
    with _start(command, stderr=subprocess.PIPE) as child:
        try:
            output, errors = child.communicate(command.stdin.reveal() if command.stdin else None, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            # Not the cause: it holds what was printed so far as it was printed.
            raise TaskFailure(f"{command} gave no answer within {timeout_s:g} s.") from None
        except BaseException:
            child.kill()
            raise
    return Completed(
        status=child.returncode,
        output=redact(output, command.secrets),
        errors=redact(errors, command.secrets),
    )


def stream(command: Command, *, show: Callable[[str], None]) -> Completed:
    """Run *command*, hand each line to *show* as it comes, and return its last lines.

    Raises:
        TaskFailure: If the program is missing.
    """
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with _start(command, stderr=subprocess.STDOUT) as child:
        try:
            if command.stdin and child.stdin:
                # A program that ends without reading its input says why in what it prints.
                with contextlib.suppress(BrokenPipeError), child.stdin:
                    child.stdin.write(command.stdin.reveal())
            for line in child.stdout or ():
                clean = redact(_COLOURS.sub("", line.rstrip()), command.secrets)
                tail.append(clean)
                show(clean)
        except BaseException:
            # The terminal's Ctrl-C reached it as well: it may end in its own way first.
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_S)
            child.kill()
            raise
    return Completed(status=child.returncode, output="\n".join(tail))


def attach(command: Command) -> int:
    """Run *command* on this terminal until it ends and return its exit status.

    Raises:
        TaskFailure: If the program is missing.
    """
    try:
        child = subprocess.Popen(list(command.argv), env=command.environment, cwd=command.cwd)
    except OSError as error:
        raise _missing(command, error) from error
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            # The terminal sent Ctrl-C to the child as well: it ends in its own way, and only then do we.
            continue


class Running:
    """A program that runs beside this one and ends with it, however that ends; as a context manager, with the block.

    The terminal's Ctrl-C does not reach it: when it ends is decided here.
    """

    def __init__(self, child: subprocess.Popen[str], secrets: Sequence[Secret] = ()) -> None:
        self._child = child
        self._secrets = secrets
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        # A pipe that nobody reads would bring it to a halt.
        self._reader = threading.Thread(target=self._read, name=f"lines of {child.pid}", daemon=True)
        self._reader.start()

    def line(self, *, timeout_s: float) -> str | None:
        """Return the next line that it prints, secrets taken out; None when it has ended and there is none left.

        Raises:
            TimeoutError: If it prints none within *timeout_s*.
        """
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError(f"no line within {timeout_s:g} s") from None
        if line is None:
            self._lines.put(None)  # for the next one who asks
        return line

    def poll(self) -> int | None:
        """Return its exit status, or None while it runs."""
        return self._child.poll()

    def stop(self) -> None:
        """End it: politely, and by force where that does not help. Nothing happens if it has ended."""
        if self._child.stdin is not None:
            self._child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(tether.GRACE_S + 1)
        self._reader.join(1)
        if self._reader.is_alive():  # something of its group still holds its output
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._reader.join(1)
        self._child.wait()

    def _read(self) -> None:
        for line in self._child.stdout or ():
            self._lines.put(redact(_COLOURS.sub("", line.rstrip()), self._secrets))
        if self._child.stdout:
            self._child.stdout.close()
        self._lines.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(command: Command) -> Running:
    """Start *command*, which reads nothing, and return while it runs.

    Raises:
        TaskFailure: If the program is missing.
    """
    if shutil.which(command.argv[0], path=command.environment.get("PATH")) is None:
        raise _missing(command, FileNotFoundError())
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", tether.__file__, *command.argv],
        env=command.environment,
        cwd=command.cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        # Out of reach of the terminal's Ctrl-C, and a group to kill as a whole.
        start_new_session=True,
    )
    return Running(child, command.secrets)


def _start(command: Command, *, stderr: int) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            list(command.argv),
            env=command.environment,
            cwd=command.cwd,
            stdin=subprocess.PIPE if command.stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise _missing(command, error) from error


def _missing(command: Command, error: OSError) -> TaskFailure:
    if command.cwd is not None and not command.cwd.is_dir():
        return TaskFailure(f"{command.cwd} is no folder: {command.argv[0]} cannot run there.")
    if isinstance(error, FileNotFoundError):
        return TaskFailure(f"{command.argv[0]} is not installed, or not on PATH.")
    return TaskFailure(f"{command.argv[0]} cannot be run: {error.strerror or error}.")
