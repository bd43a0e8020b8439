"""The client's own promises: order, batches, life and death. What a call decides is tested with its flow."""

import asyncio
import io
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from inspect import signature
from typing import Any

import pytest
from PIL import Image

from tests.doubles.blocking import Blocking
from tests.doubles.fake_triton import batch, image
from tests.doubles.scripted import ScriptedTransport
from triton_sdk import (
    AsyncResNetClient,
    ClientClosedError,
    ConfigurationError,
    ImageLike,
    InferenceFailedError,
    InvalidImageError,
    Prediction,
    ResNetClient,
    ServerUnavailableError,
    Shadow,
    ShadowReport,
)
from triton_sdk._flow.failures import Failure


@pytest.fixture
def transport() -> ScriptedTransport:
    """Return a transport to a server that answers at once."""
    return ScriptedTransport()


@pytest.fixture(params=[ResNetClient, Blocking])
def kind(request: pytest.FixtureRequest) -> Any:
    """Return how to make a client: of threads, and of an event loop."""
    return request.param


@pytest.fixture
def client(transport: ScriptedTransport, kind: Any) -> Iterator[ResNetClient]:
    """Return a client on that transport."""
    with kind("triton:8001", model="clf", transport=transport) as client:
        yield client


def test_a_new_client_sends_nothing(client: ResNetClient, transport: ScriptedTransport) -> None:
    """A server that is not there yet is no reason to fail at start."""
    assert "triton:8001" in repr(client)
    assert transport.sent == []


def test_many_images_keep_their_order(client: ResNetClient, transport: ScriptedTransport) -> None:
    """An iterable that can be walked once gives predictions in its order, in requests that fit the model."""
    predictions = client.predict_many((image(value) for value in range(21)), version=1, top_k=1, in_flight=1)
    assert [prediction.index for prediction in predictions] == [(value + 1) % 5 for value in range(21)]
    assert [len(tensor) for _, tensor in transport.server.batches()] == [4, 4, 4, 4, 4, 1]


def test_a_batch_size_is_kept(client: ResNetClient, transport: ScriptedTransport) -> None:
    """A smaller batch than the model's is the user's choice."""
    client.predict_many([image(0)] * 5, batch_size=2, in_flight=1)
    assert [len(tensor) for _, tensor in transport.server.batches()] == [2, 2, 1]


def test_no_images_give_no_predictions(client: ResNetClient, transport: ScriptedTransport) -> None:
    """An empty iterable is answered without the server."""
    assert client.predict_many(iter(())) == []
    assert transport.sent == []


def test_one_bad_image_among_many_is_named(client: ResNetClient) -> None:
    """The place counts through all batches."""
    images: list[Any] = [image(0)] * 18 + [b"text"]
    with pytest.raises(InvalidImageError, match="Image 18 "):
        client.predict_many(images)


def test_many_images_do_not_stick_to_a_version(client: ResNetClient, transport: ScriptedTransport) -> None:
    """A new version between two batches takes over, for the old one may be gone; each prediction tells its own."""

    def upgrade(_method: str, _message: object) -> None:
        if len(transport.server.batches()) == 3:
            transport.server.versions = (3,)

    transport.server.twist = upgrade
    predictions = client.predict_many([image(0)] * 6, batch_size=2, in_flight=1)
    assert [prediction.model_version for prediction in predictions] == [2, 2, 2, 2, 3, 3]


@pytest.mark.parametrize(("timeout", "budgets"), [(None, [30.0, 30.0, 30.0]), (9.0, [9.0, 5.0, 1.0])])
def test_the_client_s_timeout_holds_for_each_batch_and_a_call_s_own_for_all(
    client: ResNetClient,
    transport: ScriptedTransport,
    monkeypatch: pytest.MonkeyPatch,
    timeout: float | None,
    budgets: list[float],
) -> None:
    """A long list does not use up the default timeout; one that is given for the call bounds the whole of it."""
    client.predict(image(0))
    monkeypatch.setattr(client._session, "clock", transport.clock)
    already = len(transport.sent)
    transport.script = [(4.0, None), (4.0, None), (0.0, None)]
    client.predict_many([image(0)] * 6, batch_size=2, in_flight=1, timeout=timeout)
    assert [request.timeout for request in transport.sent[already:]] == pytest.approx(budgets)


