"""The client's own promises: order, batches, life and death. What a call decides is tested with its flow."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fake_triton import batch, image
from tests.unit.scripted import ScriptedTransport
from triton_sdk import ClientClosedError, ConfigurationError, InvalidImageError, ResNetClient


@pytest.fixture
def transport() -> ScriptedTransport:
    """Return a transport to a server that answers at once."""
    return ScriptedTransport()


@pytest.fixture
def client(transport: ScriptedTransport) -> Iterator[ResNetClient]:
    """Return a client on that transport."""
    with ResNetClient("triton:8001", model="clf", transport=transport) as client:
        yield client


def test_a_new_client_sends_nothing(client: ResNetClient, transport: ScriptedTransport) -> None:
    """A server that is not there yet is no reason to fail at start."""
    assert "triton:8001" in repr(client)
    assert transport.sent == []


def test_many_images_keep_their_order(client: ResNetClient, transport: ScriptedTransport) -> None:
    """An iterable that can be walked once gives predictions in its order, in requests that fit the model."""
    predictions = client.predict_many((image(value) for value in range(21)), version=1, top_k=1)
    assert [prediction.index for prediction in predictions] == [(value + 1) % 5 for value in range(21)]
    assert [len(tensor) for _, tensor in transport.server.batches()] == [4, 4, 4, 4, 4, 1]


def test_a_batch_size_is_kept(client: ResNetClient, transport: ScriptedTransport) -> None:
    """A smaller batch than the model's is the user's choice."""
    client.predict_many([image(0)] * 5, batch_size=2)
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
    predictions = client.predict_many([image(0)] * 6, batch_size=2)
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
    client.predict_many([image(0)] * 6, batch_size=2, timeout=timeout)
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
        lambda client: client.infer(batch(1)),
        lambda client: client.contract(),
        lambda client: client.versions(),
        lambda client: client.ready(),
        lambda client: client.wait_ready(),
    ],
)
def test_a_closed_client_says_so(transport: ScriptedTransport, call: Callable[[ResNetClient], object]) -> None:
    """Every call after close is one clear error; closing twice is none."""
    client = ResNetClient("triton:8001", transport=transport)
    client.close()
    client.close()
    with pytest.raises(ClientClosedError, match="triton:8001 is closed"):
        call(client)
    assert transport.closed


def test_the_context_closes(transport: ScriptedTransport) -> None:
    """Leaving the context closes the client, be it by an error."""
    with pytest.raises(KeyError), ResNetClient("triton:8001", transport=transport):
        raise KeyError
    assert transport.closed
