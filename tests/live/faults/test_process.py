"""The server dies, or stands still."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest

from tests.live.faults import scene
from tests.live.faults.conftest import Connect
from tests.live.faults.scene import Client, Load, outcome, pixels
from tests.waiting import wait_until
from triton_sdk import DeadlineExceededError, ServerUnavailableError
from triton_sdk.local import LocalTriton, Runtime

pytestmark = pytest.mark.timeout(240)


def kill_in_flight(server: LocalTriton, client: Client) -> float:
    """Kill *server* while a call waits for its answer; return how long after that the call failed, in seconds."""
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(outcome, lambda: client.infer(pixels(2.5)))
        time.sleep(0.2)
        assert not call.done()
        killed = time.monotonic()
        os.kill(server.pid, signal.SIGKILL)
        found = call.result(30)
    assert type(found.error) is ServerUnavailableError
    return found.end - killed


def time_to_recover(successor: LocalTriton, client: Client, *, away: float) -> float:
    """Start *successor* after some seconds, with calls all the while; return how long after that one has an answer."""
    with Load(lambda: client.infer(pixels())) as load:
        time.sleep(away)
        successor.start()
        ready = time.monotonic()
        wait_until(lambda: any(call.error is None for call in load.outcomes))
    assert {type(error) for error in load.errors} == {ServerUnavailableError}
    return next(call.end for call in load.outcomes if call.error is None) - ready


@pytest.mark.timing
def test_a_killed_server_is_noticed_at_once_and_so_is_its_successor(
    connect: Connect, tmp_path: Path, runtime: Runtime
) -> None:
    """A call in flight fails in kind 0.6 s after kill -9; the same client works 0.5 s after another server is ready.

    These hold for the median of three times; each alone has 0.5 s more, for the machine may be busy.
    """
    scene.write_sleeper(tmp_path)
    noticed, recovered = [], []
    server = LocalTriton(tmp_path, runtime=runtime).start()
    try:
        port = int(server.grpc_url.rpartition(":")[2])
        client = connect(server.grpc_url, "sleeper")
        client.infer(pixels())
        for away in (0.0, 0.5, 1.0):
            noticed.append(kill_in_flight(server, client))
            server.stop()
            server = LocalTriton(tmp_path, grpc_port=port, runtime=runtime)
            recovered.append(time_to_recover(server, client, away=away))
    finally:
        server.stop()
    assert median(noticed) < 0.6
    assert max(noticed) < 1.1
    assert median(recovered) < 0.5
    assert max(recovered) < 1.0


@contextmanager
def frozen(server: LocalTriton) -> Iterator[None]:
    """Stop the process of *server*, so that its connections stay and nothing answers."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        # Its threads stop one by one.
        wait_until(lambda: scene.states(server.pid) == {"T"})
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.mark.timing
def test_a_frozen_server_costs_no_more_than_the_deadline(connect: Connect, server: LocalTriton) -> None:
    """Each call to a stopped process ends by its deadline, on an old or a new connection; it goes on, and so do they.

    The median call is over within 50 ms of its deadline, each within 500 ms, for the machine may be busy.
    """
    known, late = connect(server.grpc_url), []
    known.infer(pixels())
    with frozen(server):
        for client in (known, known, known, connect(server.grpc_url), connect(server.grpc_url)):
            call = outcome(lambda: client.infer(pixels(), timeout=0.3))  # noqa: B023 - it is called at once
            assert type(call.error) is DeadlineExceededError
            late.append(call.seconds - 0.3)
    known.infer(pixels(), timeout=5)
    client.infer(pixels(), timeout=5)
    assert median(late) < 0.05
    assert -0.001 < min(late) <= max(late) < 0.5
