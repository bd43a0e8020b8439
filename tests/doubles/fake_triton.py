"""A Triton in memory whose answers follow from the images, and which can be twisted in any way."""

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from triton_sdk._wire.memory import MemoryTriton, Refused, asks_for_labels, parsed, tensor
from triton_sdk.contract import ModelContract

__all__ = ["CLASSES", "LABELS", "SIDE", "FakeTriton", "Refused", "batch", "image"]

SIDE = 8
CLASSES = 5
SHAPES = {"UINT8": [SIDE, SIDE, 3], "FP32": [3, SIDE, SIDE]}
LABELS = ("cat", "dog", "colon: here", "", "fish, red")


@attrs.define
class FakeTriton:
    """A server with one classifier, whose most probable class is the first value of the image plus the version.

    With a *candidate* that version is served as well, as a model of its own, whose name ends in ``.candidate``.
    """

    model: str = "clf"
    versions: tuple[int, ...] = (1, 2)
    dtype: str = "UINT8"
    max_batch: int = 4
    labelled: bool = True
    parameters: dict[str, str] = attrs.field(factory=dict)
    candidate: int | None = None
    asked: list[tuple[str, Any]] = attrs.field(factory=list)
    twist: Callable[[str, Any], None] = lambda _method, _message: None
    """Called with each request; it may wait, raise Refused, or change the server."""

    def answer(self, method: str, message: Any) -> Any:
        """Return the reply to one request, a message or the bytes of a ModelInferRequest."""
        message = parsed(method, message)
        self.asked.append((method, message))
        self.twist(method, message)
        if "broken" in (getattr(message, "name", ""), getattr(message, "model_name", "")) and method != "ModelReady":
            raise Refused("NOT_FOUND", "Request for unknown model: 'broken' has no available versions")
        contract, versions = self._contract(), self.versions
        own = f"{self.model}.candidate"
        if self.candidate is not None and own in (getattr(message, "name", ""), getattr(message, "model_name", "")):
            contract, versions = attrs.evolve(contract, model=own), (self.candidate,)
        served = MemoryTriton(contract=contract, versions=versions, labels=LABELS, score=_scores)
        reply: Any = served.answer(method, message)
        if method == "RepositoryIndex":
            if self.candidate is not None:
                reply.models.add(name=own, version=str(self.candidate), state="READY")
            reply.models.add(name="broken", version="1", state="UNAVAILABLE", reason="Internal: no such\nfile")
        return reply

    def count(self, method: str) -> int:
        """Return how often *method* was asked."""
        return sum(name == method for name, _ in self.asked)

    def batches(self) -> list[tuple[str, NDArray[np.uint8]]]:
        """Return the version and the tensor of each inference that was asked for, but those for labels."""
        return [
            (message.model_version, tensor(message))
            for method, message in self.asked
            if method == "ModelInfer" and not asks_for_labels(message)
        ]

    def _contract(self) -> ModelContract:
        config = {
            "name": self.model,
            "max_batch_size": self.max_batch,
            "input": [{"name": "image", "data_type": f"TYPE_{self.dtype}", "dims": SHAPES[self.dtype]}],
            "output": [{"name": "scores", "data_type": "TYPE_FP32", "dims": [CLASSES]}],
            "parameters": {key: {"string_value": value} for key, value in self.parameters.items()},
        }
        return attrs.evolve(ModelContract.from_config(config), labelled=self.labelled)


def _scores(images: NDArray[Any], version: int) -> NDArray[np.float32]:
    scores = np.full((len(images), CLASSES), 0.1, np.float32)
    scores[np.arange(len(images)), (images.reshape(len(images), -1)[:, 0].astype(int) + version) % CLASSES] = 0.6
    return scores


def image(value: int) -> NDArray[np.uint8]:
    """Return a picture of one grey level, uint8 ``(20, 30, 3)``."""
    return np.full((20, 30, 3), value, np.uint8)


def batch(*values: int) -> NDArray[np.uint8]:
    """Return a prepared tensor with a grey level for each image, uint8 ``(n, 8, 8, 3)``."""
    return np.stack([np.full((SIDE, SIDE, 3), value, np.uint8) for value in values])
