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
from functools import partial
from pathlib import Path
from typing import IO, Any, Self, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from tests.doubles import small_classifiers
from tests.waiting import wait_until
from triton_sdk import AsyncResNetClient, ResNetClient, TritonError
from triton_sdk.telemetry import CallReport, on_call

ROOT = Path(__file__).parent.parent.parent
# Of each of the two clients. They pause, so that most of two cores is left to the servers.
CALLERS = 4
PAUSE_S = 0.03
SHOWN = 5
START_S = 60.0
Pixels: TypeAlias = NDArray[np.uint8]
PIXELS = np.random.default_rng(0).integers(0, 256, (small_classifiers.SIDE, small_classifiers.SIDE, 3), np.uint8)


@attrs.frozen(kw_only=True)
class Totals:
    """What became of calls.

    Attributes:
        threads: How many the client for threads made.
        coroutines: How many the client for coroutines made.
        failed: How many of them the caller saw fail, and how many callers died of any other error.
        retries: How often the client tried again by itself.
        worst_ms: The longest time that one took.
        versions: How many each version of the model answered.
        errors: The first errors.
    """

    threads: int = 0
    coroutines: int = 0
    failed: int = 0
    retries: int = 0
    worst_ms: float = 0.0
    versions: dict[int, int] = attrs.field(factory=dict)
    errors: list[str] = attrs.field(factory=list)

    @property
    def calls(self) -> int:
        """How many there were."""
        return self.threads + self.coroutines

    @classmethod
    def of(cls, threads: Sequence[CallReport], coroutines: Sequence[CallReport], deaths: Sequence[str]) -> Self:
        """Sum up the reports of both clients, and the errors of which callers died."""
        reports = [*threads, *coroutines]
        errors = [*deaths, *(repr(report.error) for report in reports if report.error is not None)]
        return cls(
            threads=len(threads),
            coroutines=len(coroutines),
            failed=len(errors),
            retries=sum(report.retries for report in reports),
            worst_ms=round(max((report.latency_s for report in reports), default=0.0) * 1000, 1),
            versions=dict(Counter(r.model_version for r in reports if r.model_version is not None)),
            errors=errors[:SHOWN],
        )

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            threads=self.threads + other.threads,
            coroutines=self.coroutines + other.coroutines,
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
        totals = self.taken()

        def enough() -> bool:
            nonlocal totals
            totals += self.taken()
            return totals.calls >= calls

        wait_until(enough, f"{calls} calls", within_s=within_s, every_s=0.5, told=lambda: str(totals))
        return totals


@contextlib.contextmanager
def traffic(
    inside: Sequence[str], url: str, *, model: str, log: IO[bytes], plan: str = "", brightest: int = 255
) -> Iterator[Traffic]:
    """Call the server at *url* until the block ends; it has answered when the block begins.

    Args:
        inside: What starts a program where the server can be reached, as the first words of its command.
        url: The server, as the client takes it.
        model: The model's name.
        log: Where complaints go.
        plan: The address of the traffic plan that is followed; empty: none is.
        brightest: The brightest value of the image.
    """
    program = [sys.executable, "-m", "tests.cluster.traffic", url, model, plan, str(brightest)]
    command = [*inside, "env", f"PYTHONPATH={ROOT}", *program]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n", f"no answer from {url} in {START_S:.0f} s"
            yield Traffic(process)
        finally:
            process.communicate(timeout=30)


class Record:
    """What became of the calls since the last time, filled by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.threads: list[CallReport] = []
        self.coroutines: list[CallReport] = []
        self._deaths: list[str] = []

    def taken(self) -> Totals:
        """Sum up, and begin anew."""
        with self._lock:
            totals = Totals.of(self.threads, self.coroutines, self._deaths)
            for found in (self.threads, self.coroutines, self._deaths):
                found.clear()
            return totals

    @contextlib.contextmanager
    def caller(self) -> Iterator[None]:
        """Count a caller that dies in the block, of whatever error."""
        try:
            yield
        except BaseException as error:
            with self._lock:
                self._deaths.append(f"a caller died: {error!r}")

    def add(self, to: list[CallReport], report: CallReport) -> None:
        """Add what became of a call to one of the lists."""
        with self._lock:
            to.append(report)


def main(url: str, model: str, plan: str, brightest: str) -> None:
    """Call until standard input ends."""
    record, stop = Record(), threading.Event()
    pixels, traffic = np.minimum(PIXELS, np.uint8(brightest)), plan or None
    hooks = [on_call(partial(record.add, record.threads))]
    with ResNetClient(url, model=model, hooks=hooks, traffic=traffic) as client:
        client.wait_ready(timeout=START_S)
        threads = [threading.Thread(target=_call, args=(client, pixels, record, stop)) for _ in range(CALLERS)]
        threads.append(threading.Thread(target=_run_coroutines, args=(url, model, traffic, pixels, record, stop)))
        for thread in threads:
            thread.start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for _ in sys.stdin:
            sys.stdout.write(json.dumps(attrs.asdict(record.taken())) + "\n")
            sys.stdout.flush()
        stop.set()
        for thread in threads:
            thread.join()


def _call(client: ResNetClient, pixels: Pixels, record: Record, stop: threading.Event) -> None:
    with record.caller():
        while not stop.is_set():
            with contextlib.suppress(TritonError):  # they are counted
                client.predict(pixels)
            time.sleep(PAUSE_S)


def _run_coroutines(
    url: str, model: str, traffic: str | None, pixels: Pixels, record: Record, stop: threading.Event
) -> None:
    async def call(client: AsyncResNetClient) -> None:
        with record.caller():
            while not stop.is_set():
                with contextlib.suppress(TritonError):
                    await client.predict(pixels)
                await asyncio.sleep(PAUSE_S)

    async def all_calls() -> None:
        hooks = [on_call(partial(record.add, record.coroutines))]
        async with AsyncResNetClient(url, model=model, hooks=hooks, traffic=traffic) as client:
            await asyncio.gather(*(call(client) for _ in range(CALLERS)))

    with record.caller():
        asyncio.run(all_calls())


if __name__ == "__main__":
    main(*sys.argv[1:])
