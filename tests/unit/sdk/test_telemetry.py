"""Hooks, spans and log lines: what a call tells about itself."""

import logging
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.doubles.fake_triton import image
from triton_sdk import (
    Fallback,
    ImageLike,
    InferenceFailedError,
    InvalidImageError,
    ModelNotFoundError,
    ResNetClient,
    RetryPolicy,
    ServerOverloadedError,
    TritonError,
)
from triton_sdk._flow.failures import Failure
from triton_sdk._flow.hooks import observed
from triton_sdk._flow.session import Session
from triton_sdk._flow.steps import Flow, Reply, Send, Sleep
from triton_sdk._wire.memory import asks_for_labels, parsed
from triton_sdk.config import ClientConfig
from triton_sdk.telemetry import Call, CallReport, Hook, on_call, tracing
from triton_sdk.testing import ScriptedTransport


def _wait() -> Flow[int]:
    """Wait without end, or return 7 at the first KeyError."""
    try:
        while True:
            yield Sleep(1)
    except KeyError:
        return 7


@pytest.fixture
def transport() -> ScriptedTransport:
    """Return a server in memory."""
    return ScriptedTransport(versions=(1, 2))


@pytest.fixture
def reports() -> list[CallReport]:
    """Return where the reports go."""
    return []


@pytest.fixture
def client(transport: ScriptedTransport, reports: list[CallReport]) -> Iterator[ResNetClient]:
    """Return a client that reports its calls and waits for no retry."""
    retry = RetryPolicy(base=0)
    with ResNetClient("scripted:1", retry=retry, transport=transport, hooks=[on_call(reports.append)]) as client:
        yield client


