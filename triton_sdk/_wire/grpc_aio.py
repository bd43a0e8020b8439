"""The way to the server by gRPC, for an event loop."""

import asyncio
from typing import Any

import grpc
from grpc import aio

from triton_sdk._addresses import endpoints
from triton_sdk._flow.failures import about
from triton_sdk._flow.steps import Reply, Send
from triton_sdk._wire import proxy
from triton_sdk._wire.grpc_sync import CLOSED_BEFORE, CLOSED_DURING, channels, credentials, failed, stub
from triton_sdk._wire.rotation import Rotation
from triton_sdk.config import ClientConfig
from triton_sdk.errors import ClientClosedError


class AioTransport:
    """A gRPC channel to each address, which take turns; made in the event loop of the first call."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._trusted = credentials(config.tls)
        self._closed = False
        self._rotation = Rotation(len(endpoints(config.url)))
        self._channels: list[Any] = []
        self._stubs: list[Any] = []
        self._ways: list[str] = []

    async def send(self, request: Send) -> Reply:
        """Return the reply, or why there is none, within the request's timeout.

        Raises:
            ClientClosedError: If the transport was closed, be it during the call.
        """
        if self._closed:
            raise about(ClientClosedError(CLOSED_BEFORE), self._config)
        if not self._channels:
            self._channels = channels(aio, self._config, self._trusted)
            self._stubs = [stub(channel) for channel in self._channels]
            self._ways = [proxy.named(target) for target in endpoints(self._config.url)]
        place = self._rotation.next()
        try:
            reply: Reply = await getattr(self._stubs[place], request.method)(
                request.message, timeout=request.timeout, metadata=(*self._config.metadata, *request.metadata)
            )
        except grpc.RpcError as error:
            if self._closed:
                raise about(ClientClosedError(CLOSED_DURING), self._config) from error
            return failed(error, self._rotation, place, self._ways[place])
        except asyncio.CancelledError as error:
            # A call is cancelled by its own task, or by its channel when that is closed.
            task = asyncio.current_task()
            if self._is_closed() and not (task and task.cancelling()):
                raise about(ClientClosedError(CLOSED_DURING), self._config) from error
            raise
        self._rotation.found(place)
        return reply

    def _is_closed(self) -> bool:
        return self._closed

    async def close(self) -> None:
        """End the calls under way and free the connections; a second time does nothing."""
        self._closed = True
        for channel in self._channels:
            await channel.close()
