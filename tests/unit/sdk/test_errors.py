"""What an error says to programs: whom it is about, how often it was tried, and what came last."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.doubles.fake_triton import FakeTriton, batch, image
from tests.doubles.scripted import ScriptedTransport, drive, infer, predict, session
from triton_sdk import (
    AsyncResNetClient,
    ClientClosedError,
    ConfigurationError,
    ContractError,
    DeadlineExceededError,
    Fallback,
    InferenceFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    ResNetClient,
    RetryPolicy,
    ServerError,
    ServerUnavailableError,
    TritonError,
    errors,
)
from triton_sdk._flow import operations, routing
from triton_sdk._flow.failures import Failure
from triton_sdk._flow.session import Session
from triton_sdk._wire.drive import run

LOST = Failure("UNAVAILABLE", "Socket closed")


def data(error: TritonError) -> tuple[str | None, str | None, int | None, int, str | None]:
    """Return all that *error* says."""
    return error.target, error.model, error.version, error.attempts, error.code


class Spoiling(FakeTriton):
    """A server whose model takes sounds, and answers in four bytes."""

    def answer(self, method: str, message: Any) -> Any:
        """Return what nobody can use."""
        reply = super().answer(method, message)
        if method == "ModelConfig":
            reply.config.input[0].dims[:] = [16_000]
        else:
            reply.raw_output_contents[0] = b"1234"
        return reply


def raised(kind: type[TritonError], call: Callable[[], object]) -> TritonError:
    """Return the error that the *call* ends with."""
    with pytest.raises(kind) as caught:
        call()
    return caught.value


@pytest.fixture
def transport() -> ScriptedTransport:
    """Return a transport to a server that answers at once."""
    return ScriptedTransport()


@pytest.fixture
def shared(transport: ScriptedTransport) -> Session:
    """Return what the calls share, the contract known."""
    known = session(transport)
    drive(operations.contract(known, deadline=known.clock() + 30), transport)
    return known


@pytest.mark.parametrize(
    ("script", "kind", "version", "attempts", "code"),
    [
        ([LOST] * 3, ServerUnavailableError, None, 3, "UNAVAILABLE"),
        ([LOST, Failure("INTERNAL", "boom")], InferenceFailedError, 1, 2, "INTERNAL"),
        ([Failure("UNAUTHENTICATED", "bad token")], ServerError, 2, 1, "UNAUTHENTICATED"),
        ([], ModelNotFoundError, 9, 1, "NOT_FOUND"),
    ],
)
def test_a_refused_request_tells_all(
    shared: Session,
    transport: ScriptedTransport,
    script: list[Failure],
    kind: type[TritonError],
    version: int | None,
    attempts: int,
    code: str,
) -> None:
    """Server, model and version that were asked, how often, and the status that came last."""
    transport.fail(*script)
    error = raised(kind, lambda: infer(shared, transport, 1, version=version))
    assert data(error) == ("triton:8001", "clf", version, attempts, code)


def test_time_that_runs_out_before_a_retry_is_no_attempt(shared: Session, transport: ScriptedTransport) -> None:
    """Attempts are requests that were sent; so says the message."""
    transport.fail(LOST)

    def oversleep(_seconds: float) -> None:
        transport.clock.now += 60

    flow = operations.infer(shared, batch(1), version=None, deadline=shared.clock() + 30)
    error = raised(DeadlineExceededError, lambda: run(flow, transport, sleep=oversleep))
    assert data(error) == ("triton:8001", "clf", None, 1, "DEADLINE_EXCEEDED")
    assert "attempts" not in str(error)
    assert error.__notes__ == ["Attempt 1: UNAVAILABLE: Socket closed"]


def test_time_that_runs_out_before_anything_is_sent(shared: Session, transport: ScriptedTransport) -> None:
    """Nothing was sent, and so it says."""
    error = raised(DeadlineExceededError, lambda: infer(shared, transport, 1, version=2, timeout=0))
    assert data(error) == ("triton:8001", "clf", 2, 0, "DEADLINE_EXCEEDED")


def test_an_answer_that_cannot_be_read_tells_of_its_request(shared: Session, transport: ScriptedTransport) -> None:
    """The server answered at the second attempt with scores for other images."""
    transport.fail(LOST)
    transport.server = Spoiling()
    error = raised(InferenceFailedError, lambda: infer(shared, transport, 1, version=2))
    assert data(error) == ("triton:8001", "clf", 2, 2, None)


def test_scores_that_are_no_numbers_tell_who_gave_them(
    shared: Session, transport: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version is the one that answered, where none was asked for."""
    monkeypatch.setattr("tests.doubles.fake_triton._scores", lambda images, _: np.full((len(images), 5), np.nan, "<f4"))
    error = raised(InferenceFailedError, lambda: predict(shared, transport, image(1)))
    assert data(error) == ("triton:8001", "clf", 2, 0, None)


