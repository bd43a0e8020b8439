"""Run Triton, and end it with all that it started as soon as the process that asked for it is gone.

A script of its own that the runtime's interpreter runs, so only the standard library. Its standard input is a pipe that
the parent holds open: the end of that pipe, however it comes about, is the order to stop, and so is SIGTERM. Standard
output is Triton's log.

    _supervisor.py PREFIX GRACE REPORT COMMAND...

PREFIX begins the names of the server's files in /dev/shm, GRACE is in seconds, REPORT is the descriptor that gets the
server's process id.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Set
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
# Triton's Python backend makes a folder there for packages that a model brings along (ours bring none), and forgets it
# when its server is killed. No name says whose it is: it is made within a few seconds of the server's start.
TEMPORARY, ENVIRONMENTS, MADE_WITHIN_S = Path("/tmp"), "python_env_*", 10.0
# <linux/prctl.h>
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
# Triton says so when it takes no more requests. It then waits for one Python stub after the other, 1 to 2 s for each,
# even for those with nothing to do; whether one still has, its threads show.
DRAINED = b"All models are stopped"
# So long must all stubs have been at rest: answers are on their way meanwhile.
QUIET_S = 0.25


def main(prefix: str, grace_s: float, report: int, command: list[str]) -> int:
    """Run *command* until it ends or the parent is gone; return its exit status."""
    libc = ctypes.CDLL(None)
    # The stubs of a server that was killed become children of this process, which can then see them end.
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    parent, own = os.getppid(), os.getpid()

    def end_with_supervisor() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != own:
            os._exit(1)

    wakeup, notify = os.pipe()
    for end in (wakeup, notify):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(notify, warn_on_full_buffer=False)
    there, started = set(TEMPORARY.glob(ENVIRONMENTS)), time.time()
    stopping: list[int] = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: stopping.append(number))
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=end_with_supervisor)
    with os.fdopen(report, "w") as stream:
        stream.write(f"{server.pid}\n")
    # A fork of the parent may hold the pipe open after the parent's death: then a new parent gives it away.
    while server.poll() is None and not stopping and os.getppid() == parent:
        ready = select.select([0, wakeup], [], [], 1.0)[0]
        if 0 in ready and not os.read(0, 1):
            break
        if wakeup in ready:
            os.read(wakeup, 4096)
    if server.poll() is None:
        ask_to_end(server, grace_s)
    end_group(server)
    for file in SHARED_MEMORY.glob(f"{prefix}*"):
        file.unlink(missing_ok=True)
    remove_environments(there, started)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def ask_to_end(server: subprocess.Popen[bytes], grace_s: float) -> None:
    """Let *server* answer what it has begun, for *grace_s* at most."""
    position = os.fstat(1).st_size
    now = time.monotonic()
    deadline, busy_at = now + grace_s, now
    server.terminate()
    while server.poll() is None and now < min(deadline, busy_at + QUIET_S):
        time.sleep(0.02)
        now = time.monotonic()
        if DRAINED not in os.pread(1, 1 << 20, position) or has_busy_child(server.pid):
            busy_at = now


def remove_environments(there: Set[Path], started: float) -> None:
    """Remove the empty folder that the server made when it *started*; those that were *there* belong to others."""
    for folder in set(TEMPORARY.glob(ENVIRONMENTS)) - there:
        with contextlib.suppress(OSError):  # gone, not empty, or somebody else's
            if folder.stat().st_ctime < started + MADE_WITHIN_S:
                folder.rmdir()


def has_busy_child(pid: int) -> bool:
    """Return whether a thread of a child of *pid* is running, or waiting for a processor or a disk."""
    children = [file.parent for file in Path("/proc").glob("[0-9]*/stat") if stat(file)[1:2] == [str(pid)]]
    return any(stat(file)[0] in "RD" for child in children for file in child.glob("task/*/stat"))


def stat(file: Path) -> list[str]:
    """Return state, parent and so on from a *file* of /proc; an ended process has the state X."""
    try:
        return file.read_text().rpartition(")")[2].split()
    except OSError:
        return ["X"]


def end_group(server: subprocess.Popen[bytes]) -> None:
    """Kill what is left of *server* and its stubs, and wait until all are gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
