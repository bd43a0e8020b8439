"""Our types become Triton's messages and back; a reply that breaks its promise is told."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2, service_pb2

from tests.doubles.fake_triton import batch
from tests.properties import examples
from triton_sdk import ContractError, InferenceFailedError, ModelContract, ServerError, TensorSpec, _bounds
from triton_sdk._flow import codec, tensors

CONTRACT = ModelContract(
    model="clf",
    input=TensorSpec(name="image", dtype="UINT8", shape=(8, 8, 3)),
    output=TensorSpec(name="scores", dtype="FP32", shape=(3,)),
    layout="NHWC",
    max_batch=4,
    resize=10,
)


def reply(
    raw: bytes,
    *,
    version: str = "2",
    output: str = "scores",
    model: str = "clf",
    datatype: str = "FP32",
    shape: Sequence[int] = (1, 3),
) -> Any:
    """Return a ModelInferResponse."""
    message = service_pb2.ModelInferResponse(model_name=model, model_version=version, raw_output_contents=[raw])
    message.outputs.add(name=output, datatype=datatype, shape=shape)
    return message


def request(pixels: NDArray[Any], *, version: int | None) -> Any:
    """Return what the server reads out of our request for *pixels*."""
    return service_pb2.ModelInferRequest.FromString(codec.infer_request(pixels, contract=CONTRACT, version=version))


def packed(*rows: bytes) -> bytes:
    """Return strings as Triton packs them: each behind its length in 4 bytes."""
    return b"".join(len(row).to_bytes(4, "little") + row for row in rows)


def test_a_request_says_all_that_the_server_needs() -> None:
    """Names, type, shape and version are the contract's and the call's; the pixels travel as they are."""
    pixels = batch(1, 2)
    message = request(pixels, version=7)
    assert (message.model_name, message.model_version) == ("clf", "7")
    (tensor,) = message.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("image", "UINT8", [2, 8, 8, 3])
    assert list(message.raw_input_contents) == [pixels.tobytes()]
    assert [output.name for output in message.outputs] == ["scores"]


@pytest.mark.parametrize("side", [1, 6, 7, 8, 85, 86, 210])
def test_the_request_is_what_protobuf_would_write(side: int) -> None:
    """Byte for byte, whatever the length of the pixels' length is, and from a view that skips memory too."""
    pixels = np.random.default_rng(side).integers(0, 256, (2 * side, side, side, 3), dtype=np.uint8)[::2]
    expected = service_pb2.ModelInferRequest(model_name="clf", model_version="3")
    expected.inputs.add(name="image", datatype="UINT8", shape=pixels.shape)
    expected.outputs.add(name="scores")
    expected.raw_input_contents.append(pixels.tobytes())
    message = codec.infer_request(pixels, contract=CONTRACT, version=3)
    assert message == expected.SerializeToString()
    assert message == codec.serialise(message) == codec.serialise(expected)


def test_no_version_is_an_empty_one() -> None:
    """Triton chooses where the version is empty."""
    message = request(batch(1), version=None)
    assert message.model_version == ""


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=3, max_size=3), min_size=1, max_size=4))
def test_scores_arrive_as_they_were_sent(rows: list[list[float]]) -> None:
    """Every float comes back bit by bit, in its row."""
    scores = np.array(rows, np.float32)
    answer = codec.inference(
        reply(scores.tobytes(), shape=scores.shape), contract=CONTRACT, images=len(rows), version=None
    )
    assert answer.scores.tobytes() == scores.tobytes()
    assert (answer.scores.shape, answer.model, answer.model_version) == (scores.shape, "clf", 2)


