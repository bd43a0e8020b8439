"""What went wrong on the way to the server or in it, as a value, and which error and which remedy it means."""

import copy
from collections.abc import Sequence
from textwrap import shorten
from typing import Final, TypeVar

import attrs

from triton_sdk.config import ClientConfig
from triton_sdk.errors import (
    DeadlineExceededError,
    InferenceFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    ServerError,
    ServerOverloadedError,
    ServerUnavailableError,
    TritonError,
)

_E = TypeVar("_E", bound=TritonError)

# A model's exception comes with a traceback, and is whole in __cause__.
_SHOWN: Final = 400


@attrs.frozen
class Failure:
    """Why there is no reply to one request.

    Attributes:
        code: Name of the gRPC status: ``"UNAVAILABLE"``, ...
        details: The text that came with it.
        cause: The exception beneath.
        way: What is to be said of the way to the server: that there is a proxy on it.
    """

    code: str
    details: str = ""
    cause: Exception | None = None
    way: str = ""

    def __str__(self) -> str:
        way = f" ({self.way})" if self.way else ""
        return f"{self.code}: {shorten(self.details, _SHOWN, placeholder=' ...') or 'no details'}{way}"


@attrs.frozen
class Verdict:
    """What a failure means.

    Attributes:
        error: The error to raise in the end.
        hint: What the user can try.
        retry: Whether the same request may succeed at a second try.
    """

    error: type[TritonError]
    hint: str
    retry: bool = False


_UNREACHABLE: Final = Verdict(
    ServerUnavailableError,
    "Check the address (it is the gRPC port, 8001 by default), TLS, and that the server runs; wait_ready() waits for "
    "one that is starting.",
    retry=True,
)
_OVERLOADED: Final = Verdict(ServerOverloadedError, "Send less at once or later, or serve more instances of the model.")
_UNKNOWN: Final = Verdict(ModelNotFoundError, "versions() lists what is served.")
_UNFIT: Final = Verdict(InvalidRequestError, "contract() says what the model takes.")
_TOO_LARGE: Final = Verdict(InvalidRequestError, "Send fewer images at once, or raise the size limit on the way.")
_TOO_LONG: Final = Verdict(InferenceFailedError, "No answer of a classifier is so large; check the address.")
_FAILED: Final = Verdict(InferenceFailedError, "The server's log says more.")
_DENIED: Final = Verdict(ServerError, "Check the credentials in metadata=.")

_BY_CODE: Final = {
    "UNAVAILABLE": _UNREACHABLE,
    # The caller cannot cancel, so this comes from a server that is stopping.
    "CANCELLED": _UNREACHABLE,
    "DEADLINE_EXCEEDED": Verdict(DeadlineExceededError, "Give a longer timeout=, or look at the server's load."),
    "NOT_FOUND": _UNKNOWN,
    "INVALID_ARGUMENT": _UNFIT,
    "OUT_OF_RANGE": _UNFIT,
    # Never Triton's word: a gateway's for load, or gRPC's for the size of a message.
    "RESOURCE_EXHAUSTED": _OVERLOADED,
    "UNIMPLEMENTED": Verdict(ServerError, "Check that the address is a Triton's gRPC endpoint."),
    "UNAUTHENTICATED": _DENIED,
    "PERMISSION_DENIED": _DENIED,
}

# Triton, or who stands before it, says these with one code for several cases; its words tell them apart.
_BY_TEXT: Final = (
    # gRPC's words for a limit on the size of a message: in C++ and Go, and in Java.
    ("RESOURCE_EXHAUSTED", "client: received message larger than max", _TOO_LONG),
    ("RESOURCE_EXHAUSTED", "message larger than max", _TOO_LARGE),
    ("RESOURCE_EXHAUSTED", "message exceeds maximum size", _TOO_LARGE),
    # Envoy's, for its circuit breaker and for its own load, and what gRPC makes of HTTP's "too many requests".
    ("UNAVAILABLE", "reset reason: overflow", _OVERLOADED),
    ("UNAVAILABLE", "envoy overloaded", _OVERLOADED),
    ("UNAVAILABLE", "status: 429", _OVERLOADED),
    ("UNAVAILABLE", "exceeds maximum queue size", _OVERLOADED),
    ("UNAVAILABLE", "request timeout expired", _OVERLOADED),
    # --grpc-restricted-protocol, and the caller did not send the key.
    ("UNAVAILABLE", "protocol is restricted", _DENIED),
    # The model is in the repository but not loaded at the moment: so says a server that is stopping or reloading it.
    ("NOT_FOUND", "has no available versions", _UNREACHABLE),
)


def judge(failure: Failure) -> Verdict:
    """Return what *failure* means."""
    details = failure.details.lower()
    for code, text, verdict in _BY_TEXT:
        if failure.code == code and text in details:
            return verdict
    return _BY_CODE.get(failure.code, _FAILED)


def to_error(
    failures: Sequence[Failure], config: ClientConfig, *, verb: str, version: int | None, attempts: int, seconds: float
) -> TritonError:
    """Build the error for the last of *failures*, what became of one request, with the earlier ones as notes.

    Args:
        failures: At least one.
        config: Whom the request was for.
        verb: What was tried with the model: ``"infer with"``.
        version: The version that was asked for.
        attempts: How often the request was sent.
        seconds: How long all took.
    """
    last = failures[-1]
    verdict = judge(last)
    spent = f"{attempts} attempts in {seconds:.2f} s" if attempts > 1 else f"{seconds:.2f} s"
    error = verdict.error(f"Cannot {task(config, verb, version)} ({spent}): {last}. {verdict.hint}")
    error.__cause__ = last.cause
    for number, failure in enumerate(failures[:-1], start=1):
        error.add_note(f"Attempt {number}: {failure}")
    return about(error, config, version=version, attempts=attempts, code=last.code)


def for_each(error: _E, count: int) -> list[_E]:
    """Return *error* for *count* results: an object for each, for Python writes into one that is raised."""
    return [error, *(_twin(error) for _ in range(count - 1))]


def _twin(error: _E) -> _E:
    twin = copy.copy(error)
    twin.__cause__, twin.__context__ = error.__cause__, error.__context__
    twin.__suppress_context__, twin.__traceback__ = error.__suppress_context__, error.__traceback__
    if hasattr(error, "__notes__"):
        twin.__notes__ = list(error.__notes__)
    return twin


def about(
    error: _E, config: ClientConfig, *, version: int | None = None, attempts: int = 0, code: str | None = None
) -> _E:
    """Return *error* with what it is about, for programs, beside its words."""
    error.target, error.model = config.url, config.model
    error.version, error.attempts, error.code = version, attempts, code
    return error


def task(config: ClientConfig, verb: str, version: int | None = None) -> str:
    """Say what is tried and with whom: ``"infer with model 'resnet50' at localhost:8001"``."""
    return f"{verb} {subject(config, version)}"


def subject(config: ClientConfig, version: int | None = None) -> str:
    """Name the model, or one version of it, and the server."""
    exact = "" if version is None else f" version {version}"
    return f"model {config.model!r}{exact} at {config.url}"
