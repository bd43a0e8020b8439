"""How many images are decoded at once: as many as there are cores, less those that a server beside us is using.

With two cores and the server on the same ones, MobileNetV2 gave 152 images/s with two decoders and 179 with one: the
server's threads wait for each other. Where nothing is on its way, the server needs no core, and all may decode.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Final

from triton_sdk import _cores

_LOCAL: Final = ("localhost:", "127.", "[::1]:", "ipv4:127.", "dns:///localhost:", "unix:", "unix-abstract:")


def beside_us(url: str) -> bool:
    """Return whether the server at *url* runs on this machine."""
    return url.lower().startswith(_LOCAL)


class Room:
    """Counts who decodes and what is on its way.

    Args:
        shared: Whether the server uses the same cores.
        cores: How many there are; those that this process may use when None.
    """

    def __init__(self, *, shared: bool, cores: int | None = None) -> None:
        self._shared, self._cores = shared, _cores.workers() if cores is None else cores
        self.working = self.away = 0

    def left(self) -> bool:
        """Return whether one more may decode now; one always may."""
        return self.working < max(1, self._cores - (self.away if self._shared else 0))


class Gate:
    """Lets threads decode."""

    def __init__(self, room: Room) -> None:
        self._room, self._changed = room, threading.Condition()

    def work(self, job: Callable[[], Any]) -> Any:
        """Call *job* when there is room."""
        with self._changed:
            self._changed.wait_for(self._room.left)
            self._room.working += 1
        try:
            return job()
        finally:
            with self._changed:
                self._room.working -= 1
                self._changed.notify()

    def send(self, send: Callable[[Any], Any], request: Any) -> Any:
        """Call *send*, which keeps the server busy."""
        with self._changed:
            self._room.away += 1
        try:
            return send(request)
        finally:
            with self._changed:
                self._room.away -= 1
                self._changed.notify()


class AsyncGate:
    """Lets the tasks of one event loop decode, in the threads of *pool*, first come first served."""

    def __init__(self, room: Room, pool: Executor) -> None:
        self._room, self._pool = room, pool
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def work(self, job: Callable[[], Any]) -> Any:
        """Call *job* in a thread when there is room; once begun it goes on to its end, though the task be cancelled."""
        if self._waiting or not self._room.left():
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    # It was our turn, which another one may take.
                    self._left()
                else:
                    with suppress(ValueError):
                        self._waiting.remove(turn)
                raise
        else:
            self._room.working += 1
        try:
            future = self._pool.submit(job)
        except RuntimeError:
            # The client was closed.
            self._left()
            raise
        asyncio.wrap_future(future).add_done_callback(self._ended)
        return await asyncio.wrap_future(future)

    async def send(self, send: Callable[[Any], Any], request: Any) -> Any:
        """Call *send*, which keeps the server busy."""
        self._room.away += 1
        try:
            reply = send(request)
            return await reply if isinstance(reply, Awaitable) else reply
        finally:
            self._room.away -= 1
            self._admit()

    def _ended(self, done: "asyncio.Future[Any]") -> None:
        if not done.cancelled():
            # Whoever waits for it gets to see its error.
            done.exception()
        self._left()

    def _left(self) -> None:
        self._room.working -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._room.left():
            turn = self._waiting.popleft()
            if not turn.done():
                self._room.working += 1
                turn.set_result(None)
