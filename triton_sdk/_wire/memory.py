"""A Triton that lives in memory: it answers the messages of the real one, in its words, without a socket."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2, service_pb2

from triton_sdk.contract import ModelContract, TensorSpec

_DTYPES: Final = {"UINT8": "u1", "FP32": "<f4"}


class Refused(Exception):  # noqa: N818 - it stands for an answer
    """The server's answer is a status: its code's name and its text."""

    def __init__(self, code: str, details: str = "") -> None:
        super().__init__(code, details)
        self.code, self.details = code, details


@attrs.frozen(kw_only=True)
class MemoryTriton:
    """A server with one classifier.

    Attributes:
        contract: What the model takes and gives.
        versions: The versions that are ready; the highest answers where none is asked for.
        labels: A name for each class; an empty one for a class without a name.
        score: Gives the scores ``(n, classes)`` of images ``(n, *input.shape)`` by a version.
    """

    contract: ModelContract
    versions: Sequence[int]
    labels: Sequence[str]
    score: Callable[[NDArray[Any], int], NDArray[np.float32]]

    def answer(self, method: str, message: Any) -> Message:
        """Return the reply to one request.

        Raises:
            Refused: If the reply is a status.
        """
        replies: dict[str, Callable[[Any], Message]] = {
            "ModelConfig": self._config,
            "ModelInfer": self._infer,
            "ModelReady": self._ready,
            "RepositoryIndex": self._index,
        }
        return replies[method](message)

    def _config(self, message: Any) -> Message:
        self._known(message.name, message.version)
        spec = self.contract
        config = model_config_pb2.ModelConfig(name=spec.model, max_batch_size=spec.max_batch)
        config.input.add(name=spec.input.name, data_type=f"TYPE_{spec.input.dtype}", dims=self._dims(spec.input))
        scores = config.output.add(name=spec.output.name, data_type="TYPE_FP32", dims=self._dims(spec.output))
        scores.label_filename = "labels.txt" if spec.labelled else ""
        for key, value in _parameters(spec).items():
            config.parameters[key].string_value = value
        reply: Message = service_pb2.ModelConfigResponse(config=config)
        return reply

    def _dims(self, spec: TensorSpec) -> list[int]:
        """Return the dimensions of a tensor; where the server batches nothing, a batch axis stands among them."""
        axis = [] if self.contract.max_batch or not spec.batch else [1 if spec.batch == "1" else -1]
        return [*axis, *spec.shape]

    def _infer(self, message: Any) -> Message:
        version = self._known(message.model_name, message.model_version)
        spec, images = self.contract, tensor(message)
        if not spec.input.batch:
            images = images[np.newaxis]
        elif len(images) > max(spec.max_batch, 1):
            raise Refused(
                "INVALID_ARGUMENT", f"inference request batch-size must be <= {spec.max_batch} for '{spec.model}'"
            )
        if images.shape[1:] != spec.input.shape:
            name, wanted = spec.input.name, [*([-1] if spec.input.batch else []), *spec.input.shape]
            raise Refused(
                "INVALID_ARGUMENT",
                f"unexpected shape for input '{name}' for model '{spec.model}'. Expected {wanted}, got "
                f"{list(message.inputs[0].shape)}",
            )
        reply = service_pb2.ModelInferResponse(model_name=spec.model, model_version=str(version))
        if asks_for_labels(message):
            reply.outputs.add(name=spec.output.name, datatype="BYTES", shape=[len(images), spec.classes])
            rows = [f"0:{place}" + (f":{label}" if label else "") for place, label in enumerate(self.labels)]
            named = b"".join(len(row.encode()).to_bytes(4, "little") + row.encode() for row in rows)
            reply.raw_output_contents.append(named)
        else:
            scores = np.ascontiguousarray(self.score(images, version), "<f4")
            shape = scores.shape if spec.input.batch else scores.shape[1:]
            reply.outputs.add(name=spec.output.name, datatype="FP32", shape=shape)
            reply.raw_output_contents.append(scores.tobytes())
        typed: Message = reply
        return typed

    def _ready(self, message: Any) -> Message:
        wanted = int(message.version or max(self.versions, default=0))
        known = message.name == self.contract.model and wanted in self.versions
        reply: Message = service_pb2.ModelReadyResponse(ready=known)
        return reply

    def _index(self, _message: Any) -> Message:
        reply = service_pb2.RepositoryIndexResponse()
        for version in self.versions:
            reply.models.add(name=self.contract.model, version=str(version), state="READY")
        typed: Message = reply
        return typed

    def _known(self, model: str, version: str) -> int:
        """Return the version that answers, or refuse with Triton 2.51's words."""
        unknown = f"Request for unknown model: '{model}'"
        if model != self.contract.model:
            raise Refused("NOT_FOUND", f"{unknown} is not found")
        if not self.versions:
            raise Refused("NOT_FOUND", f"{unknown} has no available versions")
        if version and int(version) not in self.versions:
            raise Refused("NOT_FOUND", f"{unknown} version {version} is not found")
        return int(version or max(self.versions))


def parsed(method: str, message: Any) -> Any:
    """Return *message*, read first if it comes as the bytes of an inference."""
    if isinstance(message, Message):
        return message
    if method != "ModelInfer":
        raise TypeError(f"{method} came as {type(message).__name__}; a message was expected.")
    return service_pb2.ModelInferRequest.FromString(bytes(message))


def tensor(message: Any) -> NDArray[Any]:
    """Return the tensor of a ModelInferRequest, shaped as it says."""
    given = message.inputs[0]
    values: NDArray[Any] = np.frombuffer(message.raw_input_contents[0], _DTYPES[given.datatype])
    return values.reshape(tuple(given.shape))


def asks_for_labels(message: Any) -> bool:
    """Return whether a ModelInferRequest asks for the names of classes, and not for scores."""
    return "classification" in message.outputs[0].parameters


def _parameters(contract: ModelContract) -> dict[str, str]:
    """Return the model's ``parameters``, as `ModelContract.from_config` reads them."""
    parameters = {
        "image.resize": str(contract.resize),
        "image.interpolation": contract.interpolation,
        "image.fit": contract.fit,
        "image.mean": ",".join(map(repr, contract.mean)),
        "image.std": ",".join(map(repr, contract.std)),
        **{
            f"image.{field}.{version}": str(value)
            for version, framing in contract.framing_by_version.items()
            for field, value in attrs.asdict(framing).items()
        },
    }
    return parameters if contract.scores == "unknown" else {**parameters, "image.scores": contract.scores}
