"""Flows in threads: some at once for a call over many images, and some in the background."""

import os
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from triton_sdk._flow.steps import Flow, Reply, Send
from triton_sdk._log import LOG
from triton_sdk._wire.cores import workers
from triton_sdk._wire.drive import run
from triton_sdk.transport import Transport

_T = TypeVar("_T")
_NAME: Final = "triton-sdk"
_BACKGROUND_THREADS: Final = 2
# Ctrl-C that comes just before the main thread begins to wait does not end that wait: Python sees it afterwards.
_LOOK_UP_S: Final = 0.5
# Flows in the background, those that wait for a thread included.
MOST_IN_BACKGROUND: Final = 32


class Stopped(Exception):  # noqa: N818 - nobody gets to see it
    """Nobody waits for this flow any more."""


class Lane:
    """A transport and a worker for flows that go together: when one fails, the others end at their next step."""

    def __init__(self, transport: Transport) -> None:
        self._transport, self._decoders = transport, threading.Semaphore(workers())
        self.stopped = threading.Event()

    def send(self, request: Send) -> Reply:
        """Return the reply."""
        self._go_on()
        return self._transport.send(request)

    def work(self, job: Callable[[], Any]) -> Any:
        """Call *job* as soon as fewer than `workers` jobs are being done."""
        with self._decoders:
            self._go_on()
            return job()

    def sleep(self, seconds: float) -> None:
        """Wait, unless all are stopped."""
        self.stopped.wait(seconds)
        self._go_on()

    def close(self) -> None:
        """Leave the transport as it is."""

    def _go_on(self) -> None:
        if self.stopped.is_set():
            raise Stopped


class _Source:
    """Takes items from an iterator in a thread of its own, so that one that pauses holds up nobody.

    The thread is no reason for a program not to end: nobody can interrupt a source that waits.
    """

    def __init__(self, items: Iterator[_T]) -> None:
        self._items = items
        self._orders: SimpleQueue[Future[Any] | None] = SimpleQueue()
        # In the caller's context, where its trace is.
        work = partial(copy_context().run, self._serve)
        threading.Thread(target=work, name=f"{_NAME}-source", daemon=True).start()

    def order(self) -> Future[Any]:
        """Return the next item to come; None at the end."""
        order: Future[Any] = Future()
        self._orders.put(order)
        return order

    def close(self) -> None:
        """Take nothing more."""
        self._orders.put(None)

    def _serve(self) -> None:
        while (order := self._orders.get()) is not None:
            try:
                order.set_result(next(self._items, None))
            except BaseException as error:
                order.set_exception(error)


def gathered(
    flows: Iterator[tuple[int, Flow[_T]]],
    lane: Lane,
    *,
    in_flight: int,
    spawn: Callable[[Flow[object]], bool],
    pausing: bool = False,
) -> Generator[tuple[int, _T], None, None]:
    """Yield the place and the result of each flow as they end.

    The next flow is only taken when fewer than *in_flight* are under way; where *flows* may be *pausing*, in another
    thread, while results are yielded. The first failure is raised and stops the others; so does closing the iterator.
    What is on its way to the server then comes back to nobody.
    """
    pool = ThreadPoolExecutor(in_flight, thread_name_prefix=_NAME)
    source = _Source(flows) if pausing else None
    running: dict[Future[_T], int] = {}
    order: Future[Any] | None = None
    more = True

    def begin(item: tuple[int, Flow[_T]] | None) -> bool:
        if item is None:
            return False
        place, flow = item
        driven = partial(run, flow, lane, sleep=lane.sleep, work=lane.work, spawn=spawn)
        # In the caller's context, where its trace is.
        running[pool.submit(copy_context().run, driven)] = place
        return True

    try:
        while True:
            while more and order is None and len(running) < in_flight and not any(one.done() for one in running):
                if source is None:
                    more = begin(next(flows, None))
                else:
                    order = source.order()
            if not running and order is None:
                return
            awaited: list[Future[Any]] = [*running, *([order] if order else [])]
            done = wait(awaited, timeout=_LOOK_UP_S, return_when=FIRST_COMPLETED).done
            if order is not None and order in done:
                item, order = order.result(), None
                more = begin(item)
            for future in [one for one in running if one in done]:
                yield running.pop(future), future.result()
    finally:
        lane.stopped.set()
        if source is not None:
            source.close()
        pool.shutdown(wait=not running, cancel_futures=True)


class Background:
    """Runs flows that nobody waits for, in two threads that are made when the first comes."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        # Entered again where a flow has ended before its end is asked for.
        self._lock = threading.RLock()
        self._pool: ThreadPoolExecutor | None = None
        self._pid, self._under_way, self._closed = os.getpid(), 0, False

    def spawn(self, flow: Flow[object]) -> bool:
        """Run *flow* soon; False if there are too many, or the client is closed."""
        with self._lock:
            if self._pid != os.getpid():
                # The threads stayed in the parent.
                self._pool, self._pid, self._under_way = None, os.getpid(), 0
            if self._closed or self._under_way >= MOST_IN_BACKGROUND:
                return False
            self._pool = self._pool or ThreadPoolExecutor(_BACKGROUND_THREADS, thread_name_prefix=_NAME)
            self._under_way += 1
            self._pool.submit(copy_context().run, self._run, flow).add_done_callback(self._ended)
        return True

    def close(self) -> None:
        """Drop what has not begun; what is under way ends with its transport."""
        with self._lock:
            self._closed, pool = True, self._pool
        if pool is not None and self._pid == os.getpid():
            pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, flow: Flow[object]) -> None:
        try:
            run(flow, self._transport, spawn=self.spawn)
        except Exception:
            LOG.debug("A flow in the background failed.", exc_info=True)

    def _ended(self, _done: Future[None]) -> None:
        with self._lock:
            self._under_way -= 1