def test_the_contract_is_read_once(client: ResNetClient, transport: ScriptedTransport) -> None:
    """It is kept for the client's life."""
    assert client.contract() is client.contract()
    assert transport.methods == ["ModelConfig"]


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.predict(image(1), version=0),
        lambda client: client.predict(image(1), version=True),
        lambda client: client.predict(image(1), version="2"),
        lambda client: client.predict(image(1), top_k=0),
        lambda client: client.predict(image(1), timeout=0),
        lambda client: client.predict_many([image(1)], batch_size=0),
        lambda client: client.predict_many([image(1)], in_flight=0),
        lambda client: client.predict_stream([image(1)], batch_size=0),
        lambda client: client.predict_stream([image(1)], in_flight=0),
        lambda client: client.predict_stream([image(1)], timeout=-1),
        lambda client: client.predict_stream([image(1)], top_k=0),
        lambda client: client.infer(batch(1), version=-1),
        lambda client: client.ready(version=0),
        lambda client: client.wait_ready(timeout=-1),
    ],
)
def test_an_argument_out_of_range_is_told_before_anything_is_sent(
    client: ResNetClient, transport: ScriptedTransport, call: Callable[[ResNetClient], object]
) -> None:
    """The error is about the argument, not from the server."""
    with pytest.raises(ConfigurationError, match="was expected"):
        call(client)
    assert transport.sent == []


def test_more_classes_than_there_are_is_all_of_them(client: ResNetClient) -> None:
    """top_k beyond the number of classes is no error."""
    assert len(client.predict(image(1), top_k=99).top) == 5


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.predict(image(1)),
        lambda client: client.predict_many([image(1)]),
        lambda client: client.predict_stream([image(1)]),
        lambda client: client.infer(batch(1)),
        lambda client: client.contract(),
        lambda client: client.versions(),
        lambda client: client.ready(),
        lambda client: client.wait_ready(),
    ],
)
def test_a_closed_client_says_so(
    transport: ScriptedTransport, kind: Any, call: Callable[[ResNetClient], object]
) -> None:
    """Every call after close is one clear error; closing twice is none."""
    with kind("triton:8001", transport=transport) as client:
        client.close()
        client.close()
        with pytest.raises(ClientClosedError, match="triton:8001 is closed"):
            call(client)
    assert transport.closed


def test_a_setting_that_there_is_not_is_told(transport: ScriptedTransport, kind: Any) -> None:
    """A slip of the pen in a setting's name is no setting that is silently left out."""
    with pytest.raises(TypeError, match="'timeout_s'"):
        kind("triton:8001", transport=transport, timeout_s=3)


def test_the_context_closes(transport: ScriptedTransport, kind: Any) -> None:
    """Leaving the context closes the client, be it by an error."""
    with pytest.raises(KeyError), kind("triton:8001", transport=transport):
        raise KeyError
    assert transport.closed


class TestStreams:
    def test_each_image_has_its_own_outcome(self, client: ResNetClient, transport: ScriptedTransport) -> None:
        """What is no image is an error in its own place, named without the others, and the rest is predicted."""
        images: list[Any] = [image(0), b"text", image(2), io.BytesIO(b""), 7, image(5)]
        found = dict(client.predict_stream(images, batch_size=4, version=1))
        assert sorted(found) == list(range(6))
        assert sorted(place for place, result in found.items() if isinstance(result, InvalidImageError)) == [1, 3, 4]
        predictions = {place: result.index for place, result in found.items() if isinstance(result, Prediction)}
        assert predictions == {0: 1, 2: 3, 5: 1}
        assert sorted(len(tensor) for _, tensor in transport.server.batches()) == [1, 2]

    def test_a_batch_of_nothing_usable_is_not_sent(self, client: ResNetClient, transport: ScriptedTransport) -> None:
        """Where no image of a batch can be used, the server is not asked for it."""
        found = list(client.predict_stream([b"", b"x"]))
        assert [type(result) for _, result in found] == [InvalidImageError] * 2
        assert transport.server.batches() == []

    def test_an_open_file_is_read_once(self, client: ResNetClient) -> None:
        """A file in a batch with a bad image is predicted though it is looked at twice."""
        file = io.BytesIO()
        Image.fromarray(image(3)).save(file, "PNG")
        file.seek(0)
        (_, first), (_, second) = client.predict_stream([file, b"x"], version=1)
        assert isinstance(first, Prediction)
        assert isinstance(second, InvalidImageError)

    def test_a_failing_server_is_the_error_of_each_image_of_its_batch(
        self, client: ResNetClient, transport: ScriptedTransport
    ) -> None:
        """The stream goes on behind a batch that failed."""
        client.predict(image(0))
        transport.fail(Failure("INTERNAL", "boom"))
        found = list(client.predict_stream([image(0)] * 6, batch_size=2, in_flight=1))
        assert [type(result) for _, result in found] == [InferenceFailedError] * 2 + [Prediction] * 4
        assert [place for place, _ in found] == list(range(6))

    def test_each_image_of_a_failed_batch_has_an_error_of_its_own(
        self, client: ResNetClient, transport: ScriptedTransport
    ) -> None:
        """Who raises one, or writes a note to it, changes no other; all have the same words, data and cause."""
        client.predict(image(0))
        cause = OSError("beneath")
        transport.fail(*[Failure("UNAVAILABLE", "gone", cause)] * 3)
        errors = [result for _, result in client.predict_stream([image(0)] * 3, batch_size=3, in_flight=1)]
        assert [type(error) for error in errors] == [ServerUnavailableError] * 3
        assert len({id(error) for error in errors}) == 3
        first, *others = errors
        assert isinstance(first, ServerUnavailableError)
        for other in others:
            assert isinstance(other, ServerUnavailableError)
            assert (str(other), other.attempts, other.code, other.__notes__) == (
                str(first),
                first.attempts,
                first.code,
                first.__notes__,
            )
            assert other.__cause__ is cause
        first.add_note("mine")
        assert all("mine" not in getattr(other, "__notes__", []) for other in others)

    def test_what_concerns_every_call_ends_the_stream(self, kind: Any, transport: ScriptedTransport) -> None:
        """Labels that do not fit the model are one error, not one for each image."""
        with (
            kind("triton:8001", model="clf", transport=transport, labels=["one"]) as client,
            pytest.raises(ConfigurationError, match="1 labels"),
        ):
            list(client.predict_stream([image(0)] * 40, batch_size=2))

    def test_nothing_gives_nothing(self, client: ResNetClient, transport: ScriptedTransport) -> None:
        """An empty stream ends without the server."""
        assert list(client.predict_stream(iter(()))) == []
        assert transport.sent == []

    def test_a_source_that_fails_is_the_callers_own_error(self, client: ResNetClient) -> None:
        """What an iterable raises comes through as it is."""

        def source() -> Iterator[ImageLike]:
            yield image(0)
            raise LookupError("the source broke")

        with pytest.raises(LookupError, match="the source broke"):
            list(client.predict_stream(source(), batch_size=1))


