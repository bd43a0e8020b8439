"""A terminal with a task on it, and its Ctrl-C, which reaches everything that runs there."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from tests.cluster.user import ROOT, User
from tests.waiting import wait_until

WITHIN_S = 100.0


@attrs.frozen
class Terminal:
    """A terminal with a task on it.

    Attributes:
        process: The task; whatever it starts is in its process group.
        log: What is printed.
    """

    process: subprocess.Popen[bytes]
    log: Path

    def press_ctrl_c(self, *, after: str) -> None:
        """Send what a terminal sends to all that runs on it, as soon as a pattern is printed."""

        def printed() -> bool:
            running = self.process.poll() is None
            found = re.search(after, self.said()) is not None
            assert found or running, self.said()
            return found

        wait_until(printed, after, within_s=WITHIN_S, told=self.said)
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        """Wait until the task ends, and return its exit status."""
        return self.process.wait(WITHIN_S)

    def said(self) -> str:
        """Return all that was printed."""
        return self.log.read_text(encoding="utf-8")


@contextlib.contextmanager
def terminal(user: User, task: Sequence[str], *, folder: Path) -> Iterator[Terminal]:
    """Run a task of the user's, which ends with the block; *folder* takes what it prints."""
    log = folder / "said"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "invoke", *task],
            cwd=ROOT,
            env=user.environment(),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    opened = Terminal(process, log)
    try:
        yield opened
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        user.heard.append(opened.said())
