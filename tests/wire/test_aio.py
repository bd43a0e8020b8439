"""The async client over real gRPC: concurrency, cancellation, streams, shared requests, the end of its life."""

import asyncio
import gc
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import grpc
import pytest

from tests.doubles.blocking import listed
from tests.doubles.fake_triton import FakeTriton, Refused, batch, image
from tests.waiting import wait_until
from tests.wire.loops import Hang, run
from tests.wire.server import Served, serve
from triton_sdk import (
    AsyncResNetClient,
    ClientClosedError,
    Coalesce,
    DeadlineExceededError,
    EventLoopError,
    ImageLike,
    Inference,
    InferenceFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    Prediction,
    ServerError,
    ServerOverloadedError,
    ServerUnavailableError,
    TritonError,
)


@pytest.fixture
def served() -> Iterator[Served]:
    """Serve a classifier."""
    with serve(FakeTriton()) as served:
        yield served


def test_the_whole_of_the_client(served: Served) -> None:
    """Every call works against a real gRPC server."""

    async def body(client: AsyncResNetClient) -> None:
        await client.wait_ready(timeout=30)
        assert await client.ready()
        assert not await client.ready(version=9)
        assert await client.versions() == (1, 2)
        assert (await client.contract()).max_batch == 4
        prediction = await client.predict(image(3), version=1)
        assert (prediction.label, prediction.model, prediction.model_version) == ("fish, red", "clf", 1)
        many = await client.predict_many(image(value) for value in range(10))
        assert [found.index for found in many] == [(value + 2) % 5 for value in range(10)]
        assert (await client.infer(batch(*range(9)))).scores.shape == (9, 5)

    run(served, body)


@pytest.mark.parametrize(
    ("code", "details", "error"),
    [
        ("UNAVAILABLE", "[request id: 1] Exceeds maximum queue size", ServerOverloadedError),
        ("UNAVAILABLE", "Server is stopping", ServerUnavailableError),
        ("CANCELLED", "CANCELLED", ServerUnavailableError),
        ("DEADLINE_EXCEEDED", "too slow", DeadlineExceededError),
        ("INVALID_ARGUMENT", "unexpected shape for input 'image'", InvalidRequestError),
        ("NOT_FOUND", "Request for unknown model: 'clf' is not found", ModelNotFoundError),
        ("INTERNAL", "ValueError: boom", InferenceFailedError),
        ("UNAUTHENTICATED", "no token", ServerError),
    ],
)
def test_each_status_is_its_error(served: Served, code: str, details: str, error: type[TritonError]) -> None:
    """A status becomes the error of its kind, and gRPC's own error lies beneath."""

    def refuse(method: str, _message: object) -> None:
        if method == "ModelInfer":
            raise Refused(code, details)

    served.triton.twist = refuse
    with pytest.raises(TritonError) as caught:
        run(served, lambda client: client.predict(image(1)))
    assert type(caught.value) is error
    cause: Any = caught.value.__cause__
    assert (cause.code(), cause.details()) == (grpc.StatusCode[code], details)


def test_two_hundred_at_once(served: Served) -> None:
    """Each of 200 concurrent calls gets the answer to its own image, the first ones included."""

    async def body(client: AsyncResNetClient) -> list[Prediction]:
        return await asyncio.gather(*(client.predict(image(value), version=1) for value in range(200)))

    assert [found.index for found in run(served, body)] == [(value + 1) % 5 for value in range(200)]


@pytest.mark.timeout(60)
def test_a_loop_ends_after_a_thousand_calls(served: Served) -> None:
    """Neither the end of the loop nor that of the client waits for gRPC, whose poller may still have much to say."""

    async def body(client: AsyncResNetClient) -> None:
        await client.infer(batch(0))
        calls = [asyncio.create_task(client.infer(batch(0))) for _ in range(1000)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        await client.close()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(found) for found in outcomes} <= {Inference, ClientClosedError}

    run(served, body)
    gc.collect()


def test_the_loop_goes_on_while_images_are_decoded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding happens in another thread than the loop's."""
    from triton_sdk._flow import tensors

    threads = set()
    prepare = tensors.prepare

    def spy(*args: Any, **kwargs: Any) -> Any:
        threads.add(threading.current_thread())
        return prepare(*args, **kwargs)

    monkeypatch.setattr(tensors, "prepare", spy)
    run(served, lambda client: client.predict_many([image(1)] * 50, batch_size=4))
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.timing
def test_a_server_that_accepts_and_says_nothing_costs_the_timeout() -> None:
    """The call is over within 50 ms of its deadline, the best of three."""

    async def main(url: str) -> float:
        overruns = []
        async with AsyncResNetClient(url, model="clf") as client:
            for _ in range(3):
                begin = time.monotonic()
                with pytest.raises(DeadlineExceededError):
                    await client.predict(image(1), timeout=0.3)
                overruns.append(time.monotonic() - begin - 0.3)
        return min(overruns)

    with socket.create_server(("127.0.0.1", 0)) as frozen:
        assert 0 <= asyncio.run(main(f"127.0.0.1:{frozen.getsockname()[1]}")) < 0.05


