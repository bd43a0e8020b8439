"""Our types to protobuf messages and back. All that is known about Triton's messages stands here."""

import struct
from collections.abc import Sequence
from textwrap import shorten
from typing import Any, Final

import attrs
import numpy as np
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from triton_sdk import _bounds
from triton_sdk.contract import ModelContract, TensorSpec
from triton_sdk.errors import InferenceFailedError, ServerError
from triton_sdk.predictions import Inference

# The tag of ModelInferRequest.raw_input_contents: field 7, of bytes.
_RAW_INPUT: Final = bytes((7 << 3 | 2,))
_SCORE_BYTES: Final = 4
# A version that cannot be loaded comes with a traceback.
_SHOWN: Final = 400
_NAME_SHOWN: Final = 60


@attrs.frozen
class IndexRow:
    """One version of a model in the server's repository.

    Attributes:
        model: The model's name.
        version: The version; None where no version was ever loaded.
        ready: Whether it can be asked.
        reason: The server's words on why it cannot; may be empty.
    """

    model: str
    version: int | None
    ready: bool
    reason: str


def config_request(model: str) -> Message:
    """Ask for the model's configuration."""
    message: Message = service_pb2.ModelConfigRequest(name=model)
    return message


def contract(response: Any) -> ModelContract:
    """Read the contract from a ModelConfigResponse.

    Raises:
        ContractError: If the model is no image classifier.
    """
    return ModelContract.from_config(MessageToDict(response.config, preserving_proto_field_name=True))


def index_request() -> Message:
    """Ask what the server has, ready or not."""
    message: Message = service_pb2.RepositoryIndexRequest()
    return message


def index(response: Any) -> tuple[IndexRow, ...]:
    """Read a RepositoryIndexResponse.

    Raises:
        ServerError: If it names a version that is none.
    """
    return tuple(_row(row) for row in response.models)


def _row(row: Any) -> IndexRow:
    version = _bounds.version(row.version)
    if row.version and version is None:
        raise ServerError(
            f"The server lists version {_short(row.version)} of model {_short(row.name)}, but a whole number was "
            "expected. Check that the address is a Triton's."
        )
    # What is cut off anyway need not be looked through.
    reason = shorten(str(row.reason)[: 4 * _SHOWN], _SHOWN, placeholder=" ...") if row.reason else ""
    return IndexRow(model=str(row.name), version=version, ready=row.state == "READY", reason=reason)


def _short(text: object) -> str:
    """Quote what a server says, which may be of any length."""
    shown = str(text)
    return repr(shown if len(shown) <= _NAME_SHOWN else f"{shown[:_NAME_SHOWN]}...")


def ready_request(model: str, version: int | None) -> Message:
    """Ask whether the model, or one version of it, is ready."""
    message: Message = service_pb2.ModelReadyRequest(name=model, version=_version(version))
    return message


def infer_request(batch: NDArray[Any], *, contract: ModelContract, version: int | None) -> bytes:
    """Ask for the scores of *batch*, ``(n, *input.shape)``; n is 1 for a model without a batch axis.

    The ModelInferRequest is serialised already: the pixels are copied once, into it. By way of protobuf they were
    copied three times, through memory fresh from the system each time: 8 FP32 images took 8.2 ms, and take 0.08.
    """
    head: bytes = _infer_request(batch, contract, version).SerializeToString()
    # The last field of the message, so what is appended is well-formed: its tag, its length, its bytes.
    return b"".join((head, _RAW_INPUT, _varint(batch.nbytes), np.ascontiguousarray(batch).data))


def serialise(message: Message | bytes) -> bytes:
    """Return *message* as it goes over the wire."""
    return message if isinstance(message, bytes) else message.SerializeToString()


def inference(response: Any, *, contract: ModelContract, images: int, version: int | None) -> Inference:
    """Read a ModelInferResponse.

    Raises:
        InferenceFailedError: If it is not what the contract promises for *images* images, or from another version.
    """
    output, raw = _output(response, contract)
    shape = tuple(output.shape)
    if output.datatype != contract.output.dtype or not _is_of(shape, contract.output, images):
        raise InferenceFailedError(
            f"Model {contract.model!r} answered {_short(output.datatype)} of shape {_short(shape)} for {images} "
            f"images, but {contract.output} was expected. The model, or its backend, is broken."
        )
    if len(raw) != images * contract.classes * _SCORE_BYTES:
        raise InferenceFailedError(
            f"Model {contract.model!r} answered {len(raw)} bytes for {images} images, but FP32 scores for "
            f"{contract.classes} classes each were expected. The model, or its backend, is broken."
        )
    if response.model_name != contract.model:
        raise InferenceFailedError(
            f"Model {_short(response.model_name)} answered, but {contract.model!r} was expected. The server, or what "
            "stands before it, is broken."
        )
    answered = _bounds.version(response.model_version)
    if answered is None or version not in (None, answered):
        raise InferenceFailedError(
            f"Version {_short(response.model_version)} of model {contract.model!r} answered, but "
            f"{version or 'a number'} was expected."
        )
    scores = np.frombuffer(raw, "<f4").reshape(images, contract.classes)
    return Inference(scores=scores, model=contract.model, model_version=answered)