def test_a_model_that_is_no_classifier_is_named(transport: ScriptedTransport) -> None:
    """So are the server, and the one request that told."""
    transport.server = Spoiling()
    error = raised(ContractError, lambda: predict(session(transport), transport, image(1)))
    assert data(error) == ("triton:8001", "clf", None, 1, None)


def test_labels_that_do_not_fit_the_model_name_it(transport: ScriptedTransport) -> None:
    """The setting is wrong for this model, and might be right for another."""
    labelled = session(transport, labels="abcd")
    error = raised(ConfigurationError, lambda: predict(labelled, transport, image(1)))
    assert data(error) == ("triton:8001", "clf", None, 1, None)


def test_a_tensor_that_does_not_fit_was_not_sent(shared: Session, transport: ScriptedTransport) -> None:
    """No attempt and no status, but the model and the version that it was meant for."""
    flow = operations.infer(shared, batch(1).astype(np.float32), version=1, deadline=shared.clock() + 1)
    error = raised(InvalidRequestError, lambda: drive(flow, transport))
    assert data(error) == ("triton:8001", "clf", 1, 0, None)


def test_the_last_version_of_a_fallback_is_the_one_told(shared: Session, transport: ScriptedTransport) -> None:
    """The error is that of the version that was asked last."""
    shared.versions = frozenset({1, 2})
    transport.fail(Failure("INTERNAL", "one"), Failure("INTERNAL", "two"))
    flow = routing.predict(shared, [image(1)], version=Fallback(2, 1), key=None, top=1, deadline=shared.clock() + 30)
    error = raised(InferenceFailedError, lambda: drive(flow, transport))
    assert data(error) == ("triton:8001", "clf", 1, 1, "INTERNAL")


def test_a_model_that_is_nowhere_is_named_by_its_versions_too(transport: ScriptedTransport) -> None:
    """The index answered, and does not have it."""
    unknown = session(transport, model="other")
    flow = operations.versions(unknown, deadline=unknown.clock() + 1)
    error = raised(ModelNotFoundError, lambda: drive(flow, transport))
    assert data(error) == ("triton:8001", "other", None, 1, None)


def test_a_wait_in_vain_counts_its_questions(transport: ScriptedTransport) -> None:
    """Each question is an attempt; the status is that of the last one that told something."""
    transport.script = [(0.0, LOST)] * 100
    shared = session(transport, retry=RetryPolicy(max_attempts=1))
    flow = operations.wait_ready(shared, version=3, deadline=shared.clock() + 5, timeout=5)
    error = raised(DeadlineExceededError, lambda: drive(flow, transport))
    assert data(error) == ("triton:8001", "clf", 3, len(transport.sent), "UNAVAILABLE")


@pytest.mark.parametrize("kind", [ResNetClient, AsyncResNetClient])
def test_a_closed_client_tells_whose_it_was(kind: type[ResNetClient | AsyncResNetClient]) -> None:
    """A program with several clients can tell which one was closed."""
    client = kind("triton:8001", model="clf")
    client._closed = True
    with pytest.raises(ClientClosedError) as caught:
        client._open()
    assert data(caught.value) == ("triton:8001", "clf", None, 0, None)


@pytest.mark.parametrize("kind", [getattr(errors, name) for name in errors.__all__])
@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])
def test_an_error_survives_the_way_to_another_process(
    kind: type[TritonError], again: Callable[[TritonError], TritonError]
) -> None:
    """A pool of processes hands errors over with their words and their data."""
    error = kind("Cannot do it.")
    assert data(error) == (None, None, None, 0, None)
    error.target, error.model, error.version, error.attempts, error.code = "here:1", "clf", 2, 3, "INTERNAL"
    arrived = again(error)
    assert (type(arrived), str(arrived), data(arrived)) == (kind, "Cannot do it.", data(error))
