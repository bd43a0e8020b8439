"""Programs that run beside this one: what they print, and that none of them outlives it."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.host.shell import Command, Running, capture, start, stream
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
SOON_S = 30.0
# Prints its process id and then runs for long.
POLITE = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {POLITE}"
# The same as a program of its own that starts it, prints its process id and waits.
ASKER = """
import sys, time
from scripts.host.shell import Command, start
running = start(Command((sys.executable, "-c", {code!r})))
print(running.line(timeout_s=20), flush=True)
time.sleep(600)
"""


def python(code: str, **more: object) -> Command:
    """Return a command that runs *code*."""
    return Command((sys.executable, "-c", code), **more)  # type: ignore[arg-type]


def pid_of(running: Running) -> int:
    """Return the process id that the program prints first."""
    return int(running.line(timeout_s=SOON_S) or "-1")


def is_gone(pid: int) -> bool:
    """Say whether there is no such process, or only what is left until its parent asks for its status."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_lines_come_while_it_runs() -> None:
    """Each line comes as it is printed, without the secrets, and None tells the end again and again."""
    code = "import sys, time; print('one', flush=True); print('sesame', file=sys.stderr, flush=True); time.sleep(600)"
    with start(python(code, env={"KEY": Secret("sesame")})) as running:
        assert running.line(timeout_s=SOON_S) == "one"
        assert running.line(timeout_s=SOON_S) == "***"
        assert running.poll() is None
        with pytest.raises(TimeoutError):
            running.line(timeout_s=0.01)
        running.stop()
        assert running.line(timeout_s=SOON_S) is None
        assert running.line(timeout_s=SOON_S) is None


def test_its_status_is_told() -> None:
    """A program that ends by itself leaves its exit status."""
    with start(python("raise SystemExit(7)")) as running:
        assert running.line(timeout_s=SOON_S) is None
        wait_until(lambda: running.poll() == 7)


def test_a_missing_program_is_one_message() -> None:
    """As with every other way of running one."""
    with pytest.raises(TaskFailure, match="not installed, or not on PATH"):
        start(Command(("no-such-program-anywhere",)))


@pytest.mark.parametrize("code", [POLITE, DEAF], ids=["polite", "deaf to SIGTERM"])
def test_it_ends_with_the_block(code: str) -> None:
    """The block's end ends it, by force if it does not listen."""
    with contextlib.suppress(ZeroDivisionError), start(python(code)) as running:
        pid = pid_of(running)
        assert not is_gone(pid)
        raise ZeroDivisionError
    assert is_gone(pid)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_it_does_not_outlive_its_asker(how: signal.Signals) -> None:
    """A process that dies without a chance to clean up leaves nothing behind."""
    asker = subprocess.Popen(
        [sys.executable, "-c", ASKER.format(code=POLITE)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert asker.stdout is not None
        pid = int(asker.stdout.readline())
        assert not is_gone(pid)
        asker.send_signal(how)
        asker.wait(SOON_S)
        wait_until(lambda: is_gone(pid))
    finally:
        asker.kill()
        asker.communicate()


def test_a_killed_tether_leaves_nothing() -> None:
    """Even when what watches the program is killed, ending the block ends the program."""
    with start(python(POLITE)) as running:
        pid = pid_of(running)
        stat = (Path("/proc") / str(pid) / "stat").read_text()
        os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGKILL)
        assert not is_gone(pid)
    wait_until(lambda: is_gone(pid))


def test_standard_error_is_never_data() -> None:
    """No warning gets into what is parsed, and no secret into either; what is streamed comes as one."""
    code = "import sys; print('{}'); sys.stdout.flush(); print('planted-x', file=sys.stderr)"
    secret = (Secret("planted-x"),)
    done = capture(python(code, hide=secret))
    assert (done.output, done.errors, done.said) == ("{}\n", "***\n", "{}\n***")
    lines: list[str] = []
    assert stream(python(code, hide=secret), show=lines.append).output == "{}\n***"
    assert lines == ["{}", "***"]
