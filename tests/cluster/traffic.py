"""Steady calls to a server from threads and coroutines, and what became of them.

As a program it calls until its standard input ends, and prints what became of the calls since the last time for each
line that it reads: so it can run where only programs can, in a network namespace with its own name server.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Self

import attrs
import numpy as np

from tests.doubles import small_classifiers
from triton_sdk import AsyncResNetClient, ResNetClient, TritonError
from triton_sdk.telemetry import CallReport, on_call

ROOT = Path(__file__).parent.parent.parent
# Of each of the two clients. They pause, so that most of two cores is left to the servers.
CALLERS = 4
PAUSE_S = 0.03
SHOWN = 5
START_S = 60.0
PIXELS = np.random.default_rng(0).integers(0, 256, (small_classifiers.SIDE, small_classifiers.SIDE, 3), np.uint8)


@attrs.frozen(kw_only=True)
class Totals:
    """What became of calls.

    Attributes:
        calls: How many there were.
        failed: How many of them the caller saw fail.
        retries: How often the client tried again by itself.
        worst_ms: The longest time that one took.
        versions: How many each version of the model answered.
        errors: The first errors.
    """

    calls: int = 0
    failed: int = 0
    retries: int = 0
    worst_ms: float = 0.0
    versions: dict[int, int] = attrs.field(factory=dict)
    errors: list[str] = attrs.field(factory=list)

    @classmethod
    def of(cls, reports: Sequence[CallReport]) -> Self:
        """Sum reports up."""
        errors = [repr(report.error) for report in reports if report.error is not None]
        return cls(
            calls=len(reports),
            failed=len(errors),
            retries=sum(report.retries for report in reports),
            worst_ms=round(max((report.latency_s for report in reports), default=0.0) * 1000, 1),
            versions=dict(Counter(r.model_version for r in reports if r.model_version is not None)),
            errors=errors[:SHOWN],
        )

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            calls=self.calls + other.calls,
            failed=self.failed + other.failed,
            retries=self.retries + other.retries,
            worst_ms=max(self.worst_ms, other.worst_ms),
            versions=dict(Counter(self.versions) + Counter(other.versions)),
            errors=[*self.errors, *other.errors][:SHOWN],
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what the program prints."""
        found: dict[str, Any] = json.loads(text)
        return cls(**found | {"versions": {int(version): n for version, n in found["versions"].items()}})


@attrs.frozen
class Traffic:
    """The program, at work."""

    _process: subprocess.Popen[str]

    def taken(self) -> Totals:
        """Return what became of the calls since the last time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Totals.parse(self._process.stdout.readline())

    def until(self, calls: int, *, within_s: float = 60.0) -> Totals:
        """Return what became of the calls since the last time, once there were as many as *calls*."""
        deadline = time.monotonic() + within_s
        totals = self.taken()
        while totals.calls < calls:
            assert time.monotonic() < deadline, f"{totals.calls} calls, not {calls}, in {within_s:.0f} s"
            time.sleep(0.5)
            totals += self.taken()
        return totals


@contextlib.contextmanager
def traffic(inside: Sequence[str], url: str, *, model: str, log: IO[bytes]) -> Iterator[Traffic]:
    """Call the server at *url* until the block ends; it has answered when the block begins.

    Args:
        inside: What starts a program where the server can be reached, as the first words of its command.
        url: The server, as the client takes it.
        model: The model's name.
        log: Where complaints go.
    """
    command = [*inside, "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.cluster.traffic", url, model]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n", f"no answer from {url} in {START_S:.0f} s"
            yield Traffic(process)
        finally:
            process.communicate(timeout=30)


def main(url: str, model: str) -> None:
    """Call until standard input ends."""
    lock = threading.Lock()
    reports: list[CallReport] = []

    def record(report: CallReport) -> None:
        with lock:
            reports.append(report)

    stop = threading.Event()
    with ResNetClient(url, model=model, hooks=[on_call(record)]) as client:
        client.wait_ready(timeout=START_S)
        threads = [threading.Thread(target=_call, args=(client, stop)) for _ in range(CALLERS)]
        threads.append(threading.Thread(target=lambda: asyncio.run(_call_async(url, model, record, stop))))
        for thread in threads:
            thread.start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for _ in sys.stdin:
            with lock:
                taken, reports = reports, []
            sys.stdout.write(json.dumps(attrs.asdict(Totals.of(taken))) + "\n")
            sys.stdout.flush()
        stop.set()
        for thread in threads:
            thread.join()


def _call(client: ResNetClient, stop: threading.Event) -> None:
    while not stop.is_set():
        with contextlib.suppress(TritonError):  # they are counted
            client.predict(PIXELS)
        time.sleep(PAUSE_S)


async def _call_async(url: str, model: str, record: Any, stop: threading.Event) -> None:
    async def call() -> None:
        while not stop.is_set():
            with contextlib.suppress(TritonError):
                await client.predict(PIXELS)
            await asyncio.sleep(PAUSE_S)

    async with AsyncResNetClient(url, model=model, hooks=[on_call(record)]) as client:
        await asyncio.gather(*(call() for _ in range(CALLERS)))


if __name__ == "__main__":
    main(*sys.argv[1:])
