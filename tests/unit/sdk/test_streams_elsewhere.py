"""A stream of the asynchronous client that is closed in another event loop than it was made in."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from triton_sdk._wire.loop import batched, gathered


class Started:
    """Batches under way: the first is answered once two others are there, which wait for ever and note how they end."""

    def __init__(self) -> None:
        self.ended: list[int] = []
        self.all = asyncio.Event()

    async def run(self, place: int, _: list[int]) -> int:
        """Answer the first batch, and wait with all others."""
        if place == 4:
            self.all.set()
        try:
            await (asyncio.Event() if place else self.all).wait()
        except asyncio.CancelledError:
            self.ended.append(place)
            raise
        return place


async def endless() -> AsyncIterator[int]:
    """Give numbers without an end."""
    number = 0
    while True:
        yield number
        number += 1


def test_closing_in_the_loop_of_another_thread_frees_all(request: pytest.FixtureRequest) -> None:
    """What is under way ends in the loop that it runs in, before `aclose` returns."""
    home, started = asyncio.new_event_loop(), Started()
    thread = threading.Thread(target=home.run_forever)
    thread.start()

    def stop() -> None:
        home.call_soon_threadsafe(home.stop)
        thread.join()
        home.close()

    request.addfinalizer(stop)

    async def make() -> tuple[AsyncIterator[tuple[int, int]], tuple[int, int]]:
        stream = gathered(batched(endless(), 2), started.run, in_flight=3)
        return stream, await anext(stream)

    stream, first = asyncio.run_coroutine_threadsafe(make(), home).result(10)
    assert first == (0, 0)
    asyncio.run(stream.aclose())  # type: ignore[attr-defined]
    assert started.ended == [2, 4]


def test_closing_after_the_loop_is_over_is_quiet() -> None:
    """`asyncio.run` has ended every task, so that nothing is left to end."""
    started = Started()

    async def make() -> AsyncIterator[tuple[int, int]]:
        stream = gathered(batched(iter(range(100)), 2), started.run, in_flight=3)
        await anext(stream)
        # Without this, asyncio.run would close the generator too.
        asyncio.get_running_loop()._asyncgens.discard(stream)  # type: ignore[attr-defined]
        return stream

    stream = asyncio.run(make())
    asyncio.run(stream.aclose())  # type: ignore[attr-defined]
    assert sorted(started.ended) == [2, 4]