@pytest.mark.parametrize(
    ("message", "version", "words"),
    [
        (reply(b""), None, "0 bytes for 1 images, but FP32 scores for 3 classes"),
        (reply(bytes(24)), None, "24 bytes"),
        (reply(bytes(12), output="other"), None, "without its output 'scores'"),
        (reply(bytes(12), version=""), None, "Version ''"),
        (reply(bytes(12), version="one"), None, "Version 'one'"),
        (reply(bytes(12), version="9" * 5000), None, r"Version '9{60}\.\.\.'"),
        (reply(bytes(12), version="٣"), None, "Version '٣'"),
        (reply(bytes(12), version="-2"), None, "Version '-2'"),
        (reply(bytes(12), version="0"), None, "Version '0'"),
        (reply(bytes(12), model="other"), None, "Model 'other' answered, but 'clf' was expected"),
        (reply(bytes(12), model=""), None, "Model '' answered"),
        (reply(bytes(12), datatype="INT32"), None, r"answered 'INT32' of shape '\(1, 3\)'.*scores FP32 \(n, 3\) was"),
        (reply(bytes(12), datatype=""), None, "answered '' of shape"),
        (reply(bytes(12), shape=(3, 1)), None, r"of shape '\(3, 1\)' for 1 images"),
        (reply(bytes(12), shape=(1, 1, 3)), None, r"of shape '\(1, 1, 3\)'"),
        (reply(bytes(12), shape=(3,)), None, r"of shape '\(3,\)'"),
        (reply(bytes(12), shape=()), None, r"of shape '\(\)'"),
        (reply(bytes(12), shape=(-1, -3)), None, r"of shape '\(-1, -3\)'"),
        (reply(bytes(12), version="1"), 2, "Version '1' .*but 2 was expected"),
    ],
)
def test_a_reply_that_breaks_its_promise_is_told(message: Any, version: int | None, words: str) -> None:
    """A reply of the wrong size, name or version is never taken for scores."""
    with pytest.raises(InferenceFailedError, match=words):
        codec.inference(message, contract=CONTRACT, images=1, version=version)


def test_labels_are_sorted_by_their_index() -> None:
    """The server lists the classes by score; a name may hold colons and other scripts, and may be missing."""
    raw = packed(b"0.500000:2:colon: here", "0.3:0:Kätzchen".encode(), b"nan:1")
    assert codec.labels(reply(raw, datatype="BYTES"), contract=CONTRACT) == ("Kätzchen", "class 1", "colon: here")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x01",
        packed(b"0.5"),
        packed(b"0.5:9:x"),
        packed(b"\xff:0:x"),
        packed(b"0.5:one:x"),
        packed(b"0.5:-1:x"),
        packed(*[b"0.5:1:x"] * 4),
    ],
)
def test_a_list_of_labels_that_cannot_be_read_is_told(raw: bytes) -> None:
    """The error says what to do instead."""
    with pytest.raises(InferenceFailedError, match="Give labels= instead"):
        codec.labels(reply(raw, datatype="BYTES"), contract=CONTRACT)


def test_labels_of_another_data_type_are_none() -> None:
    """Bytes that can be read as a list are no list of labels for that."""
    with pytest.raises(InferenceFailedError, match="'INT8', not BYTES"):
        codec.labels(reply(packed(b"0.5:0:cat"), datatype="INT8"), contract=CONTRACT)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1), (1, 3, 1, 1)])
def test_axes_of_length_one_may_stand_behind_the_scores(shape: tuple[int, ...]) -> None:
    """Some heads leave the axes of their pooled picture."""
    answer = codec.inference(reply(bytes(12), shape=shape), contract=CONTRACT, images=1, version=None)
    assert answer.scores.shape == (1, 3)


@pytest.mark.parametrize(("batch", "shape"), [("", (3,)), ("1", (1, 3))])
def test_without_batching_the_shape_is_what_the_configuration_says(batch: Any, shape: tuple[int, ...]) -> None:
    """A model that takes one image has its own axis for it, or none."""
    output = attrs.evolve(CONTRACT.output, batch=batch)
    answer = codec.inference(
        reply(bytes(12), shape=shape), contract=attrs.evolve(CONTRACT, output=output), images=1, version=None
    )
    assert answer.scores.shape == (1, 3)


def test_a_shape_that_lies_is_told_in_a_shared_request_too() -> None:
    """A reply for other images than were sent is not cut into parts that look right."""
    lying = reply(bytes(48), shape=(8, 3))
    for part in codec.parted(lying, [1, 3]):
        with pytest.raises(InferenceFailedError):
            codec.inference(part, contract=CONTRACT, images=1, version=None)


