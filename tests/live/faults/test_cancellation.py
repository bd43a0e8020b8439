"""Callers give up, many at once.

Triton 2.51 can end by itself if callers give up in the very moment in which their answers are done, here about once in
600 storms; NVIDIA has mended that since (docs/reliability.md). Each test has a server of its own, therefore, and is
tried once more on another one if Triton itself has died.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.doubles import tiny
from tests.doubles.pictures import jpeg
from tests.live.faults import scene
from tests.waiting import wait_until
from triton_sdk import AsyncResNetClient, ClientClosedError, Coalesce, Inference, ResNetClient
from triton_sdk.local import LocalTriton, Runtime

pytestmark = pytest.mark.timeout(180)

Weather = Callable[[Callable[[LocalTriton], None]], None]


@pytest.fixture
def weather(tmp_path: Path, runtime: Runtime) -> Weather:
    """Return what tries a scenario on a server of its own, and once more on another one if that has died by itself."""
    tiny.write_model(tmp_path, "quick", model=tiny.classifier())

    def attempt(scenario: Callable[[LocalTriton], None]) -> bool:
        with LocalTriton(tmp_path, runtime=runtime) as server:
            try:
                scenario(server)
            except Exception:
                if "Signal (" not in server.log_tail(40):
                    raise
                return False
        return True

    def run(scenario: Callable[[LocalTriton], None]) -> None:
        assert attempt(scenario) or attempt(scenario), "Triton has died twice"

    return run


@asynccontextmanager
async def storm_proof(server: LocalTriton, **settings: Any) -> AsyncIterator[AsyncResNetClient]:
    """Open a client of the quick model; in the end no task is left, and no error that nobody has seen."""
    unseen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    async with AsyncResNetClient(server.grpc_url, model="quick", **settings) as client:
        await client.infer(scene.pixels())
        yield client
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert unseen == []


async def storm(
    call: Callable[[int], Coroutine[Any, Any, Any]], *, calls: int, longest: float, seed: int = 0
) -> dict[int, Any]:
    """Make so many calls at once, cancel most after up to *longest* seconds, and return what came of the others.

    Each tenth is left alone and the first is cancelled at once, so that on a machine of any speed there are both.
    """
    draw, loop = random.Random(seed), asyncio.get_running_loop()
    tasks = [asyncio.create_task(call(number)) for number in range(calls)]
    for number, task in enumerate(tasks):
        if number % 10 != 9:
            loop.call_later(draw.uniform(0, longest) if number else 0, task.cancel)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    return {n: found for n, found in enumerate(outcomes) if not isinstance(found, asyncio.CancelledError)}


def grey(level: int) -> NDArray[np.uint8]:
    """Return a prepared tensor of one image of one level, uint8 (1, 8, 8, 3)."""
    return np.full((1, 8, 8, 3), level % 256, np.uint8)


@pytest.mark.parametrize("coalesce", [None, Coalesce(max_batch=8, max_wait_s=0.002)], ids=["alone", "together"])
def test_a_storm_of_cancellations_leaves_the_others_their_own_answers(
    weather: Weather, coalesce: Coalesce | None
) -> None:
    """Of 500 calls, three times, many are cancelled; each of the others is right, and nothing is left behind."""

    async def storms(server: LocalTriton, count: int) -> None:
        async with storm_proof(server, coalesce=coalesce) as client:
            expected = [(await client.infer(grey(level))).scores for level in range(256)]
            survivors = 0
            for seed in range(count):
                answers = await storm(lambda n: client.infer(grey(n)), calls=500, longest=0.3, seed=seed)
                for number, answer in answers.items():
                    assert isinstance(answer, Inference)
                    np.testing.assert_allclose(answer.scores, expected[number % 256], atol=1e-6)
                survivors += len(answers)
                await asyncio.gather(*(client.infer(grey(level), timeout=30) for level in range(50)))
            assert 50 * count <= survivors < 500 * count

    def scenario(server: LocalTriton) -> None:
        asyncio.run(storms(server, 1))
        threads, descriptors = scene.threads(), scene.descriptors()
        asyncio.run(storms(server, 3))
        wait_until(lambda: scene.threads() <= threads + scene.ELASTIC_THREADS)
        wait_until(lambda: scene.descriptors() <= descriptors)

    weather(scenario)


def test_cancelled_decoding_makes_room_again(weather: Weather) -> None:
    """After 200 photographs whose callers gave up, before their turn or in it, the next ones are served at once."""

    async def scenario(server: LocalTriton) -> None:
        photo = jpeg(640, 480, seed=1)
        async with storm_proof(server) as client:
            expected = await client.predict(photo)
            answers = await storm(lambda _: client.predict(photo), calls=200, longest=0.2)
            assert 20 <= len(answers) < 200
            assert all(answer == expected for answer in answers.values())
            assert await asyncio.gather(*(client.predict(photo, timeout=30) for _ in range(8))) == [expected] * 8

    weather(lambda server: asyncio.run(scenario(server)))


def test_lists_and_streams_may_be_given_up(weather: Weather) -> None:
    """A list that is cancelled, and a stream that is left, take what they had begun along."""

    async def leave_early(client: AsyncResNetClient, results: int) -> None:
        stream = client.predict_stream(endless(), batch_size=2)
        async for _ in stream:
            results -= 1
            if results < 0:
                break
        await stream.aclose()

    def endless() -> Any:
        while True:
            yield grey(7)[0]

    async def scenario(server: LocalTriton) -> None:
        async with storm_proof(server) as client:
            lists = await storm(lambda _: client.predict_many([grey(1)[0]] * 200, batch_size=4), calls=20, longest=0.2)
            assert 2 <= len(lists) < 20
            await asyncio.gather(*(leave_early(client, results) for results in range(20)))
            assert len(await client.predict_many([grey(1)[0]] * 20, timeout=30)) == 20

    weather(lambda server: asyncio.run(scenario(server)))


def test_closing_in_a_storm_ends_every_call(weather: Weather) -> None:
    """Each of 300 calls that are under way when the client is closed has an answer or the error of a closed client."""

    async def scenario(server: LocalTriton) -> None:
        async with storm_proof(server) as client:
            tasks = [asyncio.create_task(client.infer(grey(n))) for n in range(300)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await client.close()
            outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
            assert Inference in {type(found) for found in outcomes} <= {Inference, ClientClosedError}

    weather(lambda server: asyncio.run(scenario(server)))


def test_a_server_that_dies_by_itself_is_replaced_once(weather: Weather) -> None:
    """And a failure that is none of the server's is not tried again."""
    tried = []

    def scenario(server: LocalTriton) -> None:
        tried.append(server.pid)
        with ResNetClient(server.grpc_url, model="quick") as client:
            if len(tried) == 1:
                os.kill(server.pid, signal.SIGABRT)
                wait_until(lambda: "Signal (" in server.log_tail(40))
            client.infer(scene.pixels())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        weather(scenario)
    assert len(tried) == 2
