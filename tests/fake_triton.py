"""A Triton that lives in memory: it answers the messages of the real one with its words, without a socket."""

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2, service_pb2

SIDE = 8
CLASSES = 5
LABELS = ("cat", "dog", "colon: here", "", "fish, red")


class Refused(Exception):  # noqa: N818 - it stands for an answer
    """The server's answer is a status: its code's name and its text."""

    def __init__(self, code: str, details: str = "") -> None:
        super().__init__(code, details)
        self.code, self.details = code, details


@attrs.define
class FakeTriton:
    """A server with one classifier, whose most probable class is the first value of the image plus the version."""

    model: str = "clf"
    versions: tuple[int, ...] = (1, 2)
    dtype: str = "UINT8"
    max_batch: int = 4
    labelled: bool = True
    parameters: dict[str, str] = attrs.field(factory=dict)
    asked: list[tuple[str, Any]] = attrs.field(factory=list)
    twist: Callable[[str, Any], None] = lambda _method, _message: None
    """Called with each request; it may wait, raise Refused, or change the server."""

    def answer(self, method: str, message: Any) -> Any:
        """Return the reply to one request."""
        self.asked.append((method, message))
        self.twist(method, message)
        return getattr(self, f"_{method}")(message)

    def count(self, method: str) -> int:
        """Return how often *method* was asked."""
        return sum(name == method for name, _ in self.asked)

    def batches(self) -> list[tuple[str, NDArray[np.uint8]]]:
        """Return the version and the tensor of each inference that was asked for, but those for labels."""
        return [
            (message.model_version, _tensor(message))
            for method, message in self.asked
            if method == "ModelInfer" and not message.outputs[0].parameters
        ]

    def _ModelConfig(self, message: Any) -> Any:  # noqa: N802
        self._known(message.name, message.version)
        shape = [3, SIDE, SIDE] if self.dtype == "FP32" else [SIDE, SIDE, 3]
        config = model_config_pb2.ModelConfig(name=self.model, max_batch_size=self.max_batch)
        config.input.add(name="image", data_type=f"TYPE_{self.dtype}", dims=shape)
        config.output.add(
            name="scores", data_type="TYPE_FP32", dims=[CLASSES], label_filename="labels.txt" if self.labelled else ""
        )
        for key, value in self.parameters.items():
            config.parameters[key].string_value = value
        return service_pb2.ModelConfigResponse(config=config)

    def _ModelInfer(self, message: Any) -> Any:  # noqa: N802
        version = self._known(message.model_name, message.model_version)
        tensor = _tensor(message)
        images = tensor.reshape(-1, SIDE * SIDE * 3)
        if self.max_batch and len(images) > self.max_batch:
            raise Refused("INVALID_ARGUMENT", f"inference request batch-size must be <= {self.max_batch} for 'clf'")
        scores = np.full((len(images), CLASSES), 0.1, np.float32)
        scores[np.arange(len(images)), (images[:, 0].astype(int) + version) % CLASSES] = 0.6
        reply = service_pb2.ModelInferResponse(model_name=self.model, model_version=str(version))
        if "classification" in message.outputs[0].parameters:
            reply.outputs.add(name="scores", datatype="BYTES", shape=[len(images), CLASSES])
            rows = [f"0.1:{i}" + (f":{LABELS[i]}" if LABELS[i] else "") for i in reversed(range(CLASSES))]
            reply.raw_output_contents.append(b"".join(len(row).to_bytes(4, "little") + row.encode() for row in rows))
        else:
            reply.outputs.add(name="scores", datatype="FP32", shape=scores.shape if self.max_batch else [CLASSES])
            reply.raw_output_contents.append(scores.tobytes())
        return reply

    def _ModelReady(self, message: Any) -> Any:  # noqa: N802
        wanted = message.version or str(max(self.versions, default=0))
        known = message.name == self.model and int(wanted) in self.versions
        return service_pb2.ModelReadyResponse(ready=known)

    def _RepositoryIndex(self, _message: Any) -> Any:  # noqa: N802
        reply = service_pb2.RepositoryIndexResponse()
        for version in self.versions:
            reply.models.add(name=self.model, version=str(version), state="READY")
        reply.models.add(name="broken", version="1", state="UNAVAILABLE", reason="Internal: no such\nfile")
        return reply

    def _known(self, model: str, version: str) -> int:
        """Return the version that answers, or refuse with Triton 2.51's words."""
        if model == "broken" or not self.versions:
            raise Refused("NOT_FOUND", f"Request for unknown model: '{model}' has no available versions")
        if model != self.model:
            raise Refused("NOT_FOUND", f"Request for unknown model: '{model}' is not found")
        if version and int(version) not in self.versions:
            raise Refused("NOT_FOUND", f"Request for unknown model: '{model}' version {version} is not found")
        return int(version or max(self.versions))


def image(value: int) -> NDArray[np.uint8]:
    """Return a picture of one grey level, uint8 ``(20, 30, 3)``."""
    return np.full((20, 30, 3), value, np.uint8)


def batch(*values: int) -> NDArray[np.uint8]:
    """Return a prepared tensor with a grey level for each image, uint8 ``(n, 8, 8, 3)``."""
    return np.stack([np.full((SIDE, SIDE, 3), value, np.uint8) for value in values])


def _tensor(message: Any) -> NDArray[Any]:
    tensor = message.inputs[0]
    dtype = np.uint8 if tensor.datatype == "UINT8" else np.float32
    return np.frombuffer(message.raw_input_contents[0], dtype).reshape(tuple(tensor.shape))
