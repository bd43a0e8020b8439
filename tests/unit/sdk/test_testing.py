"""The server in memory that our users test with: it says what they ask for, and behaves as the real one."""

from collections.abc import Iterator

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.doubles.fake_triton import image
from triton_sdk import (
    ClientClosedError,
    ConfigurationError,
    DeadlineExceededError,
    InferenceFailedError,
    InvalidRequestError,
    ModelContract,
    ModelNotFoundError,
    ResNetClient,
    RetryPolicy,
    ServerError,
    ServerOverloadedError,
    ServerUnavailableError,
    TensorSpec,
    TritonError,
)
from triton_sdk.testing import Fault, ScriptedTransport

# A model that takes normalised planes, of which each image is a request.
PLANES = ModelContract(
    model="planes",
    input=TensorSpec(name="data", dtype="FP32", shape=(3, 8, 8), batch=""),
    output=TensorSpec(name="scores", dtype="FP32", shape=(3,), batch=""),
    layout="NCHW",
    max_batch=0,
    resize=8,
    mean=(0, 0, 0),
    std=(1, 1, 0.5),
)


@pytest.fixture
def transport() -> ScriptedTransport:
    """Return a server with a cat, then a dog, in two versions."""
    return ScriptedTransport([{"cat": 0.9}, [0.25, 0.75]], labels=["cat", "dog"], versions=(1, 2))


@pytest.fixture
def client(transport: ScriptedTransport) -> Iterator[ResNetClient]:
    """Return a client of it that waits for no retry."""
    with ResNetClient("scripted:1", transport=transport, retry=RetryPolicy(base=0)) as client:
        yield client


def test_answers_are_given_in_turn(client: ResNetClient) -> None:
    """Image by image, by name or by index, and again from the first."""
    found = client.predict_many([image(0)] * 3)
    assert [(p.label, round(p.probability, 6)) for p in found] == [("cat", 0.9), ("dog", 0.75), ("cat", 0.9)]


def test_a_function_sees_the_pixels_and_the_version() -> None:
    """What the model would have been given decides, each version in its way."""

    def answer(pixels: NDArray[np.uint8], version: int) -> dict[str, float]:
        assert pixels.shape == (224, 224, 3)
        return {"goldfish" if pixels.mean() > 100 else "kimono": version / 10}

    with ResNetClient("scripted:1", transport=ScriptedTransport(answer, versions=(1, 2))) as client:
        found = [client.predict(image(level), version=version) for level, version in ((200, None), (0, 1))]
    assert [(p.label, round(p.probability, 6), p.model_version) for p in found] == [
        ("goldfish", 0.2, 2),
        ("kimono", 0.1, 1),
    ]


def test_without_a_script_the_first_class_is_certain() -> None:
    """A transport made of nothing stands for a packaged ResNet50 with ImageNet's names."""
    with ResNetClient("scripted:1", transport=ScriptedTransport()) as client:
        prediction = client.predict(image(0))
        assert (prediction.label, prediction.probability, client.contract().classes) == ("tench", 1.0, 1000)


def test_what_was_asked_is_kept(client: ResNetClient, transport: ScriptedTransport) -> None:
    """A record for each inference, with version, tensor and timeout; questions for contract and labels are none."""
    client.predict_many([image(3)] * 2, version=1, timeout=7)
    client.predict(image(4))
    first, second = transport.requests
    assert (first.version, first.images.shape, second.version) == (1, (2, 224, 224, 3), None)
    assert 6 < first.timeout <= 7
    assert second.images.max() == 4


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("unavailable", ServerUnavailableError),
        ("overloaded", ServerOverloadedError),
        ("slow", DeadlineExceededError),
        ("failed", InferenceFailedError),
        ("invalid", InvalidRequestError),
        ("denied", ServerError),
    ],
)
def test_a_fault_becomes_its_error(
    client: ResNetClient, transport: ScriptedTransport, fault: Fault, error: type[TritonError]
) -> None:
    """As many times as there are attempts; then all is well again."""
    transport.fail(fault, times=3 if fault == "unavailable" else 1)
    with pytest.raises(error) as caught:
        client.predict(image(0))
    assert type(caught.value) is error
    assert client.predict(image(0)).label == "cat"


def test_one_lost_request_is_mended_by_a_retry(client: ResNetClient, transport: ScriptedTransport) -> None:
    """The client's own policy decides, and the script does not go on for a request that failed."""
    transport.fail("unavailable")
    assert client.predict(image(0)).label == "cat"
    assert len(transport.requests) == 2