def _is_of(shape: tuple[int, ...], spec: TensorSpec, images: int) -> bool:
    """Return whether *shape* is that of *images* score vectors; behind them may stand axes of length 1."""
    expected = (images, *spec.shape) if spec.batch else spec.shape
    if shape == expected:
        return True
    return shape[: len(expected)] == expected and all(side == 1 for side in shape[len(expected) :])


def parted(response: Any, counts: Sequence[int]) -> list[Any]:
    """Cut a ModelInferResponse into one for each of *counts* images; what cannot be cut is given whole to each."""
    total = sum(counts)
    if any(len(raw) % total for raw in response.raw_output_contents) or any(
        list(output.shape[:1]) != [total] for output in response.outputs
    ):
        return [response] * len(counts)
    parts, begin = [], 0
    for count in counts:
        part = service_pb2.ModelInferResponse(model_name=response.model_name, model_version=response.model_version)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=False):
            part.outputs.add(name=output.name, datatype=output.datatype, shape=[count, *output.shape[1:]])
            size = len(raw) // total
            part.raw_output_contents.append(raw[begin * size : (begin + count) * size])
        parts.append(part)
        begin += count
    return parts


def labels_request(image: NDArray[Any], *, contract: ModelContract, version: int | None) -> Message:
    """Ask for all classes of *image* by Triton's classification extension, the only way to its labels."""
    message = _infer_request(image, contract, version)
    message.raw_input_contents.append(image.tobytes())
    message.outputs[0].parameters["classification"].int64_param = contract.classes
    typed: Message = message
    return typed


def labels(response: Any, *, contract: ModelContract) -> tuple[str, ...]:
    """Read the names of the classes from ``value:index:label`` strings; a class without a name is ``"class 12"``."""
    output, raw = _output(response, contract)
    names, at = [f"class {index}" for index in range(contract.classes)], 0
    try:
        if output.datatype != "BYTES":
            raise ValueError(f"it is of the data type {_short(output.datatype)}, not BYTES")
        for _ in range(contract.classes):
            if at == len(raw):
                break
            (length,) = struct.unpack_from("<I", raw, at)
            _, place, *name = raw[at + 4 : at + 4 + length].decode().split(":", 2)
            if not place.isdecimal():
                raise ValueError(f"{_short(place)} is no class")
            index = int(place)
            names[index] = "".join(name) or names[index]
            at += 4 + length
        if at != len(raw):
            raise ValueError(f"it has more than {contract.classes} classes, or ends within one")
    except (struct.error, ValueError, IndexError) as error:
        raise InferenceFailedError(
            f"The server's list of labels for model {contract.model!r} cannot be read: {error}. Give labels= instead."
        ) from error
    return tuple(names)


def _version(version: int | None) -> str:
    return "" if version is None else str(version)


def _infer_request(batch: NDArray[Any], contract: ModelContract, version: int | None) -> Any:
    message = service_pb2.ModelInferRequest(model_name=contract.model, model_version=_version(version))
    shape = batch.shape if contract.input.batch else batch.shape[1:]
    message.inputs.add(name=contract.input.name, datatype=contract.input.dtype, shape=shape)
    message.outputs.add(name=contract.output.name)
    return message


def _varint(number: int) -> bytes:
    """Encode *number* as protobuf does: 7 bits a byte, the lowest first."""
    coded = bytearray()
    while number > 0x7F:
        coded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*coded, number))


def _output(response: Any, contract: ModelContract) -> tuple[Any, bytes]:
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=False):
        if output.name == contract.output.name:
            return output, bytes(raw)
    raise InferenceFailedError(
        f"Model {contract.model!r} answered without its output {contract.output.name!r}. Its configuration may have "
        "changed: make a new client."
    )
