"""The server has too much to do, loses its model, or is sick."""

import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median

import pytest

from tests.doubles.fake_triton import FakeTriton, Refused, batch
from tests.doubles.tcp_proxy import TcpProxy
from tests.live.faults import scene
from tests.live.faults.conftest import Connect
from tests.live.faults.scene import Load, at_once, outcome, pixels
from tests.waiting import wait_until
from tests.wire.server import serve
from triton_sdk import ModelNotFoundError, ResNetClient, ServerOverloadedError, ServerUnavailableError
from triton_sdk.local import LocalTriton

pytestmark = pytest.mark.timeout(180)


@contextmanager
def full_queue(server: LocalTriton) -> Iterator[None]:
    """Keep the model with the short queue at work, and its queue full; all who wait get their answers."""

    def insist(seconds: float) -> None:
        while type(error := outcome(lambda: client.infer(pixels(seconds))).error) is ServerOverloadedError:
            time.sleep(0.01)
        assert error is None

    with ResNetClient(server.grpc_url, model="crowded") as client, ThreadPoolExecutor(3) as pool:
        client.infer(pixels())
        with scene.held():
            answers = [pool.submit(insist, scene.HELD_S)]
            wait_until(scene.BUSY.exists, "the model at work")
            answers += [pool.submit(insist, 0) for _ in range(2)]
            wait_until(
                lambda: scene.metric(server, "nv_inference_pending_request_count", "crowded") == 2, "a full queue"
            )
            yield
            assert not answers[0].done()
        for answer in answers:
            answer.result(30)


def test_a_full_queue_rejects_and_is_not_asked_again(connect: Connect, server: LocalTriton, proxy: TcpProxy) -> None:
    """Each rejection, one after the other or at once, is an error of its own kind, made from one request."""
    client = connect(proxy.url, "crowded")
    client.infer(pixels())
    before = proxy.requests
    with full_queue(server):
        calls = [outcome(lambda: client.infer(pixels())) for _ in range(5)]
        calls += at_once(lambda: client.infer(pixels()), 20)
    assert {type(call.error) for call in calls} == {ServerOverloadedError}
    assert proxy.requests - before == 25
    client.infer(pixels())


@pytest.mark.timing
def test_a_full_queue_rejects_at_once(connect: Connect, server: LocalTriton) -> None:
    """A rejection takes at most 10 ms more than an answer of an idle model, in the median of twenty, with its retry."""
    client, idle = connect(server.grpc_url, "crowded"), connect(server.grpc_url)
    client.infer(pixels())
    idle.infer(pixels())
    with full_queue(server):
        pairs = [(outcome(lambda: client.infer(pixels())), outcome(lambda: idle.infer(pixels()))) for _ in range(20)]
    assert {type(rejected.error) for rejected, _ in pairs} == {ServerOverloadedError}
    assert median(rejected.seconds for rejected, _ in pairs) < 0.01 + median(answered.seconds for _, answered in pairs)


def control(server: LocalTriton, model: str, verb: str) -> None:
    """Tell the server to load or unload *model*, and wait until it has."""
    request = urllib.request.Request(f"{server.http_url}/v2/repository/models/{model}/{verb}", b"{}")
    scene.OPENER.open(request, timeout=20).close()


def test_a_model_that_is_unloaded_under_its_calls_gives_answers_or_typed_errors(
    connect: Connect, server: LocalTriton
) -> None:
    """Calls under way are answered, later ones fail in kind, and none that begins after the model is back fails."""
    client = connect(server.grpc_url, "sleeper")
    client.infer(pixels())
    with Load(lambda: client.infer(pixels(0.02))) as load:
        load.wait_for(10)
        unloading = time.monotonic()
        try:
            control(server, "sleeper", "unload")
            load.wait_for(20)
        finally:
            control(server, "sleeper", "load")
        loaded = time.monotonic()
        load.wait_for(20)
    assert {type(error) for error in load.errors} <= {ModelNotFoundError, ServerUnavailableError}
    assert len(load.errors) >= 10
    assert [call for call in load.outcomes if call.error and (call.end < unloading or call.begin > loaded)] == []


@pytest.mark.parametrize("when", ["from the start", "later"])
def test_a_sick_server_sees_at_most_a_fifth_more(connect: Connect, when: str) -> None:
    """Where every request is refused, 400 calls of 8 threads make at most 480 requests, each call a typed error."""
    triton = FakeTriton()

    def refuse(_method: str, _message: object) -> None:
        raise Refused("UNAVAILABLE", "out of order")

    with serve(triton) as served:
        client = connect(served.url, "clf")
        if when == "later":
            client.infer(batch(1))
        triton.twist, before = refuse, len(triton.asked)
        with ThreadPoolExecutor(8) as pool:
            calls = list(pool.map(lambda _: outcome(lambda: client.infer(batch(1))), range(400)))
        assert {type(call.error) for call in calls} == {ServerUnavailableError}
        assert 400 < len(triton.asked) - before <= 480
        triton.twist = lambda _method, _message: None
        client.infer(batch(1))
