"""A TCP proxy in a thread that breaks, holds and delays connections as it is told, and counts what passes."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import attrs

_T = TypeVar("_T")
_CHUNK = 1 << 16
# Pieces that one direction of a connection may hold back before it takes no more.
_UNDER_WAY = 64
# RFC 9113, sections 3.4, 4.1 and 6.2: what a client says first, the length of a frame's head, and a frame that opens
# a stream, which is to say a request.
_PREFACE = 24
_HEAD = 9
_HEADERS = 1


@attrs.define
class Requests:
    """Count the requests in what one HTTP/2 client sends.

    Attributes:
        count: Streams that were opened.
    """

    count: int = 0
    _skip: int = _PREFACE
    _head: bytes = b""

    def feed(self, data: bytes) -> None:
        """Read on in *data*, which may begin and end anywhere."""
        while data:
            if self._skip:
                skipped = min(self._skip, len(data))
                self._skip, data = self._skip - skipped, data[skipped:]
                continue
            missing = _HEAD - len(self._head)
            self._head, data = self._head + data[:missing], data[missing:]
            if len(self._head) == _HEAD:
                self.count += self._head[3] == _HEADERS
                self._skip, self._head = int.from_bytes(self._head[:3]), b""


class TcpProxy:
    """Forward a free port of this machine to *target*; a context manager.

    Args:
        target: ``HOST:PORT`` to connect to, anew for each connection.

    Attributes:
        delay: By how many seconds each piece of data arrives late; pieces do not wait for one another.
        connections: Connections that were accepted.
        requests: HTTP/2 requests that clients sent, whether or not anything answered.
        sent: Bytes that went to the target.
        received: Bytes that came back from it.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._loop = asyncio.new_event_loop()
        self._listener: asyncio.Server | None = None
        self._port = 0
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._steps: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)
        self.delay = 0.0
        self.connections = self.requests = self.sent = self.received = 0

    @property
    def url(self) -> str:
        """Where it listens: ``"127.0.0.1:50001"``."""
        return f"127.0.0.1:{self._port}"

    def reset(self) -> int:
        """Break all connections with a TCP reset on both sides, and return how many there were."""
        return self._call(self._reset)

    def hold(self) -> None:
        """Deliver nothing in either direction until `release`; connections are still accepted."""
        self._call(self._flowing.clear)

    def release(self) -> None:
        """Deliver what `hold` has kept back, and go on."""
        self._call(self._flowing.set)

    def refuse(self) -> None:
        """Reset all connections and refuse new ones, as a machine does whose program has died."""
        self._wait(self._unlisten())
        self.reset()

    def accept(self) -> None:
        """Listen again, on the same port."""
        self._wait(self._listen())

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self._wait(self._drain())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, function: Callable[[], _T]) -> _T:
        async def call() -> _T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def _wait(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=_CHUNK)
        self._port = self._listener.sockets[0].getsockname()[1]

    async def _unlisten(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    async def _drain(self) -> None:
        # Not the serving tasks themselves, whose cancellation asyncio's streams report as an error.
        for step in self._steps:
            step.cancel()
        await asyncio.gather(*self._serving)

    def _reset(self) -> int:
        for pair in self._pairs:
            for writer in pair:
                # A linger time of 0 makes the kernel send RST in the place of FIN.
                with suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                writer.transport.abort()
        return len(self._pairs)

    async def _serve(self, near: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        own = asyncio.current_task()
        assert own is not None
        self._serving.add(own)
        own.add_done_callback(self._serving.discard)
        self.connections += 1
        try:
            far, server = await asyncio.open_connection(*self._target, limit=_CHUNK)
        except OSError:
            client.transport.abort()
            return
        pair = (client, server)
        self._pairs.add(pair)
        counter = Requests()

        def count_up(data: bytes) -> None:
            before = counter.count
            counter.feed(data)
            self.requests += counter.count - before
            self.sent += len(data)

        def count_down(data: bytes) -> None:
            self.received += len(data)

        steps = {
            asyncio.create_task(step)
            for source, sink, count in ((near, server, count_up), (far, client, count_down))
            for step in self._forward(source, sink, count)
        }
        self._steps |= steps
        try:
            # Where one side ends, gRPC has no half-open connection to go on with.
            await asyncio.wait(steps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._pairs.discard(pair)
            for step in steps:
                step.cancel()
            await asyncio.gather(*steps, return_exceptions=True)
            self._steps -= steps
            for writer in pair:
                writer.transport.abort()

    def _forward(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, count: Callable[[bytes], None]
    ) -> tuple[Coroutine[Any, Any, None], Coroutine[Any, Any, None]]:
        """Return what takes from *source*, forever, and what gives to *sink*, until the source has ended."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_UNDER_WAY)

        async def take() -> None:
            data = b"first"
            while data:
                await self._flowing.wait()
                try:
                    data = await source.read(_CHUNK)
                except OSError:
                    data = b""
                count(data)
                await under_way.put((self._loop.time() + self.delay, data))
            await asyncio.Event().wait()

        async def give() -> None:
            with suppress(OSError):
                while True:
                    due, data = await under_way.get()
                    await asyncio.sleep(max(0.0, due - self._loop.time()))
                    await self._flowing.wait()
                    if not data:
                        return
                    sink.write(data)
                    await sink.drain()

        return take(), give()
