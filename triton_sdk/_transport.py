"""The way to the server by gRPC. The only module that touches grpc."""

import os
from pathlib import Path
from typing import Any, Final

import grpc
from tritonclient.grpc import service_pb2_grpc

from triton_sdk._failures import Failure
from triton_sdk._flow import Reply, Send
from triton_sdk.config import ClientConfig, Tls
from triton_sdk.errors import ClientClosedError, ConfigurationError

OPTIONS: Final = (
    # gRPC's own retries buffer 256 KiB, less than two images, and would multiply with ours.
    ("grpc.enable_retries", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A frozen server is only seen with all three: keepalive alone waited 16 s where 2 s were asked for. Servers refuse
    # pings more frequent than they allow, hence no ping without a call.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    # A server that is back is found again soon, however long it was away: the defaults are 1 s, growing to 120 s. The
    # minimum must not follow: it bounds how long making one connection may take, which is a slow link's end.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class GrpcTransport:
    """A gRPC channel to one address, made anew in a forked child."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._closed = False
        self._connect()

    def send(self, request: Send) -> Reply:
        """Return the reply, or why there is none, within the request's timeout.

        Raises:
            ClientClosedError: If the transport was closed, be it during the call.
        """
        if self._pid != os.getpid():
            self._connect()
        try:
            reply: Reply = getattr(self._stub, request.method)(
                request.message, timeout=request.timeout, metadata=self._config.metadata
            )
        except grpc.RpcError as error:
            if self._closed:
                raise ClientClosedError("The client was closed during the call.") from error
            return Failure(error.code().name, error.details() or "", error)
        except ValueError as error:
            # So does grpc say that the channel is closed.
            if self._closed:
                raise ClientClosedError("The client was closed before the call.") from error
            raise
        return reply

    def close(self) -> None:
        """End the calls under way and free the connection; a second time does nothing."""
        self._closed = True
        if self._pid == os.getpid():
            self._channel.close()

    def _connect(self) -> None:
        tls = self._config.tls
        if tls is None:
            channel = grpc.insecure_channel(self._config.url, OPTIONS)
        else:
            name = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
            channel = grpc.secure_channel(self._config.url, _credentials(tls), [*OPTIONS, *name])
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self._channel, self._pid = channel, os.getpid()


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=_read(tls.ca), private_key=_read(tls.key), certificate_chain=_read(tls.certificate)
    )


def _read(path: str | os.PathLike[str] | None) -> bytes | None:
    try:
        return None if path is None else Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"Cannot read the TLS file {os.fspath(path or '')!r}: {error.strerror}.") from error
