"""A transport and a clock for tests: no socket, no thread, no waiting."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import attrs
from google.protobuf.message import Message

from tests.doubles.fake_triton import FakeTriton, Refused, batch
from triton_sdk import ImageLike, Inference, Prediction
from triton_sdk._flow import operations, routing
from triton_sdk._flow.failures import Failure
from triton_sdk._flow.session import Session
from triton_sdk._flow.steps import Flow, Send
from triton_sdk._wire.drive import run
from triton_sdk.config import ClientConfig, RetryPolicy

_T = TypeVar("_T")


@attrs.define
class Clock:
    """A clock that stands still unless it is told to go on."""

    now: float = 100.0
    sleeps: list[float] = attrs.field(factory=list)

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Go on by *seconds*."""
        self.sleeps.append(seconds)
        self.now += seconds


@attrs.define
class ScriptedTransport:
    """Sends to a server in memory; each attempt takes its turn from *script*: seconds, and what comes back instead."""

    server: FakeTriton = attrs.field(factory=FakeTriton)
    clock: Clock = attrs.field(factory=Clock)
    script: list[tuple[float, Failure | None]] = attrs.field(factory=list)
    sent: list[Send] = attrs.field(factory=list)
    closed: bool = False

    def send(self, request: Send) -> Message | Failure:
        """Return the reply or the failure whose turn it is; a turn longer than the timeout is a timeout."""
        self.sent.append(request)
        seconds, failure = self.script.pop(0) if self.script else (0.0, None)
        self.clock.now += min(seconds, request.timeout)
        if seconds >= request.timeout:
            return Failure("DEADLINE_EXCEEDED", "Deadline Exceeded")
        if failure is not None:
            return failure
        try:
            reply: Message = self.server.answer(request.method, request.message)
        except Refused as refusal:
            return Failure(refusal.code, refusal.details)
        return reply

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def fail(self, *failures: Failure) -> None:
        """Put *failures* into the script, each at once."""
        self.script += [(0.0, failure) for failure in failures]

    @property
    def methods(self) -> list[str]:
        """The names of what was asked, in order."""
        return [request.method for request in self.sent]


def session(
    transport: ScriptedTransport,
    *,
    model: str = "clf",
    retry: RetryPolicy | None = None,
    labels: Iterable[str] | None = None,
    uniform: Callable[[], float] = lambda: 0.5,
) -> Session:
    """Make what the calls of a client share, on the transport's clock."""
    return Session(
        config=ClientConfig(url="triton:8001", model=model, retry=retry or RetryPolicy()),
        given_labels=None if labels is None else tuple(labels),
        clock=transport.clock,
        uniform=uniform,
    )


def drive(flow: Flow[_T], transport: ScriptedTransport) -> _T:
    """Run *flow* on the transport's clock."""
    return run(flow, transport, sleep=transport.clock.sleep)


def infer(
    shared: Session, transport: ScriptedTransport, *values: int, version: int | None = None, timeout: float = 30
) -> Inference:
    """Infer a batch of grey levels; values stand for the images."""
    deadline = shared.clock() + timeout
    return drive(operations.infer(shared, batch(*values), version=version, deadline=deadline), transport)


def predict(
    shared: Session, transport: ScriptedTransport, *images: ImageLike, version: int | None = None, first: int | None = 0
) -> list[Prediction]:
    """Predict *images* within 30 s."""
    flow = routing.predict(shared, images, version=version, key=None, top=2, deadline=shared.clock() + 30, first=first)
    return drive(flow, transport)
