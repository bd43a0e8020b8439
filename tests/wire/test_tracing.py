"""The trace context on the wire, from clients of both kinds, and from the threads and tasks that they start."""

import asyncio
from collections.abc import Callable

import pytest
from opentelemetry.sdk.trace import TracerProvider

from tests.doubles.fake_triton import FakeTriton, image
from tests.wire.server import Served, serve
from triton_sdk import AsyncResNetClient, ResNetClient
from triton_sdk.telemetry import tracing

IMAGES = [image(value) for value in range(12)]


def ask_in_threads(url: str, provider: TracerProvider) -> None:
    """Classify several batches at once."""
    with ResNetClient(url, model="clf", hooks=[tracing(provider)]) as client:
        client.predict_many(IMAGES, batch_size=4, in_flight=3)


def ask_in_tasks(url: str, provider: TracerProvider) -> None:
    """Do the same on an event loop."""

    async def ask() -> None:
        async with AsyncResNetClient(url, model="clf", hooks=[tracing(provider)]) as client:
            await client.predict_many(IMAGES, batch_size=4, in_flight=3)

    asyncio.run(ask())


@pytest.mark.parametrize("ask", [ask_in_threads, ask_in_tasks])
def test_every_request_belongs_to_the_caller_s_trace(ask: Callable[[str, TracerProvider], None]) -> None:
    """Each batch has a span of its own below the caller's, and each of its requests names it."""
    provider = TracerProvider()
    with serve(FakeTriton()) as served:
        with provider.get_tracer("service").start_as_current_span("job") as job:
            ask(served.url, provider)
        parents = traceparents(served)
    trace = f"00-{job.get_span_context().trace_id:032x}-"
    assert len(parents) >= 4
    assert all(parent.startswith(trace) for parent in parents)
    assert len(set(parents)) == 3


def traceparents(served: Served) -> list[str]:
    """Return the context that came with each request."""
    return [sent["traceparent"] for sent in served.metadata]