class TestReports:
    def test_a_call_is_told_whole(self, client: ResNetClient, reports: list[CallReport]) -> None:
        """Who was asked, who answered, how many images, how many requests, and in which time."""
        client.predict_many([image(1)] * 3, version=1)
        (report,) = reports
        call = report.call
        assert (call.operation, call.url, call.model, call.version, call.images) == (
            "predict",
            "scripted:1",
            "resnet50",
            1,
            3,
        )
        # The contract, and the images.
        assert (report.model_version, report.requests, report.retries, report.error) == (1, 2, 0, None)
        assert 0 < report.latency_s < 30

    def test_a_prepared_tensor_is_a_call_as_well(self, client: ResNetClient, reports: list[CallReport]) -> None:
        """infer is told once, under its own name, with the server's choice of version."""
        client.infer(np.zeros((9, 224, 224, 3), np.uint8))
        (report,) = reports
        assert (report.call.operation, report.call.images, report.model_version) == ("infer", 9, 2)
        # The contract, and two for nine images, which are no retries.
        assert (report.requests, report.retries) == (3, 0)

    def test_retries_are_counted(
        self, client: ResNetClient, transport: ScriptedTransport, reports: list[CallReport]
    ) -> None:
        """Two lost requests are two retries of one call that went well."""
        client.contract()
        transport.fail("unavailable", times=2)
        client.predict(image(1))
        assert (reports[0].requests, reports[0].retries, reports[0].error) == (4, 2, None)

    def test_failures_are_told_as_the_caller_sees_them(
        self, client: ResNetClient, transport: ScriptedTransport, reports: list[CallReport]
    ) -> None:
        """The error in the report is the one that is raised, whoever found the fault."""
        transport.fail("overloaded")
        raised = []
        asked: list[tuple[ImageLike, int | None]] = [(image(1), None), (b"no image", None), (image(1), 7)]
        for picture, version in asked:
            with pytest.raises(TritonError) as caught:
                client.predict(picture, version=version)
            raised.append(caught.value)
        assert [report.error for report in reports] == raised
        assert [type(error) for error in raised] == [ServerOverloadedError, InvalidImageError, ModelNotFoundError]
        assert [report.model_version for report in reports] == [None] * 3

    def test_a_bad_image_in_a_stream_makes_no_second_call(
        self, client: ResNetClient, transport: ScriptedTransport, reports: list[CallReport]
    ) -> None:
        """Its batch is one call that went well; a batch of bad ones alone is one that failed, as predict's is."""
        bad = b"no image"
        streams: list[tuple[list[ImageLike], int]] = [
            ([image(1), bad, image(2)], 2),
            ([bad, bad], 0),
            ([bad], 0),
            ([image(1)], 1),
        ]
        for images, good in streams:
            reports.clear()
            asked = len(transport.requests)
            results = dict(client.predict_stream(images))
            assert [isinstance(results[place], InvalidImageError) for place in range(len(images))] == [
                one is bad for one in images
            ]
            (report,) = reports
            assert (report.call.operation, report.call.images) == ("predict", len(images))
            assert (report.model_version, type(report.error)) == (
                (2, type(None)) if good else (None, InvalidImageError)
            )
            assert [len(request.images) for request in transport.requests[asked:]] == ([good] if good else [])

    def test_a_stream_that_fails_after_a_bad_image_is_one_call_that_failed(
        self, client: ResNetClient, transport: ScriptedTransport, reports: list[CallReport]
    ) -> None:
        """The bad image keeps its own error, and the others have the server's."""
        client.contract()
        transport.fail("failed")
        results = dict(client.predict_stream([image(1), b"no image"]))
        assert [type(results[place]) for place in (0, 1)] == [InferenceFailedError, InvalidImageError]
        (report,) = reports
        assert isinstance(report.error, InferenceFailedError)

    @pytest.mark.parametrize("fault", [InferenceFailedError, ModelNotFoundError])
    def test_a_call_that_a_fallback_saved_is_one_that_went_well(
        self, client: ResNetClient, transport: ScriptedTransport, reports: list[CallReport], fault: type[TritonError]
    ) -> None:
        """It is one call: for the version that was asked first, answered by the other."""
        if fault is InferenceFailedError:
            client.contract()
            transport.fail("failed")
        else:
            transport.versions = (1,)
        assert client.predict(image(1), version=Fallback(2, 1)).model_version == 1
        (report,) = reports
        assert (report.call.version, report.model_version, report.error) == (2, 1, None)

    def test_a_fallback_in_vain_is_one_call_that_failed(
        self, client: ResNetClient, transport: ScriptedTransport, reports: list[CallReport]
    ) -> None:
        """The error is the one that the caller sees."""
        client.contract()
        transport.fail("failed", times=2)
        with pytest.raises(InferenceFailedError) as caught:
            client.predict(image(1), version=Fallback(2, 1))
        (report,) = reports
        assert report.error is caught.value

    def test_a_call_whose_labels_failed_is_one_that_failed(self, reports: list[CallReport]) -> None:
        """What the caller sees is an error, though the scores were there; who answered is told all the same."""

        class Nameless(ScriptedTransport):
            """A server that fails on the question for the names of its classes."""

            def send(self, request: Send) -> Reply:
                """Return the reply, or that it failed."""
                message = parsed(request.method, request.message)
                if request.method == "ModelInfer" and asks_for_labels(message):
                    return Failure("INTERNAL", "no names")
                return super().send(request)

        with (
            ResNetClient("scripted:1", transport=Nameless(), hooks=[on_call(reports.append)]) as client,
            pytest.raises(InferenceFailedError, match="no names") as caught,
        ):
            client.predict(image(1))
        (report,) = reports
        assert (report.error, report.model_version) == (caught.value, 1)

    def test_metadata_of_a_hook_goes_with_the_question_for_the_names(self, transport: ScriptedTransport) -> None:
        """A token that a hook sets is in every request of the call."""
        seen: list[tuple[tuple[str, str], ...]] = []
        send = transport.send

        def spy(request: Send) -> Reply:
            seen.append(request.metadata)
            return send(request)

        def sign(call: Call) -> None:
            call.metadata["authorization"] = "Bearer t"

        transport.send = spy  # type: ignore[method-assign]
        with ResNetClient("scripted:1", transport=transport, hooks=[sign]) as client:
            client.predict(image(1))
        assert seen == [(("authorization", "Bearer t"),)] * 3

    def test_an_abandoned_call_is_told(self, reports: list[CallReport]) -> None:
        """A flow that its driver gives up, as on a cancellation, still ends with a report."""
        session = Session(config=ClientConfig(url="scripted:1"), hooks=[on_call(reports.append)])

        flow = observed(_wait(), session, operation="infer", version=None, images=1, answered=int)
        next(flow)
        flow.close()
        assert isinstance(reports[0].error, GeneratorExit)

    def test_an_error_reaches_the_call(self, reports: list[CallReport]) -> None:
        """What a step raises goes into the watched flow, which may handle it."""
        session = Session(config=ClientConfig(url="scripted:1"), hooks=[on_call(reports.append)])
        flow = observed(_wait(), session, operation="infer", version=None, images=1, answered=int)
        next(flow)
        with pytest.raises(StopIteration) as end:
            flow.throw(KeyError("stop"))
        assert end.value.value == 7
        assert (reports[0].model_version, reports[0].error) == (7, None)

    def test_a_broken_hook_harms_nobody(
        self, transport: ScriptedTransport, reports: list[CallReport], caplog: pytest.LogCaptureFixture
    ) -> None:
        """What a hook raises at either end is logged; the call and the other hooks go on."""

        def at_the_begin(_call: Call) -> None:
            raise RuntimeError("first")

        def at_the_end(_report: CallReport) -> None:
            raise RuntimeError("last")

        hooks: list[Hook] = [at_the_begin, on_call(reports.append), on_call(at_the_end)]
        with ResNetClient("scripted:1", transport=transport, hooks=hooks) as client:
            assert client.predict(image(1)).model_version == 2
        assert len(reports) == 1
        assert [record.exc_text is not None and record.levelname for record in caplog.records] == ["ERROR"] * 2

    def test_without_hooks_nothing_is_wrapped(self) -> None:
        """The flow itself is run, so that telemetry that nobody uses costs nothing."""
        flow = _wait()
        session = Session(config=ClientConfig(url="scripted:1"))
        assert observed(flow, session, operation="infer", version=None, images=1, answered=int) is flow


