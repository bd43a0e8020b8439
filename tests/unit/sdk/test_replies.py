"""What a server says of itself and of pictures is believed within bounds, in the call's time, and told otherwise."""

from typing import Any

import attrs
import numpy as np
import pytest

from tests.doubles.fake_triton import FakeTriton, image
from tests.doubles.scripted import Clock, ScriptedTransport, drive, infer, predict, session
from triton_sdk import (
    ContractError,
    DeadlineExceededError,
    InferenceFailedError,
    InvalidImageError,
    ModelContract,
    ServerError,
)
from triton_sdk._flow import operations, tensors
from triton_sdk.images import to_pixels

CONFIG: dict[str, Any] = {
    "name": "clf",
    "max_batch_size": 4,
    "input": [{"name": "image", "data_type": "TYPE_UINT8", "dims": [224, 224, 3]}],
    "output": [{"name": "scores", "data_type": "TYPE_FP32", "dims": [1000]}],
}


@attrs.define
class Liar(FakeTriton):
    """A server whose scores a test decides."""

    row: tuple[float, ...] = ()

    def answer(self, method: str, message: Any) -> Any:
        """Return the reply, with that row for each image."""
        reply = super().answer(method, message)
        if method == "ModelInfer" and reply.outputs[0].datatype == "FP32":
            count = reply.outputs[0].shape[0]
            reply.raw_output_contents[0] = np.array([self.row] * count, "<f4").tobytes()
        return reply


@pytest.mark.parametrize(
    ("row", "scores", "words"),
    [
        ((-0.5, 0.5, 0.5, 0.5, 0.0), "probabilities", "from -0.5 to 0.5 and sum to 1"),
        ((5.0, 3.0, 1.0, 0.0, 0.0), "probabilities", "from 0 to 5 and sum to 9"),
        ((0.6, 0.6, 0.6, 0.6, 0.6), "probabilities", "sum to 3, but scores from 0 to 1, in sum 1"),
        ((0.5, 0.5, 0.5, 0.0, 0.0), "probabilities", "sum to 1.5"),
        ((0.0, 0.0, 0.0, 0.0, 0.0), "probabilities", "sum to 0"),
        ((-3.0, 0.5, 0.5, 0.5, 0.5), "multi-label", "from -3 to 0.5"),
        ((0.0, 0.5, 1.5, 0.5, 0.5), "multi-label", "from 0 to 1.5.*but scores from 0 to 1 were expected"),
    ],
)
def test_what_are_no_probabilities_become_no_labels(row: tuple[float, ...], scores: str, words: str) -> None:
    """Scores that are negative, too large, or sum to far more than 1 are told as the model's failure."""
    transport = ScriptedTransport(server=Liar(parameters={"image.scores": scores}, row=row))
    with pytest.raises(InferenceFailedError, match=words) as caught:
        predict(session(transport), transport, image(1), image(2))
    assert (caught.value.model, caught.value.version) == ("clf", 2)


@pytest.mark.parametrize(
    ("row", "scores"),
    [
        ((0.6, 0.1, 0.1, 0.1, 0.1), "probabilities"),
        ((0.6004, 0.1, 0.1, 0.1, 0.1), "probabilities"),
        ((0.9, 0.0, 0.0, 0.0, 0.0), "probabilities"),
        ((0.9, 0.8, 0.7, 0.0, 0.0), "multi-label"),
        ((0.0, 0.0, 0.0, 0.0, 0.0), "multi-label"),
        ((-5.0, 3.0, 9.0, 0.0, 0.0), "logits"),
        ((-5.0, 3.0, 9.0, 0.0, 0.0), "unknown"),
    ],
)
def test_what_may_be_probabilities_is_taken(row: tuple[float, ...], scores: str) -> None:
    """Half precision, small scores that are rounded to 0, several labels, and logits that are said to be such."""
    parameters = {} if scores == "unknown" else {"image.scores": scores}
    transport = ScriptedTransport(server=Liar(parameters=parameters, row=row))
    (prediction,) = predict(session(transport), transport, image(1))
    assert 0 <= prediction.probability <= 1.001


def test_infer_gives_the_scores_as_they_are() -> None:
    """Who asks for what the model gave gets it."""
    transport = ScriptedTransport(server=Liar(parameters={"image.scores": "probabilities"}, row=(-1, 9, 0, 0, 0)))
    assert infer(session(transport), transport, 1).scores.tolist() == [[-1, 9, 0, 0, 0]]


