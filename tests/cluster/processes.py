"""The programs of a cluster: started, awaited and ended by their own handles."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.waiting import wait_until

LAST = 3000


@contextlib.contextmanager
def child(
    name: str,
    command: Sequence[str],
    *,
    logs: Path,
    environment: Mapping[str, str] | None = None,
    grace_s: float = 10,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends; what it prints goes to ``NAME.log`` in *logs*."""
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / f"{name}.log").open("ab") as stream:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig=TERM", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            # Out of reach of the terminal's Ctrl-C: the block ends them, in order.
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(grace_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_ready(
    what: str,
    ready: Callable[[], bool],
    *,
    log: Path,
    process: subprocess.Popen[bytes] | None = None,
    within_s: float = 90,
) -> None:
    """Wait until *ready* says yes.

    Raises:
        RuntimeError: If it does not in time, or *process* has ended; with the last lines of *log*.
    """

    def told() -> str:
        last = log.read_text(errors="replace")[-LAST:] if log.exists() else ""
        return f"{log.name} ends with:\n{last}"

    def ready_now() -> bool:
        if ready():
            return True
        if process is not None and (status := process.poll()) is not None:
            raise RuntimeError(f"{what}: ended with status {status}. {told()}")
        return False

    wait_until(ready_now, what, within_s=within_s, every_s=0.1, told=told, error=RuntimeError)