@pytest.mark.parametrize("in_flight", [1, 2, 5])
def test_the_order_is_kept_however_many_are_under_way(client: ResNetClient, in_flight: int) -> None:
    """Batches may overtake each other; the list does not show it."""
    found = client.predict_many((image(value) for value in range(50)), version=1, batch_size=3, in_flight=in_flight)
    assert [prediction.index for prediction in found] == [(value + 1) % 5 for value in range(50)]


@pytest.mark.parametrize("in_flight", [1, 3])
def test_the_first_failure_ends_the_call_bare(
    client: ResNetClient, transport: ScriptedTransport, in_flight: int
) -> None:
    """The error is the failure itself, no group, and the images behind it are not taken."""
    taken = []

    def source() -> Iterator[ImageLike]:
        for value in range(1000):
            taken.append(value)
            yield image(value % 250)

    client.predict(image(0))
    transport.fail(Failure("INTERNAL", "boom"))
    with pytest.raises(InferenceFailedError, match="boom"):
        client.predict_many(source(), batch_size=2, in_flight=in_flight)
    assert len(taken) < 100


def test_both_clients_have_the_same_calls() -> None:
    """Names, parameters, defaults and their order are the same; only the async client can coalesce."""
    calls = [name for name in vars(ResNetClient) if not name.startswith("_")]
    assert [name for name in vars(AsyncResNetClient) if not name.startswith("_") and name != "from_config"] == calls
    for name in calls:
        theirs, ours = (signature(getattr(kind, name)).parameters for kind in (AsyncResNetClient, ResNetClient))
        assert [(p.name, p.kind, p.default) for p in theirs.values()] == [
            (p.name, p.kind, p.default) for p in ours.values()
        ], name
    for name in ("__init__", "from_config", "from_env"):
        theirs, ours = (signature(getattr(kind, name)).parameters for kind in (AsyncResNetClient, ResNetClient))
        assert [p.name for p in theirs.values() if p.name != "coalesce"] == list(ours)


def test_each_report_of_a_failed_candidate_has_an_error_of_its_own(transport: ScriptedTransport) -> None:
    """A shadow that fails on three images is told three times, of three objects."""
    told: list[ShadowReport] = []
    done = threading.Event()

    def report(one: ShadowReport) -> None:
        told.append(one)
        if len(told) == 3:
            done.set()

    with ResNetClient("triton:8001", model="clf", transport=transport) as client:
        client.predict_many([image(0)] * 3, version=Shadow(1, 9, fraction=1.0, report=report))
        assert done.wait(30)
    assert [type(one.error).__name__ for one in told] == ["ModelNotFoundError"] * 3
    assert len({id(one.error) for one in told}) == 3


class Pausing:
    """A source that gives what it is told to, and waits in between."""

    def __init__(self) -> None:
        self.more = threading.Event()
        self.threads: set[str] = set()

    def __iter__(self) -> Iterator[ImageLike]:
        self.threads.add(threading.current_thread().name)
        yield image(1)
        yield image(2)
        assert self.more.wait(30), "the results were held up"
        yield image(3)


