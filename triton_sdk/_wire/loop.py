"""Flows in the tasks of an event loop: some at once for a call over many images, and some in the background."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Final, TypeVar

from triton_sdk._flow.steps import Flow, Reply, Send
from triton_sdk._log import LOG
from triton_sdk._wire.drive import arun

_T = TypeVar("_T")
_BACKGROUND_THREADS: Final = 2
MOST_IN_BACKGROUND: Final = 32


async def batched(items: Iterable[_T] | AsyncIterable[_T], size: int) -> AsyncGenerator[list[_T], None]:
    """Yield the items in order, in lists of *size*; an iterator that may block is walked in a thread."""
    if isinstance(items, AsyncIterable):
        batch: list[_T] = []
        async for item in items:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch
        return
    iterator, blocks = iter(items), not isinstance(items, list | tuple)
    while True:
        taken = islice(iterator, size)
        batch = await asyncio.to_thread(list, taken) if blocks else list(taken)
        if not batch:
            return
        yield batch


async def gathered(
    batches: AsyncGenerator[list[_T], None],
    run: Callable[[int, list[_T]], Coroutine[Any, Any, Any]],
    *,
    in_flight: int,
) -> AsyncGenerator[tuple[int, Any], None]:
    """Yield the place of each batch's first item, and what *run* makes of the batch, as they end.

    The next batch is only taken when fewer than *in_flight* are under way. The first failure is raised and cancels the
    others; so does closing the generator, in whatever event loop that is done.
    """
    home = asyncio.get_running_loop()
    running: dict[asyncio.Task[Any], int] = {}
    pull: asyncio.Task[list[_T]] | None = None
    place, more = 0, True
    try:
        while True:
            if pull is None and more and len(running) < in_flight:
                pull = asyncio.ensure_future(_next(batches))
            if not running and pull is None:
                return
            done, _ = await asyncio.wait([*running, *([pull] if pull else [])], return_when=asyncio.FIRST_COMPLETED)
            if pull is not None and pull in done:
                batch, pull = pull.result(), None
                more = bool(batch)
                if batch:
                    running[asyncio.ensure_future(run(place, batch))] = place
                    place += len(batch)
            for task in [task for task in running if task in done]:
                yield running.pop(task), task.result()
    finally:
        await _ended(home, [*running, *([pull] if pull else [])], batches)


async def _ended(
    home: asyncio.AbstractEventLoop, tasks: Sequence[asyncio.Task[Any]], batches: AsyncGenerator[list[_T], None]
) -> None:
    """End *tasks* and *batches* in the loop *home* that they belong to; where it is over, no task of it goes on."""

    async def end() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await batches.aclose()

    if home is asyncio.get_running_loop():
        await end()
    elif home.is_running():
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(end(), home))
    elif all(task.done() for task in tasks):
        await batches.aclose()


class Background:
    """Runs flows that nobody waits for.

    Their work has two threads of its own, made when the first comes, so that the calls have theirs for themselves.
    """

    def __init__(self, send: Callable[[Send], Reply | Awaitable[Reply]]) -> None:
        self._send = send
        self._pool: ThreadPoolExecutor | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def spawn(self, flow: Flow[object]) -> bool:
        """Run *flow* in a task; False if there are too many, or the client is closed."""
        if self._closed or len(self._tasks) >= MOST_IN_BACKGROUND:
            return False
        task = asyncio.ensure_future(self._shielded(flow))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def close(self) -> None:
        """Cancel what is under way."""
        self._closed = True
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.abandon()

    def abandon(self) -> None:
        """Free the threads, and leave the tasks to their event loop."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def _shielded(self, flow: Flow[object]) -> None:
        try:
            await arun(flow, self._send, work=self._work, spawn=self.spawn)
        except Exception:
            LOG.debug("A flow in the background failed.", exc_info=True)

    async def _work(self, job: Callable[[], Any]) -> Any:
        self._pool = self._pool or ThreadPoolExecutor(_BACKGROUND_THREADS, thread_name_prefix="triton-sdk")
        return await asyncio.get_running_loop().run_in_executor(self._pool, job)


async def _next(batches: AsyncGenerator[list[_T], None]) -> list[_T]:
    """Return the next batch, an empty one at the end."""
    async for batch in batches:
        return batch
    return []