@pytest.mark.parametrize("version", ["one", "1" * 5000, "1.0", "-1", "0", " 1", "01"])
def test_an_index_with_a_version_that_is_none_is_told(version: str) -> None:
    """It is a typed error of a length that can be read, and never a ValueError of Python's own."""
    message = service_pb2.RepositoryIndexResponse()
    message.models.add(name="clf", version=version, state="READY")
    with pytest.raises(ServerError, match="but a whole number was expected") as caught:
        codec.index(message)
    assert len(str(caught.value)) < 300


texts = st.sampled_from(["clf", "scores", "FP32", "2", "", "one", "INT64", "BYTES"]) | st.text(max_size=8)
outputs = st.tuples(texts, texts, st.lists(st.integers(-(2**63), 2**63 - 1) | st.sampled_from([1, 2, 3]), max_size=4))


@examples(200)
@given(texts, texts, st.lists(outputs, max_size=3), st.lists(st.binary(max_size=40), max_size=3), st.integers(1, 3))
def test_whatever_answers_is_right_or_told(
    model: str, version: str, described: list[tuple[str, str, list[int]]], raws: list[bytes], images: int
) -> None:
    """Of any reply, either the scores come as the contract has them, or one of our errors: of labels as well."""
    message = service_pb2.ModelInferResponse(model_name=model, model_version=version, raw_output_contents=raws)
    for name, datatype, shape in described:
        message.outputs.add(name=name, datatype=datatype, shape=shape)
    with suppress(InferenceFailedError):
        answer = codec.inference(message, contract=CONTRACT, images=images, version=None)
        assert (model, answer.model_version) == ("clf", int(version))
        assert answer.scores.shape == (images, 3)
    with suppress(InferenceFailedError):
        assert len(codec.labels(message, contract=CONTRACT)) == 3
    for part in codec.parted(message, [1, 2]):
        with suppress(InferenceFailedError):
            codec.inference(part, contract=CONTRACT, images=1, version=None)


numbers = st.integers(-(2**40), 2**40) | st.sampled_from([0, 1, 3, 224, 2**31 - 1, 100_000])
words = st.sampled_from(["1e9", "nan", "inf", "-1", "0", "1000000000", "crop", "0.5,0.5,0.5", "nan,1,1", "1e-300,1,1"])


@examples(200)
@given(
    st.sampled_from([[100_000, 100_000, 3], [224, 224, 3], [3, 8, 8]]) | st.lists(numbers, max_size=5),
    st.lists(numbers, max_size=3) | st.sampled_from([[1000], [2**31 - 1]]),
    st.integers(-1, 2**31 - 1),
    st.dictionaries(
        st.sampled_from(
            [f"image.{name}" for name in ("resize", "resize.2", "resize.one", "fit", "mean", "std", "scores")]
        ),
        words | st.text(max_size=9),
        max_size=3,
    ),
)
def test_whatever_a_model_says_of_itself_is_within_bounds_or_told(
    dims: list[int], classes: list[int], max_batch: int, parameters: dict[str, str]
) -> None:
    """Of any configuration: a contract by which one image and its scores can be held, or a ContractError."""
    config = model_config_pb2.ModelConfig(name="clf", max_batch_size=max_batch)
    config.input.add(name="image", data_type="TYPE_FP32", dims=dims)
    config.output.add(name="scores", data_type="TYPE_FP32", dims=classes)
    for key, value in parameters.items():
        config.parameters[key].string_value = value
    with suppress(ContractError):
        known = codec.contract(service_pb2.ModelConfigResponse(config=config))
        assert known.height * known.width <= _bounds.MOST_PIXELS
        assert known.classes <= _bounds.MOST_CLASSES
        assert all(np.isfinite(np.float32(1 / std)) for std in known.std)
        most = tensors.most_at_once(known)
        assert most == 1 or most * max(known.classes * 4 * 2, 1) <= _bounds.REPLY_BYTES
        assert most == 1 or most * known.height * known.width * 3 * 4 <= _bounds.REQUEST_BYTES
