"""Test a service that asks Triton without a server: the client is real, and what answers it lives in memory.

    transport = ScriptedTransport([{"goldfish": 0.9}, {"kimono": 0.8}])
    with ResNetClient("scripted:1", transport=transport) as client:
        assert client.predict("any.jpg").label == "goldfish"

Everything of the client runs: decoding, batching, retries, errors. For a real Triton, see the ``local_triton`` fixture.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any, Final, Literal, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from triton_sdk import labels as class_names
from triton_sdk._checks import instance, names, several, whole
from triton_sdk._flow.failures import Failure
from triton_sdk._flow.steps import Reply, Send
from triton_sdk._wire.memory import MemoryTriton, Refused, asks_for_labels, parsed, tensor
from triton_sdk.contract import ModelContract, TensorSpec
from triton_sdk.errors import ClientClosedError, ConfigurationError

__all__ = ["Answer", "Fault", "ScriptedRequest", "ScriptedTransport"]

Answer: TypeAlias = Mapping[str, float] | Sequence[float]
"""Probabilities for one image: some classes by name, the others being 0, or all in the order of their indices."""

Fault: TypeAlias = Literal["unavailable", "overloaded", "slow", "failed", "invalid", "denied"]
"""What a server may say instead of an answer; the error that it becomes stands at `ScriptedTransport.fail`."""

_FAULTS: Final[Mapping[str, Failure]] = {
    "unavailable": Failure("UNAVAILABLE", "failed to connect to all addresses"),
    "overloaded": Failure("UNAVAILABLE", "Exceeds maximum queue size"),
    "slow": Failure("DEADLINE_EXCEEDED", "Deadline Exceeded"),
    "failed": Failure("INTERNAL", "the model failed, as the test asked for"),
    "invalid": Failure("INVALID_ARGUMENT", "the request does not fit, as the test asked for"),
    "denied": Failure("PERMISSION_DENIED", "not allowed, as the test asked for"),
}


@attrs.frozen(kw_only=True, eq=False)
class ScriptedRequest:
    """An inference that was asked for.

    Attributes:
        version: The version that was named; None where the choice was the server's.
        images: The tensor as it was sent, ``(n, *input.shape)`` of the contract's dtype.
        timeout: How long the client was ready to wait, in seconds.
        metadata: Keys and values that came with this request alone, such as a trace context.
    """

    version: int | None
    images: NDArray[Any]
    timeout: float
    metadata: tuple[tuple[str, str], ...] = ()


class ScriptedTransport:
    """Stands in for the server of a `ResNetClient` or an `AsyncResNetClient`; safe to use from many threads.

    Attributes:
        requests: The inferences that were asked for, in order, with those that failed; a `ScriptedRequest` each.
        versions: The versions that are ready; set it to load or unload some.
        contract: What the model takes and gives.
        closed: Whether the client was closed.
    """

    def __init__(
        self,
        answers: Iterable[Answer] | Callable[[NDArray[Any], int], Answer] | None = None,
        *,
        model: str = "resnet50",
        versions: Iterable[int] = (1,),
        labels: Sequence[str] | None = None,
        contract: ModelContract | None = None,
    ) -> None:
        """Make a server that has *model* ready.

        Args:
            answers: One for each image, in turn, and from the first again after the last; or a function of an image,
                ``input.shape`` of the contract's dtype, and the version that is to answer. None means that the
                first class is certain.
            model: The model's name.
            versions: Those that are ready; `versions` may be set anew at any time.
            labels: A name for each class; ImageNet's when None, unless a contract says another number of classes.
            contract: What the model takes and gives, in place of *model*; one like those that this project packages
                when None: UINT8 ``(224, 224, 3)``, 8 images in a request.

        Raises:
            ConfigurationError: If one cannot be used, or labels, contract and answers do not fit each other.
        """
        if contract is not None:
            instance(contract, ModelContract, "contract", "ModelContract(model='resnet50', ...)")
        labels = names(labels)
        if labels is None:
            labels = class_names.imagenet() if contract is None else [f"class {i}" for i in range(contract.classes)]
        self.contract: ModelContract = contract or _packaged(model, classes=len(labels))
        self.versions: tuple[int, ...] = tuple(several(versions, "versions", "a list of numbers, such as (1, 2),"))
        self.requests: list[ScriptedRequest] = []
        self.closed: bool = False
        self._labels = tuple(labels)
        if len(self._labels) != self.contract.classes:
            raise ConfigurationError(
                f"There are {len(self._labels)} labels, but the contract has {self.contract.classes} classes."
            )
        given = [{self._labels[0]: 1.0}] if answers is None else answers
        self._answer = given if callable(given) else self._in_turn(given)
        self._faults: list[Failure] = []
        self._stopped = False
        self._lock = threading.Lock()

    def fail(self, fault: Fault, *, times: int = 1) -> None:
        """Answer the next *times* inferences with *fault*, after those that are asked for already.

        ``"unavailable"`` becomes a `ServerUnavailableError` unless a retry helps, ``"overloaded"`` a
        `ServerOverloadedError`, ``"slow"`` a `DeadlineExceededError` (at once: nothing waits), ``"failed"`` an
        `InferenceFailedError`, ``"invalid"`` an `InvalidRequestError`, and ``"denied"`` a plain `ServerError`.

        Raises:
            ConfigurationError: If there is no such fault, or *times* is no whole number from 1.
        """
        if fault not in _FAULTS:
            raise ConfigurationError(f"There is no fault {fault!r}; one of {', '.join(_FAULTS)} was expected.")
        self._faults += [_FAULTS[fault]] * whole(times, "times")

    def stop(self) -> None:
        """Be a server that cannot be reached, until `start`: nothing is answered, readiness included."""
        self._stopped = True

    def start(self) -> None:
        """Be there again."""
        self._stopped = False

    def send(self, request: Send) -> Reply:
        """Return the reply whose turn it is."""
        if self.closed:
            raise ClientClosedError("The client was closed before the call.")
        with self._lock:
            if self._stopped:
                return _FAULTS["unavailable"]
            message = parsed(request.method, request.message)
            if request.method == "ModelInfer" and not asks_for_labels(message):
                self._note(request, message)
                if self._faults:
                    return self._faults.pop(0)
            triton = MemoryTriton(
                contract=self.contract, versions=self.versions, labels=self._labels, score=self._score
            )
            try:
                return triton.answer(request.method, message)
            except Refused as refusal:
                return Failure(refusal.code, refusal.details)

    def close(self) -> None:
        """Note that the client was closed."""
        self.closed = True

    def _note(self, request: Send, message: Any) -> None:
        images = tensor(message)
        self.requests.append(
            ScriptedRequest(
                version=int(message.model_version) if message.model_version else None,
                images=images if self.contract.input.batch else images[np.newaxis],
                timeout=request.timeout,
                metadata=request.metadata,
            )
        )

    def _score(self, images: NDArray[Any], version: int) -> NDArray[np.float32]:
        return np.stack([self._row(self._answer(image, version)) for image in images])

    def _in_turn(self, answers: Iterable[Answer]) -> Callable[[NDArray[Any], int], Answer]:
        expected = "a list with an answer for each image, such as [{'goldfish': 0.9}], or a function"
        rows = [self._row(answer) for answer in several(answers, "answers", expected)]
        if not rows:
            raise ConfigurationError("There are no answers; at least one was expected.")
        turns = cycle(rows)
        return lambda _image, _version: next(turns).tolist()

    def _row(self, answer: Answer) -> NDArray[np.float32]:
        """Return *answer* as probabilities ``(classes,)``."""
        if not isinstance(answer, Mapping):
            answer = several(answer, "An answer", "a dict of probabilities by name, or a list of all")
            if len(answer) != len(self._labels):
                raise ConfigurationError(
                    f"An answer has {len(answer)} probabilities, but there are {len(self._labels)} classes."
                )
            return np.asarray(answer, np.float32)
        row = np.zeros(len(self._labels), np.float32)
        for label, probability in answer.items():
            if label not in self._labels:
                raise ConfigurationError(f"An answer names {label!r}, which is none of the labels.")
            row[self._labels.index(label)] = probability
        return row


def _packaged(model: str, *, classes: int) -> ModelContract:
    return ModelContract(
        model=model,
        input=TensorSpec(name="image", dtype="UINT8", shape=(224, 224, 3)),
        output=TensorSpec(name="probabilities", dtype="FP32", shape=(classes,)),
        layout="NHWC",
        max_batch=8,
        resize=256,
        scores="probabilities",
        labelled=True,
    )
