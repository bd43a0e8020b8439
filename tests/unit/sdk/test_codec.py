"""Our types become Triton's messages and back; a reply that breaks its promise is told."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from tests.doubles.fake_triton import batch
from triton_sdk import InferenceFailedError, ModelContract, TensorSpec
from triton_sdk._flow import codec

CONTRACT = ModelContract(
    model="clf",
    input=TensorSpec(name="image", dtype="UINT8", shape=(8, 8, 3)),
    output=TensorSpec(name="scores", dtype="FP32", shape=(3,)),
    layout="NHWC",
    max_batch=4,
    resize=10,
)


def reply(raw: bytes, *, version: str = "2", output: str = "scores") -> Any:
    """Return a ModelInferResponse."""
    message = service_pb2.ModelInferResponse(model_name="clf", model_version=version, raw_output_contents=[raw])
    message.outputs.add(name=output)
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
    answer = codec.inference(reply(scores.tobytes()), contract=CONTRACT, images=len(rows), version=None)
    assert answer.scores.tobytes() == scores.tobytes()
    assert (answer.scores.shape, answer.model, answer.model_version) == (scores.shape, "clf", 2)


@pytest.mark.parametrize(
    ("message", "version", "words"),
    [
        (reply(b""), None, "0 bytes for 1 images, where FP32 scores for 3 classes"),
        (reply(bytes(24)), None, "24 bytes"),
        (reply(bytes(12), output="other"), None, "without its output 'scores'"),
        (reply(bytes(12), version=""), None, "Version ''"),
        (reply(bytes(12), version="1"), 2, "Version '1' .*where 2 was expected"),
    ],
)
def test_a_reply_that_breaks_its_promise_is_told(message: Any, version: int | None, words: str) -> None:
    """A reply of the wrong size, name or version is never taken for scores."""
    with pytest.raises(InferenceFailedError, match=words):
        codec.inference(message, contract=CONTRACT, images=1, version=version)


def test_labels_are_sorted_by_their_index() -> None:
    """The server lists the classes by score; a name may hold colons and other scripts, and may be missing."""
    raw = packed(b"0.500000:2:colon: here", "0.3:0:Kätzchen".encode(), b"nan:1")
    assert codec.labels(reply(raw), contract=CONTRACT) == ("Kätzchen", "class 1", "colon: here")


@pytest.mark.parametrize(
    "raw", [b"\x01", packed(b"0.5"), packed(b"0.5:9:x"), packed(b"\xff:0:x"), packed(b"0.5:one:x")]
)
def test_a_list_of_labels_that_cannot_be_read_is_told(raw: bytes) -> None:
    """The error says what to do instead."""
    with pytest.raises(InferenceFailedError, match="Give labels= instead"):
        codec.labels(reply(raw), contract=CONTRACT)
