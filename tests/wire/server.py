"""A real gRPC server, in this process and on a free port, in front of a Triton in memory."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import attrs
import grpc
from tritonclient.grpc import service_pb2_grpc

from tests.doubles.fake_triton import FakeTriton, Refused


@attrs.define
class Served:
    """A server under way.

    Attributes:
        port: Where it listens on 127.0.0.1.
        triton: What answers.
        metadata: What came with each request.
        server: The gRPC server.
    """

    port: int
    triton: FakeTriton
    metadata: list[dict[str, str]]
    server: Any

    @property
    def url(self) -> str:
        """Its address."""
        return f"127.0.0.1:{self.port}"


class _Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # the stubs have no types
    def __init__(self, triton: FakeTriton, metadata: list[dict[str, str]]) -> None:
        self._triton, self._metadata = triton, metadata

    def ModelConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answer."""
        return self._answer("ModelConfig", request, context)

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answer."""
        return self._answer("ModelInfer", request, context)

    def ModelReady(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answer."""
        return self._answer("ModelReady", request, context)

    def RepositoryIndex(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Answer."""
        return self._answer("RepositoryIndex", request, context)

    def _answer(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        self._metadata.append({key: str(value) for key, value in context.invocation_metadata()})
        try:
            return self._triton.answer(method, request)
        except Refused as refusal:
            context.set_trailing_metadata((("x-told", "why"),))
            context.abort(grpc.StatusCode[refusal.code], refusal.details)


@contextmanager
def serve(
    triton: FakeTriton,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    credentials: grpc.ServerCredentials | None = None,
    age_ms: int | None = None,
) -> Iterator[Served]:
    """Serve *triton* until the context ends, or the server is stopped; *age_ms* is how long a connection lasts."""
    metadata: list[dict[str, str]] = []
    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    options += [("grpc.max_connection_age_ms", age_ms)] if age_ms else []
    server = grpc.server(ThreadPoolExecutor(20), options=options)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Servicer(triton, metadata), server)
    address = f"{host}:{port}"
    bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    try:
        yield Served(bound, triton, metadata, server)
    finally:
        server.stop(0).wait()
