"""The way to the server by gRPC, for threads, and what the one for event loops shares with it."""

import os
from typing import Any, Final

import attrs
import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from triton_sdk._addresses import endpoints
from triton_sdk._bounds import REPLY_BYTES
from triton_sdk._flow.codec import serialise
from triton_sdk._flow.failures import Failure, about, judge
from triton_sdk._flow.steps import Reply, Send
from triton_sdk._wire import proxy
from triton_sdk._wire.pem import check_files, read
from triton_sdk._wire.rotation import Rotation
from triton_sdk.config import ClientConfig, Tls
from triton_sdk.errors import ClientClosedError, ServerUnavailableError, TransportError

# The stub's own method takes messages only; this one's request is serialised already.
_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
CLOSED_BEFORE: Final = "The client was closed before the call."
CLOSED_DURING: Final = "The client was closed during the call."
OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    # gRPC's own retries buffer 256 KiB, less than two images, and would multiply with ours.
    ("grpc.enable_retries", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", REPLY_BYTES),
    # A frozen server is only seen with all three: keepalive alone waited 16 s where 2 s were asked for. Servers refuse
    # pings more frequent than they allow, hence no ping without a call.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    # A server that is back is found again soon, however long it was away: the defaults are 1 s, growing to 120 s; gRPC
    # adds up to a fifth, which keeps 400 ms below half a second (with 1 s it took 0.7 s in the median). The minimum
    # must not follow: it bounds how long making one connection may take, which is a slow link's end.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 400),
    # A name is looked up again when a server ends a connection, as one does that is about to go or has a new neighbour;
    # by default not within 30 s, in which all servers of a small deployment may have been replaced.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
)


class GrpcTransport:
    """A gRPC channel to each address, which take turns; made anew in a forked child."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._closed = False
        self._rotation = Rotation(len(endpoints(config.url)))
        self._connect()

    def send(self, request: Send) -> Reply:
        """Return the reply, or why there is none, within the request's timeout.

        Raises:
            ClientClosedError: If the transport was closed, be it during the call.
        """
        if self._pid != os.getpid():
            self._connect()
        place = self._rotation.next()
        try:
            reply: Reply = getattr(self._stubs[place], request.method)(
                request.message, timeout=request.timeout, metadata=(*self._config.metadata, *request.metadata)
            )
        except grpc.RpcError as error:
            if self._closed:
                raise about(ClientClosedError(CLOSED_DURING), self._config) from error
            return failed(error, self._rotation, place, self._ways[place])
        except ValueError as error:
            # So does grpc say that the channel is closed.
            if self._closed:
                raise about(ClientClosedError(CLOSED_BEFORE), self._config) from error
            raise
        self._rotation.found(place)
        return reply

    def close(self) -> None:
        """End the calls under way and free the connections; a second time does nothing."""
        self._closed = True
        if self._pid == os.getpid():
            for channel in self._channels:
                channel.close()

    def _connect(self) -> None:
        self._channels = channels(grpc, self._config, credentials(self._config.tls))
        self._stubs = [stub(channel) for channel in self._channels]
        self._ways = [proxy.named(target) for target in endpoints(self._config.url)]
        self._pid = os.getpid()


def channels(kind: Any, config: ClientConfig, trusted: grpc.ChannelCredentials | None) -> list[Any]:
    """Make a channel to each address by *kind*, which is grpc or grpc.aio."""
    name = config.tls.server_name if config.tls else None
    options = [*OPTIONS, *([("grpc.ssl_target_name_override", name)] if name else [])]
    if config.url.startswith("dns:"):
        # All addresses of the name take turns; by default the first that answers gets everything.
        options.append(("grpc.lb_policy_name", "round_robin"))
    made = []
    for target in endpoints(config.url):
        own = [*options, *proxy.options(target)]
        made.append(
            kind.insecure_channel(target, options=own)
            if trusted is None
            else kind.secure_channel(target, trusted, options=own)
        )
    return made


def stub(channel: Any) -> Any:
    """Return the server's procedures over *channel*; ModelInfer takes bytes as well."""
    made: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    made.ModelInfer = channel.unary_unary(
        _INFER, request_serializer=serialise, response_deserializer=service_pb2.ModelInferResponse.FromString
    )
    return made


def failed(error: Any, rotation: Rotation, place: int, way: str) -> Failure:
    """Return what gRPC's *error* says, with the *way* where no answer came; tell *rotation* if there was no server."""
    failure = Failure(error.code().name, error.details() or "", error)
    verdict = judge(failure).error
    if verdict is ServerUnavailableError:
        rotation.lost(place)
    return attrs.evolve(failure, way=way) if way and issubclass(verdict, TransportError) else failure


def credentials(tls: Tls | None) -> grpc.ChannelCredentials | None:
    """Read the files of *tls*; None means plain text.

    Raises:
        ConfigurationError: If one cannot be read, or is not what it should be.
    """
    if tls is None:
        return None
    check_files(tls)
    return grpc.ssl_channel_credentials(
        root_certificates=read(tls.ca), private_key=read(tls.key), certificate_chain=read(tls.certificate)
    )