@pytest.mark.parametrize(
    ("dims", "classes", "words"),
    [
        ([100_000, 100_000, 3], 1000, r"larger than this client takes.*at most 16,777,216 pixels"),
        ([20_000, 20_000, 3], 1000, "larger than this client takes"),
        ([3, 5000, 5000], 1000, "larger than this client takes"),
        ([224, 224, 3], 2**31 - 1, "1,048,576 classes"),
    ],
)
def test_sizes_that_no_machine_can_hold_are_refused(dims: list[int], classes: int, words: str) -> None:
    """Before anything is made of them."""
    config = CONFIG | {
        "input": [{"name": "image", "data_type": "TYPE_UINT8", "dims": dims}],
        "output": [{"name": "scores", "data_type": "TYPE_FP32", "dims": [classes]}],
    }
    with pytest.raises(ContractError, match=words):
        ModelContract.from_config(config)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image.resize", "1000000000"),
        ("image.resize.2", "65537"),
        ("image.resize", "0"),
        ("image.resize", "-256"),
        ("image.resize", "223"),
        ("image.resize.2", "200"),
        ("image.resize", "9" * 5000),
        ("image.resize.one", "256"),
        ("image.mean", "nan,0,0"),
        ("image.mean", "inf,0,0"),
        ("image.std", "1,nan,1"),
        ("image.std", "1e-300,1,1"),
        ("image.std", "1e300,1,1"),
    ],
)
def test_parameters_beyond_all_bounds_are_refused(key: str, value: str) -> None:
    """A resize, a mean or a deviation that no model has is one typed error."""
    with pytest.raises(ContractError, match="cannot be read"):
        ModelContract.from_config(CONFIG | {"parameters": {key: {"string_value": value}}})


def test_a_resize_smaller_than_the_crop_is_the_models_fault() -> None:
    """Each call failed with an error that blamed its caller's settings; where a picture is squashed, it may be."""
    parameters = {"image.resize": {"string_value": "200"}}
    with pytest.raises(ContractError, match=r"image\.resize is 200, not from 224 to 65536"):
        ModelContract.from_config(CONFIG | {"parameters": parameters})
    pad = {"image.resize": {"string_value": "200"}, "image.fit": {"string_value": "pad"}}
    assert ModelContract.from_config(CONFIG | {"parameters": pad}).resize == 200


def test_a_model_that_is_no_square_can_be_asked_without_parameters() -> None:
    """As packaging assumes it: the longer side fits into the shorter one of the resized picture."""
    wide = ModelContract.from_config(CONFIG | {"input": [{**CONFIG["input"][0], "dims": [224, 448, 3]}]})
    assert wide.resize == 512
    framing = wide.framing_for(None)
    pixels = to_pixels(image(1), resize=framing.resize, height=wide.height, width=wide.width, fit=framing.fit)
    assert pixels.shape == (224, 448, 3)


def test_a_filter_that_resizes_the_whole_picture_is_bounded() -> None:
    """A strip that would become too large before it is cropped is refused at once."""
    strip = np.zeros((20, 900, 3), np.uint8)
    with pytest.raises(InvalidImageError, match="more than 200 million pixels"):
        to_pixels(strip, resize=4096, height=4096, width=4096, interpolation="bicubic")


def test_the_configuration_of_another_model_is_not_taken() -> None:
    """A server that answers for another model than was asked is told."""

    class Other(FakeTriton):
        """A server that takes each name for its own model's."""

        def answer(self, method: str, message: Any) -> Any:
            """Return the reply for the model that it has."""
            return super().answer(method, type(message)(name=self.model))

    transport = ScriptedTransport(server=Other())
    asked = session(transport, model="other")
    with pytest.raises(ContractError, match=r"configuration of model 'other' at triton:8001: that of model 'clf' came"):
        drive(operations.contract(asked, deadline=asked.clock() + 1), transport)


def test_the_time_is_looked_at_between_pictures() -> None:
    """Of many large pictures, no more are made ready than there is time for."""
    clock = Clock()
    transport = ScriptedTransport(clock=clock)
    shared = session(transport)
    made = []

    class Slow:
        name = "slow.png"

        def read(self, _size: int = -1) -> bytes:
            made.append(1)
            clock.now += 3
            return b"no image" if len(made) % 2 else b""

    with pytest.raises(DeadlineExceededError, match="no time was left to prepare"):
        predict(shared, transport, *[Slow() for _ in range(20)])  # type: ignore[arg-type]
    assert len(made) <= 10


def test_a_request_asks_for_no_more_than_can_be_received() -> None:
    """Where a model has very many classes, a request has fewer images than the model would take."""
    output = attrs.evolve(ModelContract.from_config(CONFIG).output, shape=(2**20,))
    known = attrs.evolve(ModelContract.from_config(CONFIG), output=output, max_batch=64)
    parts = list(tensors.split(np.zeros((20, 224, 224, 3), np.uint8), known))
    assert [len(part) for part in parts] == [8, 8, 4]


def test_a_version_that_is_none_in_the_index_is_told() -> None:
    """versions() and wait_ready() tell it in an error of ours, in time."""
    transport = ScriptedTransport()

    class Odd(FakeTriton):
        def answer(self, method: str, message: Any) -> Any:
            reply = super().answer(method, message)
            if method == "RepositoryIndex":
                reply.models.add(name="clf", version="one", state="READY")
            return reply

    transport.server = Odd(versions=())
    shared = session(transport)
    with pytest.raises(ServerError, match="version 'one' of model 'clf'"):
        drive(operations.versions(shared, deadline=shared.clock() + 1), transport)
    with pytest.raises(DeadlineExceededError):
        drive(operations.wait_ready(shared, version=None, deadline=shared.clock() + 1, timeout=1), transport)