class TestPausingSources:
    def test_a_source_that_pauses_holds_up_no_result(self, transport: ScriptedTransport) -> None:
        """In the client for threads, too, what was taken is answered though the source has nothing more yet."""
        source, got = Pausing(), []
        with ResNetClient("triton:8001", model="clf", transport=transport) as client:
            for place, _result in client.predict_stream(source, batch_size=2):
                got.append(place)
                if place == 1:
                    source.more.set()
        assert got == [0, 1, 2]

    def test_a_stream_is_left_though_its_source_never_goes_on(self, transport: ScriptedTransport) -> None:
        """Leaving the loop waits for no source, and nothing more is asked of it."""
        source = Pausing()
        with ResNetClient("triton:8001", model="clf", transport=transport) as client:
            stream = client.predict_stream(source, batch_size=2)
            assert next(stream)[0] == 0
            stream.close()
            assert client.predict(image(1), version=1).index == 2
        source.more.set()

    @pytest.mark.parametrize("in_flight", [1, 3])
    def test_what_a_source_raises_comes_through(self, transport: ScriptedTransport, in_flight: int) -> None:
        """From its thread as from the caller's, behind the results that were there."""

        def source() -> Iterator[ImageLike]:
            yield image(1)
            raise KeyboardInterrupt

        with (
            ResNetClient("triton:8001", model="clf", transport=transport) as client,
            pytest.raises(KeyboardInterrupt),
        ):
            list(client.predict_stream(source(), batch_size=1, in_flight=in_flight))

    def test_only_a_stream_takes_its_source_elsewhere(self, transport: ScriptedTransport) -> None:
        """A list of results, and a stream with one batch under way, are made in the calling thread."""
        here = threading.current_thread().name
        with ResNetClient("triton:8001", model="clf", transport=transport) as client:
            for call in (
                lambda source: client.predict_many(source, batch_size=2),
                lambda source: list(client.predict_stream(source, batch_size=2, in_flight=1)),
            ):
                source = Pausing()
                source.more.set()
                call(source)
                assert source.threads == {here}

    def test_a_source_sees_the_callers_context(self, transport: ScriptedTransport) -> None:
        """Where it finds the caller's trace, or whatever else is kept there."""
        variable: ContextVar[str] = ContextVar("variable", default="none")
        seen = []

        def source() -> Iterator[ImageLike]:
            seen.append(variable.get())
            yield image(1)

        variable.set("mine")
        with ResNetClient("triton:8001", model="clf", transport=transport) as client:
            list(client.predict_stream(source()))
        assert seen == ["mine"]


class TestClosingElsewhere:
    """An async client is closed in another event loop than that of its calls."""

    def used(self, transport: ScriptedTransport, runner: asyncio.Runner) -> AsyncResNetClient:
        """Return a client that was used in the loop of *runner*."""
        client = AsyncResNetClient("triton:8001", model="clf", transport=transport)
        runner.run(client.predict(image(1)))
        return client

    def test_after_its_loop_has_ended_all_is_freed(self, transport: ScriptedTransport) -> None:
        """The usual end of a script: asyncio.run() for the calls, and another one for the end."""
        with asyncio.Runner() as runner:
            client = self.used(transport, runner)
        asyncio.run(client.close())
        assert transport.closed
        assert client._pool._shutdown
        with pytest.raises(ClientClosedError):
            asyncio.run(client.predict(image(1)))

    def test_while_its_loop_stands_still_all_is_freed(self, transport: ScriptedTransport) -> None:
        """Neither loop is needed for it."""
        with asyncio.Runner() as first, asyncio.Runner() as second:
            client = self.used(transport, first)
            second.run(client.close())
            assert transport.closed
            first.run(client.close())

    def test_while_its_loop_runs_it_is_closed_over_there(self) -> None:
        """What belongs to a loop in another thread is ended there, and waited for here."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        closed_in: list[str] = []

        class Noting(ScriptedTransport):
            """Notes in which thread it is closed."""

            def close(self) -> None:
                """Note it."""
                closed_in.append(threading.current_thread().name)

        transport = Noting()
        client = AsyncResNetClient("triton:8001", model="clf", transport=transport)
        try:
            asyncio.run_coroutine_threadsafe(client.predict(image(1)), loop).result(30)
            asyncio.run(client.close())
            assert closed_in == [thread.name]
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(30)
            loop.close()

    def test_a_forked_child_leaves_the_parents_alone(
        self, transport: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is closed for the child, and no connection of the parent's is touched."""
        with asyncio.Runner() as runner:
            client = self.used(transport, runner)
            with monkeypatch.context() as child:
                child.setattr("os.getpid", lambda: -1)
                runner.run(client.close())
            assert not transport.closed
            runner.run(client.close())
            assert transport.closed
