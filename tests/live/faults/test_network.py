"""The way to the server breaks, is blocked, or is slow."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median

import pytest

from tests.doubles.tcp_proxy import TcpProxy
from tests.live.faults import scene
from tests.live.faults.conftest import Connect
from tests.live.faults.scene import Load, outcome, pixels
from tests.waiting import wait_until
from triton_sdk import DeadlineExceededError, ServerUnavailableError
from triton_sdk.local import LocalTriton

pytestmark = pytest.mark.timeout(180)


def test_connection_resets_are_not_seen(connect: Connect, server: LocalTriton, proxy: TcpProxy) -> None:
    """Ten resets under a steady load fail no call and cost at most 6 % more requests, on the wire and in the server."""
    client = connect(proxy.url)
    client.infer(pixels())
    requests, executed = proxy.requests, scene.executed(server, "quick")
    with Load(lambda: client.infer(pixels()), threads=4) as load:
        load.wait_for(40)
        for _ in range(10):
            assert proxy.reset() == 1
            load.wait_for(80)
    assert load.errors == []
    calls = len(load.outcomes)
    # Each reset loses what four threads have under way, and no more.
    assert calls < proxy.requests - requests <= min(1.06 * calls, calls + 40)
    assert scene.executed(server, "quick") - executed <= 1.06 * calls
    assert proxy.connections == 11


def test_a_reset_under_an_answer_is_not_seen(connect: Connect, proxy: TcpProxy) -> None:
    """A call that was lost while the model worked on it is made again, and answered."""
    client = connect(proxy.url, "sleeper")
    client.infer(pixels())
    with ThreadPoolExecutor(1) as pool:
        with scene.held():
            call = pool.submit(outcome, lambda: client.infer(pixels(scene.HELD_S)))
            wait_until(scene.BUSY.exists, "the model at work")
            assert proxy.reset() == 1
        assert call.result(30).error is None


@pytest.mark.timing
def test_a_blocked_way_costs_no_more_than_the_deadline(connect: Connect, proxy: TcpProxy) -> None:
    """What is sent into a black hole fails in kind by its deadline; once the way is free, the same client works.

    The median of five calls is over within 50 ms of its deadline, each within 500 ms, for the machine may be busy.
    """
    client = connect(proxy.url)
    client.infer(pixels())
    proxy.hold()
    calls = [outcome(lambda: client.infer(pixels(), timeout=0.2)) for _ in range(5)]
    proxy.release()
    client.infer(pixels(), timeout=5)
    assert {type(call.error) for call in calls} == {DeadlineExceededError}
    late = [call.seconds - 0.2 for call in calls]
    assert median(late) < 0.05
    assert -0.001 < min(late) <= max(late) < 0.5


def test_a_slow_way_is_used(connect: Connect, proxy: TcpProxy) -> None:
    """A quarter of a second each way delays the answers and fails none, the connection's making included."""
    proxy.delay = 0.25
    client = connect(proxy.url)
    calls = [outcome(lambda: client.infer(pixels())) for _ in range(2)]
    assert [call.error for call in calls] == [None, None]
    assert all(call.seconds >= 0.5 for call in calls)
    assert proxy.connections == 1


def test_one_of_two_ways_may_go_and_come(connect: Connect, server: LocalTriton) -> None:
    """Of two addresses one dies and returns under a steady load: no call fails, and both have their share again."""
    with TcpProxy(server.grpc_url) as steady, TcpProxy(server.grpc_url) as wavering:
        client = connect([steady.url, wavering.url])
        before = scene.executed(server, "quick")
        with Load(lambda: client.infer(pixels())) as load:
            load.wait_for(100)
            wavering.refuse()
            load.wait_for(200)
            assert scene.executed(server, "quick") > before
            wavering.accept()
            requests = wavering.requests
            wait_until(lambda: wavering.requests > requests + 50)
        assert load.errors == []
        # gRPC fails what it cannot send before anything goes on the wire.
        assert len(load.outcomes) <= steady.requests + wavering.requests <= 1.06 * len(load.outcomes) + 2


@pytest.mark.timing
def test_a_server_that_comes_back_is_found_however_long_it_was_away(connect: Connect, server: LocalTriton) -> None:
    """Clients that call all the while work 0.5 s after the port accepts again: that is how far their pauses may grow.

    This holds for the median of eight clients, whose servers are away for up to 4 s; each has 0.5 s more.
    """

    def time_to_recover(proxy: TcpProxy, away: float) -> float:
        client = connect(proxy.url)
        client.infer(pixels())
        proxy.refuse()
        with Load(lambda: client.infer(pixels()), threads=1, pause=0.02) as load:
            begin.wait(30)
            time.sleep(away)
            proxy.accept()
            back = time.monotonic()
            wait_until(lambda: any(call.error is None for call in load.outcomes))
        assert {type(error) for error in load.errors} == {ServerUnavailableError}
        return next(call.end for call in load.outcomes if call.error is None) - back

    begin = threading.Barrier(8)
    with ExitStack() as open_proxies, ThreadPoolExecutor(8) as pool:
        proxies = [open_proxies.enter_context(TcpProxy(server.grpc_url)) for _ in range(8)]
        recovered = list(pool.map(time_to_recover, proxies, [0.5 * number for number in range(1, 9)]))
    assert median(recovered) < 0.5
    assert max(recovered) < 1.0