def test_a_server_can_go_and_come_back(client: ResNetClient, transport: ScriptedTransport) -> None:
    """While it is stopped nothing is answered, not even whether it is ready."""
    transport.stop()
    assert not client.ready()
    with pytest.raises(ServerUnavailableError):
        client.predict(image(0))
    transport.start()
    assert client.ready()
    assert client.predict(image(0)).label == "cat"


def test_versions_come_and_go(client: ResNetClient, transport: ScriptedTransport) -> None:
    """What is ready is what the test says at the moment."""
    assert client.predict(image(0)).model_version == 2
    transport.versions = (1,)
    assert client.versions() == (1,)
    assert client.predict(image(0)).model_version == 1
    with pytest.raises(ModelNotFoundError, match="ready there: 1"):
        client.predict(image(0), version=2)
    transport.versions = ()
    assert not client.ready()


def test_a_batch_axis_that_the_server_does_not_batch_is_sent() -> None:
    """With max_batch_size 0 and dims [1, 3, 8, 8] each request holds one image and has the axis all the same."""
    specs = [attrs.evolve(spec, batch="1") for spec in (PLANES.input, PLANES.output)]
    planes = attrs.evolve(PLANES, input=specs[0], output=specs[1])
    transport = ScriptedTransport([[0, 5, 0]], contract=planes)
    with ResNetClient("scripted:1", model="planes", transport=transport) as client:
        assert client.contract() == planes
        assert client.infer(np.zeros((3, 3, 8, 8), np.float32)).scores.shape == (3, 3)
    assert [request.images.shape for request in transport.requests] == [(1, 3, 8, 8)] * 3


def test_any_contract_can_be_played() -> None:
    """An FP32 model without a batch axis gets its planes one by one, normalised as it says."""
    transport = ScriptedTransport([[0, 5, 0]], contract=PLANES, versions=(3,))
    with ResNetClient("scripted:1", model="planes", transport=transport) as client:
        assert client.contract() == PLANES
        prediction = client.predict_many([image(255)] * 2)[1]
    assert (prediction.label, prediction.model_version) == ("class 1", 3)
    assert prediction.probability == pytest.approx(np.exp(5) / (np.exp(5) + 2))
    assert [request.images[0, :, 0, 0].tolist() for request in transport.requests] == [[1, 1, 2]] * 2


def test_another_model_is_not_there() -> None:
    """A client that asks for the wrong model learns it, as from a real server."""
    with (
        ResNetClient("scripted:1", model="resnet51", transport=ScriptedTransport()) as client,
        pytest.raises(ModelNotFoundError, match="resnet50"),
    ):
        client.predict(image(0))


def test_closing_is_seen(client: ResNetClient, transport: ScriptedTransport) -> None:
    """A service that forgets to close its client can be found out."""
    client.close()
    assert transport.closed
    with pytest.raises(ClientClosedError):
        client.predict(image(0))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"answers": []}, "no answers"),
        ({"answers": [{"catt": 1.0}], "labels": ["cat", "dog"]}, "'catt'"),
        ({"answers": [[1.0]], "labels": ["cat", "dog"]}, "1 probabilities.*2 classes"),
        ({"labels": ["cat"], "contract": PLANES}, "1 labels.*3 classes"),
    ],
)
def test_a_script_that_does_not_fit_is_refused(arguments: dict[str, object], words: str) -> None:
    """A mistake in the test is told when the transport is made."""
    with pytest.raises(ConfigurationError, match=words):
        ScriptedTransport(**arguments)  # type: ignore[arg-type]


def test_an_unknown_fault_is_refused(transport: ScriptedTransport) -> None:
    """The message names those that there are."""
    with pytest.raises(ConfigurationError, match="overloaded, slow"):
        transport.fail("down")  # type: ignore[arg-type]


def test_a_tensor_of_another_shape_is_refused_as_triton_does() -> None:
    """So a test can change what the model takes under a running client, which learns it anew."""
    transport = ScriptedTransport()
    with ResNetClient("scripted:1", transport=transport) as client:
        client.predict(image(1))
        spec = attrs.evolve(transport.contract.input, shape=(96, 96, 3))
        transport.contract = attrs.evolve(transport.contract, input=spec, resize=96)
        client.predict(image(1))
        assert [request.images.shape[1] for request in transport.requests] == [224, 224, 96]
        with pytest.raises(InvalidRequestError, match=r"takes image UINT8 \(n, 96, 96, 3\)"):
            client.infer(np.zeros((1, 224, 224, 3), np.uint8))
