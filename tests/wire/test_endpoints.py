"""Several addresses, over real gRPC: both clients use all of them, and do without those that are gone."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doubles.blocking import Blocking
from tests.doubles.fake_triton import FakeTriton, Refused, image
from tests.waiting import wait_until
from tests.wire.names import names
from tests.wire.server import Served, serve
from triton_sdk import AsyncResNetClient, Prediction, ResNetClient, RetryPolicy, ServerUnavailableError


@pytest.fixture(params=[ResNetClient, Blocking])
def kind(request: pytest.FixtureRequest) -> Any:
    """Return how to make a client: of threads, and of an event loop."""
    return request.param


@pytest.fixture
def pair() -> Iterator[tuple[Served, Served]]:
    """Serve one classifier at two addresses."""
    with serve(FakeTriton()) as first, serve(FakeTriton()) as second:
        yield first, second


@pytest.mark.parametrize("separator", [",", ", ", None])
def test_addresses_take_turns(pair: tuple[Served, Served], kind: Any, separator: str | None) -> None:
    """With a list, or a text with commas, each server gets half of the calls."""
    urls = [served.url for served in pair]
    with kind(urls if separator is None else separator.join(urls), model="clf") as client:
        for _ in range(20):
            client.predict(image(1), version=1)
    counts = [len(served.triton.batches()) for served in pair]
    assert sum(counts) == 20
    assert min(counts) >= 9


def test_the_death_of_one_is_not_seen(pair: tuple[Served, Served], kind: Any) -> None:
    """Of 200 calls, during which one of two servers dies, none fails, and few requests are sent twice."""
    with kind([served.url for served in pair], model="clf") as client:
        for _ in range(50):
            client.predict(image(1), version=1)
        pair[0].server.stop(0).wait()
        before = pair[1].triton.count("ModelInfer")
        for value in range(150):
            assert client.predict(image(value), version=1).index == (value + 1) % 5
    assert pair[1].triton.count("ModelInfer") - before == 150


def test_one_that_comes_back_is_used_again(pair: tuple[Served, Served], kind: Any) -> None:
    """A server that returns at its address gets its share within a few seconds."""
    with kind([served.url for served in pair], model="clf") as client:
        client.predict(image(1))
        pair[0].server.stop(0).wait()
        for _ in range(4):
            client.predict(image(1))
        with serve(FakeTriton(), port=pair[0].port) as back:
            for _ in range(5000):
                client.predict(image(1))
                if len(back.triton.batches()) > 3:
                    break
            assert len(back.triton.batches()) > 3


def test_where_all_are_gone_the_budget_holds(pair: tuple[Served, Served], kind: Any) -> None:
    """Two servers that refuse see together no more than the calls and a fifth of them, with the store on top."""

    def refuse(_method: str, _message: object) -> None:
        raise Refused("UNAVAILABLE", "Server is stopping")

    for served in pair:
        served.triton.twist = refuse
    with kind([served.url for served in pair], model="clf", retry=RetryPolicy(base=0.001, cap=0.001)) as client:
        for _ in range(100):
            with pytest.raises(ServerUnavailableError):
                client.contract()
    assert sum(len(served.triton.asked) for served in pair) <= 100 + 20 + 10


def test_a_burst_on_a_dying_pair_is_not_seen(pair: tuple[Served, Served]) -> None:
    """Calls under way on the server that dies go to the other one."""

    async def main() -> list[Prediction]:
        async with AsyncResNetClient([served.url for served in pair], model="clf") as client:
            await client.predict(image(1))
            running = [asyncio.create_task(client.predict(image(1), version=1)) for _ in range(8)]
            await asyncio.sleep(0)
            await asyncio.to_thread(pair[0].server.stop(0).wait)
            more = [await client.predict(image(1), version=1) for _ in range(40)]
            return [*await asyncio.gather(*running), *more]

    assert {found.index for found in asyncio.run(main())} == {2}


def test_a_dns_name_is_one_address_of_many(pair: tuple[Served, Served], kind: Any) -> None:
    """A target that gRPC resolves is given to it whole, to take turns among its addresses."""
    with kind(f"dns:///127.0.0.1:{pair[0].port}", model="clf") as client:
        assert client.predict(image(1), version=1).index == 2
    with kind(f"ipv4:{pair[0].url},{pair[1].url}", model="clf") as client:
        assert client.predict(image(1), version=1).index == 2


def test_a_name_that_moves_is_followed(kind: Any) -> None:
    """A server that ends its connections is left within seconds, once its name leads elsewhere; no call fails."""
    with (
        names("127.0.0.1") as served,
        serve(FakeTriton(), age_ms=100) as first,
        serve(FakeTriton(), host="127.0.0.2", port=first.port) as second,
        kind(f"dns://127.0.0.1:{served.port}/triton.test:{first.port}", model="clf") as client,
    ):
        client.predict(image(1))
        assert first.triton.batches()
        served.addresses = ["127.0.0.2"]
        # gRPC's own default is 30 s.
        wait_until(
            lambda: client.predict(image(1)) and second.triton.batches(), "the new address", within_s=20, every_s=0.02
        )
        left = len(first.triton.batches())
        for _ in range(20):
            client.predict(image(1))
        assert len(first.triton.batches()) == left
