"""The client's own promises: order, batches, life and death. What a call decides is tested with its flow."""

import io
from collections.abc import Callable, Iterator
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
