"""Calls that share requests, over real gRPC."""

import asyncio
import itertools
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from tests.doubles.fake_triton import FakeTriton, Refused, image
from tests.wire.loops import Hang, run
from tests.wire.server import Served, serve
from triton_sdk import (
    AsyncResNetClient,
    Coalesce,
    DeadlineExceededError,
    ImageLike,
    InferenceFailedError,
    InvalidImageError,
    Prediction,
    RetryPolicy,
    ServerUnavailableError,
)
from triton_sdk.telemetry import Call


@pytest.fixture
def served() -> Iterator[Served]:
    """Serve a classifier."""
    with serve(FakeTriton()) as served:
        yield served


class TestCoalescing:
    def test_concurrent_calls_share_requests(self, served: Served) -> None:
        """Forty calls need ten requests and a few, no request is larger than the model takes, each answer is right."""

        async def body(client: AsyncResNetClient) -> list[Prediction]:
            await client.predict(image(0), version=1)
            served.triton.asked.clear()
            return await asyncio.gather(*(client.predict(image(value), version=1) for value in range(40)))

        found = run(served, body, coalesce=Coalesce(max_batch=8, max_wait_s=0.2))
        assert [one.index for one in found] == [(value + 1) % 5 for value in range(40)]
        sizes = [len(tensor) for _, tensor in served.triton.batches()]
        assert sum(sizes) == 40
        assert max(sizes) <= 4
        assert len(sizes) <= 14

    def test_versions_do_not_mix(self, served: Served) -> None:
        """Calls for different versions go in different requests."""

        async def body(client: AsyncResNetClient) -> list[Prediction]:
            return await asyncio.gather(*(client.predict(image(1), version=1 + turn % 2) for turn in range(16)))

        found = run(served, body, coalesce=Coalesce(max_wait_s=0.1))
        assert [(one.model_version, one.index) for one in found] == [(1, 2), (2, 3)] * 8

    @pytest.mark.parametrize("key", ["authorization", "x-tenant", "baggage"])
    def test_callers_with_other_metadata_do_not_mix(self, served: Served, key: str) -> None:
        """No image travels with another caller's authorization, and those of one caller still share requests."""
        caller: ContextVar[str] = ContextVar("caller")

        def sign(call: Call) -> None:
            call.metadata[key] = caller.get("nobody")

        async def ask(client: AsyncResNetClient, turn: int) -> None:
            caller.set(f"caller {turn % 2}")
            await client.predict(image(turn % 2), version=1)

        async def body(client: AsyncResNetClient) -> None:
            await client.predict(image(9), version=1)
            served.metadata.clear()
            served.triton.asked.clear()
            await asyncio.gather(*(ask(client, turn) for turn in range(16)))

        run(served, body, coalesce=Coalesce(max_wait_s=0.1), hooks=[sign])
        sent = sorted(
            (found[key], sorted({int(one.flat[0]) for one in tensor}))
            for found, (_, tensor) in zip(served.metadata, served.triton.batches(), strict=True)
        )
        assert sent == [("caller 0", [0])] * 2 + [("caller 1", [1])] * 2

    @pytest.mark.parametrize("key", ["traceparent", "x-b3-traceid", "sentry-trace"])
    def test_traces_do_not_keep_calls_apart(self, served: Served, key: str) -> None:
        """Each call has a trace of its own, and they share requests all the same."""
        turns = itertools.count()

        def trace(call: Call) -> None:
            call.metadata[key] = f"trace {next(turns)}"

        async def body(client: AsyncResNetClient) -> None:
            await client.predict(image(0), version=1)
            served.triton.asked.clear()
            await asyncio.gather(*(client.predict(image(1), version=1) for _ in range(16)))

        run(served, body, coalesce=Coalesce(max_wait_s=0.1), hooks=[trace])
        assert len(served.triton.batches()) == 4

    def test_a_bad_image_hurts_its_own_call_only(self, served: Served) -> None:
        """Of calls that share requests, the one with no image fails, before it gets into any."""

        async def body(client: AsyncResNetClient) -> list[Any]:
            images: list[ImageLike] = [image(1), b"no image", image(2)]
            return await asyncio.gather(*(client.predict(one) for one in images), return_exceptions=True)

        first, bad, last = run(served, body, coalesce=Coalesce(max_wait_s=0.05))
        assert isinstance(bad, InvalidImageError)
        assert (first.index, last.index) == (3, 4)

    def test_an_image_that_the_model_fails_on_hurts_its_own_call_only(self, served: Served) -> None:
        """A group that the server refuses is sent one by one, and only the culprit's call fails."""

        def twist(method: str, message: Any) -> None:
            if method == "ModelInfer" and b"\x09" in message.raw_input_contents[0]:
                raise Refused("INTERNAL", "nine")

        async def body(client: AsyncResNetClient) -> list[Any]:
            await client.predict(image(0))
            served.triton.twist = twist
            served.triton.asked.clear()
            calls = (client.predict(image(value)) for value in (1, 9, 3, 4))
            return await asyncio.gather(*calls, return_exceptions=True)

        found = run(served, body, coalesce=Coalesce(max_batch=4, max_wait_s=30))
        assert isinstance(found[1], InferenceFailedError)
        assert [one.index for one in (found[0], *found[2:])] == [3, 0, 1]
        assert served.triton.count("ModelInfer") == 5

    def test_a_cancelled_call_hurts_no_other(self, served: Served) -> None:
        """A call that is cancelled while its group waits is left out, and one whose group is on its way is let go."""
        hang = Hang()

        async def body(client: AsyncResNetClient) -> None:
            await client.predict(image(0), version=1)
            served.triton.asked.clear()
            tasks = [asyncio.create_task(client.predict(image(value), version=1)) for value in range(2)]
            await asyncio.sleep(0.1)
            tasks[1].cancel()
            # The group is full without it.
            tasks += [asyncio.create_task(client.predict(image(value), version=1)) for value in range(2)]
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(one) for one in found] == [Prediction, asyncio.CancelledError, Prediction, Prediction]
            assert [len(tensor) for _, tensor in served.triton.batches()] == [3]
            served.triton.twist = hang
            tasks = [asyncio.create_task(client.predict(image(value), version=1)) for value in range(3)]
            await asyncio.to_thread(hang.entered.wait, 30)
            tasks[0].cancel()
            hang.release.set()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(one) for one in found] == [asyncio.CancelledError, Prediction, Prediction]

        run(served, body, coalesce=Coalesce(max_batch=3, max_wait_s=30))

    def test_each_call_keeps_its_deadline(self, served: Served) -> None:
        """One whose time is up ends, and the one that shares its request is answered later."""
        hang = Hang()

        async def body(client: AsyncResNetClient) -> list[Any]:
            await client.predict(image(0), version=1)
            served.triton.twist = hang
            short = asyncio.create_task(client.predict(image(1), version=1, timeout=1))
            long = asyncio.create_task(client.predict(image(2), version=1, timeout=30))
            await asyncio.wait([short])
            assert not long.done()
            hang.release.set()
            return list(await asyncio.gather(short, long, return_exceptions=True))

        late, answered = run(served, body, coalesce=Coalesce(max_batch=2, max_wait_s=30))
        assert isinstance(late, DeadlineExceededError)
        assert answered.index == 3
        assert [len(tensor) for _, tensor in served.triton.batches()][-1] == 2

    def test_retries_stay_within_the_budget(self, served: Served) -> None:
        """Calls that share requests never make more of them than each alone would, with a fifth on top."""

        def twist(method: str, _message: object) -> None:
            if method == "ModelInfer":
                raise Refused("UNAVAILABLE", "Server is stopping")

        async def body(client: AsyncResNetClient) -> None:
            await client.contract()
            served.triton.twist = twist
            calls = (client.predict(image(1), version=1) for _ in range(100))
            found = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(one) for one in found} == {ServerUnavailableError}

        run(served, body, coalesce=Coalesce(max_batch=2, max_wait_s=0.01), retry=RetryPolicy(burst=0, base=0.01))
        assert served.triton.count("ModelInfer") <= 120
