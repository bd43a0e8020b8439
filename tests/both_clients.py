"""One face for both clients, so that a test's body serves them both."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from triton_sdk import AsyncResNetClient, ResNetClient

Predict: TypeAlias = Callable[..., Any]

KINDS = ("sync", "async")


@contextmanager
def predicting(kind: str, url: str, *, model: str) -> Iterator[Predict]:
    """Give `predict` of a client of *kind*; that of the async one runs in an event loop of another thread."""
    if kind == "sync":
        with ResNetClient(url, model=model) as client:
            yield client.predict
        return
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        awaited = AsyncResNetClient(url, model=model)

        def predict(*args: Any, **settings: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(awaited.predict(*args, **settings), loop).result(60)

        try:
            yield predict
        finally:
            asyncio.run_coroutine_threadsafe(awaited.close(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