class TestSpans:
    @pytest.fixture
    def provider(self) -> TracerProvider:
        """Return a provider of spans of its own, so that nothing global changes."""
        return TracerProvider()

    @pytest.fixture
    def spans(self, provider: TracerProvider) -> Callable[[], list[ReadableSpan]]:
        """Return a function that returns the spans that have ended."""
        exporter = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        return lambda: list(exporter.get_finished_spans())

    @pytest.fixture
    def client(self, transport: ScriptedTransport, provider: TracerProvider) -> Iterator[ResNetClient]:
        """Return a client that is traced."""
        with ResNetClient("triton.example:8001", transport=transport, hooks=[tracing(provider)]) as client:
            yield client

    def test_a_span_follows_the_conventions(
        self, client: ResNetClient, spans: Callable[[], list[ReadableSpan]]
    ) -> None:
        """A client's span, named by service and method, with rpc.*, server.* and our own attributes."""
        client.predict_many([image(1)] * 2)
        (span,) = spans()
        assert (span.name, span.kind) == ("inference.GRPCInferenceService/ModelInfer", trace.SpanKind.CLIENT)
        assert dict(span.attributes or {}) == {
            "rpc.system": "grpc",
            "rpc.service": "inference.GRPCInferenceService",
            "rpc.method": "ModelInfer",
            "rpc.grpc.status_code": 0,
            "server.address": "triton.example",
            "server.port": 8001,
            "triton.model.name": "resnet50",
            "triton.model.version": 2,
            "triton.operation": "predict",
            "triton.images": 2,
            # The contract and the images.
            "triton.requests": 2,
            "triton.retries": 0,
        }

    def test_the_trace_goes_on_in_the_server(
        self,
        client: ResNetClient,
        provider: TracerProvider,
        transport: ScriptedTransport,
        spans: Callable[[], list[ReadableSpan]],
    ) -> None:
        """The span's parent is the caller's, and its own id is in the request's traceparent."""
        with provider.get_tracer("service").start_as_current_span("handle") as handle:
            client.predict(image(1))
        inner = next(span for span in spans() if span.name != "handle")
        context = inner.get_span_context()
        assert context is not None
        assert inner.parent is not None
        assert inner.parent.span_id == handle.get_span_context().span_id
        ((key, value),) = transport.requests[0].metadata
        assert key == "traceparent"
        assert value.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")

    def test_a_failure_is_marked(
        self, client: ResNetClient, transport: ScriptedTransport, spans: Callable[[], list[ReadableSpan]]
    ) -> None:
        """Status, error type and gRPC's code say what went wrong; the message, which may quote a file's name, stays."""
        transport.fail("overloaded")
        with pytest.raises(ServerOverloadedError):
            client.predict(image(1))
        (span,) = spans()
        attributes = span.attributes or {}
        assert span.status.status_code is trace.StatusCode.ERROR
        assert (attributes["error.type"], attributes["rpc.grpc.status_code"]) == ("ServerOverloadedError", 14)
        assert span.status.description == "ServerOverloadedError"
        assert span.events == ()

    def test_what_was_never_sent_has_no_status_of_grpc(
        self, client: ResNetClient, spans: Callable[[], list[ReadableSpan]]
    ) -> None:
        """A bad image is an error of the span, and no reply of a server."""
        with pytest.raises(InvalidImageError):
            client.predict(b"no image")
        attributes = spans()[0].attributes or {}
        assert attributes["error.type"] == "InvalidImageError"
        assert "rpc.grpc.status_code" not in attributes


class TestLogging:
    def test_retries_are_told_and_secrets_are_not(
        self, transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
    ) -> None:
        """At DEBUG and above, a retry is a line that says why; a token in the metadata is in none."""
        caplog.set_level(logging.DEBUG, logger="triton_sdk")
        metadata = [("authorization", "Bearer s3cret")]
        with ResNetClient("scripted:1", metadata=metadata, transport=transport, retry=RetryPolicy(base=0)) as client:
            transport.fail("unavailable")
            client.predict(image(1))
        (line,) = [record.getMessage() for record in caplog.records]
        assert "infer with model 'resnet50' at scripted:1: UNAVAILABLE. Trying again in 0 ms" in line
        assert "s3cret" not in caplog.text

    def test_an_application_without_logging_sees_nothing(self) -> None:
        """The package's logger has a handler that drops everything, and says nothing of levels."""
        logger = logging.getLogger("triton_sdk")
        assert any(isinstance(handler, logging.NullHandler) for handler in logger.handlers)
        assert logger.level == logging.NOTSET
