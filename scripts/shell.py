"""Run other programs: argument lists, never a shell string."""

import shlex
import subprocess
from collections.abc import Sequence

import attrs

from scripts.errors import TaskFailure


@attrs.frozen
class Command:
    """A program to run.

    Attributes:
        argv: The program's name and its arguments.
    """

    argv: Sequence[str]

    def __str__(self) -> str:
        return shlex.join(self.argv)


@attrs.frozen(kw_only=True)
class Completed:
    """How a program ended.

    Attributes:
        status: Its exit status.
        output: What it printed on standard output and standard error.
    """

    status: int
    output: str


def capture(command: Command, *, timeout_s: float = 30.0) -> Completed:
    """Run *command* without input and return what it printed.

    Raises:
        TaskFailure: If the program is missing or takes longer than *timeout_s*.
    """
    try:
        done = subprocess.run(
            list(command.argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise TaskFailure(f"{command.argv[0]} is not installed, or not on PATH.") from error
    except subprocess.TimeoutExpired as error:
        raise TaskFailure(f"{command} gave no answer within {timeout_s:g} s.") from error
    return Completed(status=done.returncode, output=done.stdout)


def attach(command: Command) -> int:
    """Run *command* on this terminal until it ends and return its exit status.

    Raises:
        TaskFailure: If the program is missing.
    """
    try:
        child = subprocess.Popen(list(command.argv))
    except FileNotFoundError as error:
        raise TaskFailure(f"{command.argv[0]} is not installed, or not on PATH.") from error
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            # The terminal sent Ctrl-C to the child as well: it ends in its own way, and only then do we.
            continue
