"""Watch what a client does: hooks for metrics, and OpenTelemetry spans. Nothing here runs for a client without hooks.

client = ResNetClient("localhost:8001", hooks=[tracing(), on_call(record)])
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from triton_sdk.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["Call", "CallReport", "Hook", "Operation", "on_call", "tracing"]

Operation: TypeAlias = Literal["predict", "infer"]
"""What is called."""

_SERVICE: Final = "inference.GRPCInferenceService"
_METHOD: Final = "ModelInfer"
# The gRPC status that each of our errors stands for; the others never came from a server.
_STATUS: Final = {
    "CancelledError": 1,
    "GeneratorExit": 1,
    "DeadlineExceededError": 4,
    "InferenceFailedError": 13,
    "InvalidRequestError": 3,
    "ModelNotFoundError": 5,
    "ServerOverloadedError": 14,
    "ServerUnavailableError": 14,
}


@attrs.frozen(kw_only=True, eq=False)
class Call:
    """A call that begins.

    Attributes:
        operation: ``"predict"``, also for each batch of many, or ``"infer"``.
        url: The server's address, as the client was given it.
        model: The model's name.
        version: The version that is asked for, of a `Fallback` the first one; None where the server chooses.
        images: How many.
        metadata: A hook may add keys and values; they are sent with each request of the call.
    """

    operation: Operation
    url: str
    model: str
    version: int | None
    images: int
    metadata: dict[str, str] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True, eq=False)
class CallReport:
    """What became of a call.

    Attributes:
        call: What was asked for.
        model_version: The version that answered, as the server says; None where none did.
        latency_s: From the call's begin to its end in seconds; decoding, retries and waits included.
        requests: Requests sent, those for the contract included; the names of the classes, asked for once by a client,
            are no part of a call.
        retries: Those of them that were sent again after a failure.
        error: What the caller gets to see, a cancellation too; None where all went well.
    """

    call: Call
    model_version: int | None
    latency_s: float
    requests: int
    retries: int
    error: BaseException | None


Hook: TypeAlias = Callable[[Call], Callable[[CallReport], object] | None]
"""Called when a call begins, in the caller's context; what it returns, if anything, is called when the call has ended.

It should be quick, for the call waits for it. What it raises is logged and changes nothing for the caller.
"""


def on_call(callback: Callable[[CallReport], object]) -> Hook:
    """Make a hook that calls *callback* with the report of each call: for metrics, as a rule."""
    return lambda _call: callback


def tracing(provider: "TracerProvider | None" = None) -> Hook:
    """Make a hook that opens an OpenTelemetry span for each call and sends its context along, by W3C headers as a rule.

    The span is a client's, named and described by the conventions for gRPC calls (``rpc.*``, ``server.*``,
    ``error.type``); ``triton.model.name``, ``triton.model.version``, ``triton.operation``, ``triton.images``,
    ``triton.requests`` and ``triton.retries`` say the rest. Its parent is the span that is current for the caller.

    Args:
        provider: Where spans go; the global one when None.

    Raises:
        ConfigurationError: If opentelemetry-api is not installed.
    """
    try:
        from opentelemetry import propagate, trace
    except ModuleNotFoundError as error:
        raise ConfigurationError("tracing() needs opentelemetry-api: install triton-sdk[otel].") from error
    tracer = trace.get_tracer("triton_sdk", tracer_provider=provider)

    def begin(call: Call) -> Callable[[CallReport], None]:
        span = tracer.start_span(f"{_SERVICE}/{_METHOD}", kind=trace.SpanKind.CLIENT, attributes=_asked(call))
        propagate.inject(call.metadata, context=trace.set_span_in_context(span))

        def end(report: CallReport) -> None:
            _describe(span, report)
            if report.error is not None:
                span.set_status(trace.StatusCode.ERROR, type(report.error).__name__)
            span.end()

        return end

    return begin


def _asked(call: Call) -> dict[str, str | int]:
    """Return the attributes that are known at the begin, which samplers may look at."""
    # Of several addresses it is not known here which one was asked.
    host, _, port = ("", "", "") if "," in call.url else call.url.rpartition("/")[2].rpartition(":")
    attributes: dict[str, str | int] = {
        "rpc.system": "grpc",
        "rpc.service": _SERVICE,
        "rpc.method": _METHOD,
        "server.address": host or call.url,
        "triton.model.name": call.model,
        "triton.operation": call.operation,
        "triton.images": call.images,
    }
    if host and port.isdecimal():
        attributes["server.port"] = int(port)
    if call.version is not None:
        attributes["triton.model.version"] = call.version
    return attributes


def _describe(span: "Span", report: CallReport) -> None:
    attributes: dict[str, Any] = {"triton.requests": report.requests, "triton.retries": report.retries}
    if report.model_version is not None:
        attributes["triton.model.version"] = report.model_version
    if report.error is None:
        attributes["rpc.grpc.status_code"] = 0
    else:
        name = type(report.error).__name__
        attributes["error.type"] = name
        if name in _STATUS:
            attributes["rpc.grpc.status_code"] = _STATUS[name]
    span.set_attributes(attributes)