class TestCancellation:
    def test_a_cancelled_call_leaves_the_client_usable(self, served: Served) -> None:
        """The call ends as cancelled, at once, and the next one works."""
        hang = Hang()

        async def body(client: AsyncResNetClient) -> Prediction:
            await client.predict(image(1))
            served.triton.twist = hang
            task = asyncio.create_task(client.predict(image(2)))
            await asyncio.to_thread(hang.entered.wait, 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            served.triton.twist = lambda _method, _message: None
            hang.release.set()
            return await client.predict(image(3), version=1)

        assert run(served, body).index == 4

    def test_a_storm_of_cancellations_leaves_the_client_usable(self, served: Served) -> None:
        """Of 300 calls two thirds are cancelled at every stage; the others are right, and so is the next."""

        async def body(client: AsyncResNetClient) -> None:
            tasks = [asyncio.create_task(client.predict(image(value % 250), version=1)) for value in range(300)]
            for value, task in enumerate(tasks):
                if value % 3:
                    await asyncio.sleep(0)
                    task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            for value, outcome in enumerate(outcomes):
                if isinstance(outcome, Prediction):
                    assert outcome.index == (value % 250 + 1) % 5
                else:
                    assert value % 3
                    assert isinstance(outcome, asyncio.CancelledError)
            assert (await client.predict(image(1), version=1)).index == 2

        run(served, body)

    def test_a_cancelled_list_cancels_its_batches(self, served: Served) -> None:
        """Nothing more is taken from the source, and nothing stays behind in the loop."""
        hang, taken = Hang(), []

        def source() -> Iterator[ImageLike]:
            for value in range(10_000):
                taken.append(value)
                yield image(1)

        async def body(client: AsyncResNetClient) -> int:
            await client.predict(image(1))
            served.triton.twist = hang
            task = asyncio.create_task(client.predict_many(source(), batch_size=2, in_flight=2))
            await asyncio.to_thread(hang.entered.wait, 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            hang.release.set()
            return len(asyncio.all_tasks())

        assert run(served, body) == 1
        assert len(taken) <= 6

    def test_the_first_failure_cancels_the_other_batches(self, served: Served) -> None:
        """A batch that would hang for half a minute does not hold up the failure of the next one."""
        hang = Hang()

        def twist(method: str, message: Any) -> None:
            first = message.raw_input_contents[0][0] if method == "ModelInfer" else 0
            if first == 5:
                hang(method, message)
            if first == 9:
                hang.entered.wait(30)
                raise Refused("INTERNAL", "nine")

        async def body(client: AsyncResNetClient) -> None:
            await client.predict(image(1))
            served.triton.twist = twist
            images = [image({4: 5, 8: 9}.get(place, 1)) for place in range(40)]
            with pytest.raises(InferenceFailedError, match="nine"):
                await client.predict_many(images, batch_size=4, in_flight=3)
            assert hang.entered.is_set()
            assert not hang.over.is_set()
            hang.release.set()

        run(served, body)


class TestStreams:
    @pytest.mark.parametrize("asynchronous", [False, True])
    @pytest.mark.parametrize("in_flight", [1, 3])
    def test_the_source_is_taken_as_results_are(self, served: Served, asynchronous: bool, in_flight: int) -> None:
        """Of an endless source no more is taken than what is under way, one batch ready, and one being yielded."""
        taken = 0

        def source() -> Iterator[ImageLike]:
            nonlocal taken
            while True:
                taken += 1
                yield image(1)

        async def asource() -> AsyncIterator[ImageLike]:
            for one in source():
                yield one

        async def body(client: AsyncResNetClient) -> None:
            images = asource() if asynchronous else source()
            got, ahead = 0, 0
            async with aclosing(client.predict_stream(images, batch_size=4, in_flight=in_flight)) as stream:
                async for _place, result in stream:
                    assert isinstance(result, Prediction)
                    got += 1
                    # A slow consumer: whatever could run ahead does so now.
                    await asyncio.sleep(0.005)
                    ahead = max(ahead, taken - got)
                    if got == 60:
                        break
            assert 0 < ahead <= 4 * (in_flight + 2)

        run(served, body)

    def test_a_source_that_pauses_holds_up_no_result(self, served: Served) -> None:
        """What was taken is answered though the source has nothing more yet."""

        async def body(client: AsyncResNetClient) -> None:
            more = asyncio.Event()

            async def source() -> AsyncIterator[ImageLike]:
                yield image(1)
                yield image(2)
                await more.wait()
                yield image(3)

            got = []
            async for place, _result in client.predict_stream(source(), batch_size=2):
                got.append(place)
                if place == 1:
                    more.set()
            assert got == [0, 1, 2]

        run(served, body)

    def test_a_batch_that_hangs_holds_up_no_other(self, served: Served) -> None:
        """Results come as they are ready, each with its place."""
        hang = Hang(only=1)

        async def body(client: AsyncResNetClient) -> list[int]:
            await client.predict(image(1))
            served.triton.twist = hang
            places = []
            async for place, _result in client.predict_stream([image(1)] * 12, batch_size=2, in_flight=2):
                places.append(place)
                if len(places) == 10:
                    hang.release.set()
            return places

        places = run(served, body)
        assert sorted(places) == list(range(12))
        assert places != sorted(places)

    def test_leaving_a_stream_leaves_the_client_usable(self, served: Served) -> None:
        """After a break in the loop over the stream nothing is under way, and the next call works."""

        async def body(client: AsyncResNetClient) -> int:
            async with aclosing(client.predict_stream([image(1)] * 500, batch_size=2)) as stream:
                async for _ in stream:
                    break
            left = len(asyncio.all_tasks())
            await client.predict(image(1))
            return left

        assert run(served, body) == 1


class TestLife:
    def test_closing_ends_the_calls_under_way(self, served: Served) -> None:
        """Calls in every stage end at once with the error of a closed client."""
        hang = Hang()

        async def body(client: AsyncResNetClient) -> list[Any]:
            await client.predict(image(1))
            served.triton.twist = hang
            tasks = [asyncio.create_task(client.predict(image(1))) for _ in range(20)]
            tasks.append(asyncio.create_task(client.predict_many([image(1)] * 100, batch_size=2)))  # type: ignore[arg-type]
            await asyncio.to_thread(hang.entered.wait, 30)
            await client.close()
            async with asyncio.timeout(5):
                return await asyncio.gather(*tasks, return_exceptions=True)

        try:
            found = run(served, body)
        finally:
            hang.release.set()
        assert {type(one) for one in found} == {ClientClosedError}

    @pytest.mark.parametrize("coalesce", [None, Coalesce(max_batch=2, max_wait_s=0.2)])
    def test_closing_ends_shared_requests_too(self, served: Served, coalesce: Coalesce | None) -> None:
        """A call whose request is shared ends with the error of a closed client."""
        hang = Hang()

        async def body(client: AsyncResNetClient) -> list[Any]:
            await client.predict(image(1))
            served.triton.twist = hang
            tasks = [asyncio.create_task(client.predict(image(1))) for _ in range(2)]
            await asyncio.to_thread(hang.entered.wait, 30)
            await client.close()
            return await asyncio.gather(*tasks, return_exceptions=True)

        try:
            found = run(served, body, coalesce=coalesce)
        finally:
            hang.release.set()
        assert {type(one) for one in found} == {ClientClosedError}

    def test_another_event_loop_is_told(self, served: Served) -> None:
        """A client that was used in one loop says so in the next; one that was not yet used is at home anywhere."""
        client = AsyncResNetClient(served.url, model="clf")

        async def use() -> int:
            return (await client.predict(image(1), version=1)).index

        with asyncio.Runner() as first, asyncio.Runner() as second:
            assert first.run(use()) == 2
            with pytest.raises(EventLoopError, match="another event loop"):
                second.run(use())
            assert first.run(use()) == 2
            first.run(client.close())

    def test_connections_are_freed_in_another_loop(self, served: Served) -> None:
        """A client that was used in a loop that has ended closes its connections in the next one."""
        client = AsyncResNetClient(served.url, model="clf")
        assert asyncio.run(client.predict(image(1), version=1)).index == 2
        asyncio.run(client.close())
        transport: Any = client._transport
        assert [channel._channel.closed() for channel in transport._channels] == [True]

    def test_another_process_is_told(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        """A client that was used before a fork says so in the child, though the loop be the same."""

        async def body(client: AsyncResNetClient) -> None:
            await client.predict(image(1))
            with monkeypatch.context() as child:
                child.setattr("os.getpid", lambda: -1)
                with pytest.raises(EventLoopError, match="forked"):
                    await client.predict(image(1))

        run(served, body)

    def test_many_lives_leave_nothing_behind(self, served: Served) -> None:
        """Thirty clients, opened, used and closed, leave no task and no thread of theirs."""

        async def main() -> int:
            for _ in range(30):
                async with AsyncResNetClient(served.url, model="clf") as client:
                    await client.predict_many([image(1)] * 9, batch_size=2)
                    assert len(await listed(client.predict_stream([image(1)] * 9, batch_size=2))) == 9
            return len(asyncio.all_tasks())

        assert asyncio.run(main()) == 1
        wait_until(
            lambda: not any(thread.name.startswith("triton-sdk") for thread in threading.enumerate()),
            "the end of the client's threads",
        )
