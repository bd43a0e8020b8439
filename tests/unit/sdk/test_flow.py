"""What a call decides: again or not, how long, which error. On a clock that stands still."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.doubles.fake_triton import image
from tests.doubles.scripted import Clock, ScriptedTransport, drive, infer, predict, session
from triton_sdk import (
    DeadlineExceededError,
    InferenceFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    RetryPolicy,
    ServerError,
    ServerOverloadedError,
    ServerUnavailableError,
    TritonError,
)
from triton_sdk._flow import operations
from triton_sdk._flow.failures import Failure
from triton_sdk._flow.session import Budget, Session

LOST = Failure("UNAVAILABLE", "Socket closed")
UNLOADED = Failure("NOT_FOUND", "Request for unknown model: 'clf' has no available versions")


@pytest.fixture
def transport() -> ScriptedTransport:
    """Return a transport to a server that answers at once."""
    return ScriptedTransport()


@pytest.fixture
def shared(transport: ScriptedTransport) -> Session:
    """Return what the calls share, the contract known."""
    known = session(transport)
    drive(operations.contract(known, deadline=known.clock() + 30), transport)
    transport.sent.clear()
    return known


class TestRetries:
    @pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED"])
    def test_a_lost_request_is_sent_again(self, transport: ScriptedTransport, shared: Session, code: str) -> None:
        """What a broken connection or a stopping server refused goes again, after up to 50, then 100 ms."""
        transport.fail(Failure(code), Failure(code))
        assert infer(shared, transport, 1).model_version == 2
        assert transport.methods == ["ModelInfer"] * 3
        assert transport.clock.sleeps == pytest.approx([0.025, 0.05])

    def test_attempts_are_bounded_and_told(self, transport: ScriptedTransport, shared: Session) -> None:
        """The third failure is final; the error tells of all three, the earlier ones as notes, and keeps the cause."""
        cause = OSError("reset")
        transport.fail(
            Failure("UNAVAILABLE", "first"), Failure("UNAVAILABLE", "second"), Failure("UNAVAILABLE", "last", cause)
        )
        with pytest.raises(ServerUnavailableError, match=r"'clf' at triton:8001 \(3 attempts .*last") as caught:
            infer(shared, transport, 1)
        assert caught.value.__notes__ == ["Attempt 1: UNAVAILABLE: first", "Attempt 2: UNAVAILABLE: second"]
        assert caught.value.__cause__ is cause

    @pytest.mark.parametrize(
        ("failure", "error"),
        [
            (Failure("UNAVAILABLE", "Exceeds maximum queue size"), ServerOverloadedError),
            (Failure("UNAVAILABLE", "Request timeout expired"), ServerOverloadedError),
            (Failure("UNAVAILABLE", "This protocol is restricted, expecting header 'x'"), ServerError),
            (Failure("INVALID_ARGUMENT", "unexpected shape"), InvalidRequestError),
            (Failure("RESOURCE_EXHAUSTED", "CLIENT: Sent message larger than max"), InvalidRequestError),
            (Failure("RESOURCE_EXHAUSTED", "grpc: received message larger than max"), InvalidRequestError),
            (Failure("RESOURCE_EXHAUSTED", "gRPC message exceeds maximum size 4194304"), InvalidRequestError),
            (Failure("RESOURCE_EXHAUSTED", "rate limited"), ServerOverloadedError),
            (Failure("RESOURCE_EXHAUSTED", "overload: active requests"), ServerOverloadedError),
            (Failure("UNAVAILABLE", "reset before headers. reset reason: overflow"), ServerOverloadedError),
            (Failure("UNAVAILABLE", "envoy overloaded"), ServerOverloadedError),
            (Failure("UNAVAILABLE", "Received http2 header with status: 429"), ServerOverloadedError),
            (Failure("DEADLINE_EXCEEDED", "its words"), DeadlineExceededError),
            (Failure("INTERNAL", "ValueError: boom"), InferenceFailedError),
            (Failure("UNKNOWN", "its words"), InferenceFailedError),
            (Failure("UNIMPLEMENTED", "its words"), ServerError),
            (Failure("UNAUTHENTICATED", "its words"), ServerError),
            (Failure("PERMISSION_DENIED", "its words"), ServerError),
        ],
    )
    def test_a_refusal_is_final(
        self, transport: ScriptedTransport, shared: Session, failure: Failure, error: type[TritonError]
    ) -> None:
        """What a second try cannot mend is one request and one error of the fitting class with the server's words."""
        transport.fail(failure)
        with pytest.raises(TritonError, match=failure.details) as caught:
            infer(shared, transport, 1)
        assert type(caught.value) is error
        assert transport.methods.count("ModelInfer") == 1

    @pytest.mark.parametrize("words", ["Server is stopping", "version 1 is not at ready state", "Server exiting"])
    def test_a_server_that_stops_or_starts_is_asked_again(
        self, transport: ScriptedTransport, shared: Session, words: str
    ) -> None:
        """Of Triton's six meanings of UNAVAILABLE, those that pass are tried again."""
        transport.fail(Failure("UNAVAILABLE", words))
        assert infer(shared, transport, 1).model_version == 2

    def test_the_time_is_one_for_all_attempts(self, transport: ScriptedTransport, shared: Session) -> None:
        """Each attempt gets what the ones before it, and the waits, have left."""
        transport.script = [(0.4, LOST), (0.3, LOST)]
        infer(shared, transport, 1, timeout=1)
        assert [request.timeout for request in transport.sent] == pytest.approx([1.0, 0.575, 0.225])

    def test_no_wait_goes_beyond_the_deadline(self, transport: ScriptedTransport, shared: Session) -> None:
        """Where the wait would end too late, the call fails at once with the reason instead of sleeping on."""
        transport.script = [(0.99, LOST)]
        with pytest.raises(ServerUnavailableError, match="Socket closed"):
            infer(shared, transport, 1, timeout=1)
        assert transport.clock.sleeps == []

    def test_time_spent_before_sending_counts(self, transport: ScriptedTransport, shared: Session) -> None:
        """A call whose time is up sends nothing."""
        with pytest.raises(DeadlineExceededError, match="no time was left"):
            infer(shared, transport, 1, timeout=0)
        assert transport.sent == []

    @pytest.mark.parametrize("failure", [LOST, UNLOADED])
    def test_a_sick_server_sees_at_most_its_calls_and_a_fifth(
        self, transport: ScriptedTransport, shared: Session, failure: Failure
    ) -> None:
        """Retries stop when the common store is empty: 200 failing calls make at most 10 + 10 % more requests."""
        transport.fail(*[failure] * 600)
        for _ in range(200):
            with pytest.raises(ServerUnavailableError):
                infer(shared, transport, 1)
        # The contract's request earned too.
        assert len(transport.sent) == 200 + 10 + 201 // 10

    def test_a_healthy_time_saves_no_more_than_the_store_holds(self) -> None:
        """After 10,000 calls without trouble there are still only as many retries as at the start."""
        budget = Budget(RetryPolicy(budget=0.2, burst=3))
        for _ in range(10_000):
            budget.earn()
        assert [budget.spend() for _ in range(5)] == [True] * 3 + [False] * 2

    @given(
        script=st.lists(
            st.tuples(
                st.floats(0, 3),
                st.sampled_from([None, LOST, Failure("CANCELLED"), UNLOADED]),
            ),
            max_size=12,
        ),
        timeout=st.floats(0.001, 5),
        attempts=st.integers(1, 5),
        draw=st.floats(0, 1, exclude_max=True),
        values=st.integers(1, 9),
    )
    def test_no_schedule_overruns(
        self, script: list[tuple[float, Failure | None]], timeout: float, attempts: int, draw: float, values: int
    ) -> None:
        """Whatever fails, however slowly: a call ends by its deadline, and no request is tried too often."""
        transport = ScriptedTransport(clock=Clock(), script=script)
        shared = session(transport, retry=RetryPolicy(max_attempts=attempts), uniform=lambda: draw)
        begin = transport.clock.now
        with suppress(DeadlineExceededError, ServerUnavailableError, ModelNotFoundError):
            infer(shared, transport, *range(values), timeout=timeout)
        assert transport.clock.now <= begin + timeout + 1e-9
        requests = 1 + -(-values // 4)
        # One look into the index may follow the last attempt.
        assert len(transport.sent) <= requests * attempts + 1


class TestNotFound:
    def test_an_unknown_model_is_told_with_those_that_are_there(self, transport: ScriptedTransport) -> None:
        """The error names the model, the server and the models that are ready."""
        shared = session(transport, model="resnet5")
        with pytest.raises(ModelNotFoundError, match=r"'resnet5' at triton:8001: .*ready there: 'clf'"):
            predict(shared, transport, image(1))

    def test_an_unknown_version_is_told_with_those_that_are_ready(
        self, transport: ScriptedTransport, shared: Session
    ) -> None:
        """The error names the version and those that are ready."""
        with pytest.raises(ModelNotFoundError, match=r"version 9 at .*ready there: 1, 2"):
            infer(shared, transport, 1, version=9)

    def test_a_broken_model_is_told_with_the_servers_reason(self, transport: ScriptedTransport) -> None:
        """The error says why the server did not load it, on one line."""
        with pytest.raises(ModelNotFoundError, match="version 1 is not ready: Internal: no such file"):
            predict(session(transport, model="broken"), transport, image(1))

    def test_a_stopping_server_is_not_mistaken_for_a_missing_model(
        self, transport: ScriptedTransport, shared: Session
    ) -> None:
        """A server that unloads its models before it stops says NOT_FOUND, and has no index to prove it."""
        transport.fail(*[UNLOADED] * 3, Failure("UNAVAILABLE", "Server not ready"))
        with pytest.raises(ServerUnavailableError, match=r"3 attempts .*no available versions"):
            infer(shared, transport, 1)

    def test_a_model_that_was_just_reloaded_is_not_missing(self, transport: ScriptedTransport, shared: Session) -> None:
        """If the index lists the model as ready after all, the error is that of a passing trouble."""
        transport.fail(*[UNLOADED] * 3)
        with pytest.raises(ServerUnavailableError, match="no available versions"):
            infer(shared, transport, 1)

    def test_without_an_index_the_servers_words_must_do(self, transport: ScriptedTransport, shared: Session) -> None:
        """Where the repository API is restricted, the error is still that of a missing version."""
        transport.fail(
            Failure("NOT_FOUND", "Request for unknown model: 'clf' version 9 is not found"),
            Failure("UNAVAILABLE", "This protocol is restricted, expecting header 'x'"),
        )
        with pytest.raises(ModelNotFoundError, match="version 9 is not found"):
            infer(shared, transport, 1, version=9)
