"""Ask an in-process server from an event loop, and make it hang."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from tests.wire.server import Served
from triton_sdk import (
    AsyncResNetClient,
)


def run(served: Served, body: Callable[[AsyncResNetClient], Coroutine[Any, Any, Any]], **settings: Any) -> Any:
    """Run *body* with a client of *served*, in a loop of its own."""

    async def main() -> Any:
        async with AsyncResNetClient(served.url, model="clf", **settings) as client:
            return await body(client)

    return asyncio.run(main())


class Hang:
    """A twist that makes inferences wait until they are let go."""

    def __init__(self, *, only: int | None = None) -> None:
        self.entered, self.release, self.over = threading.Event(), threading.Event(), threading.Event()
        self._only, self._seen = only, 0

    def __call__(self, method: str, _message: object) -> None:
        """Wait, if it is the one to wait."""
        if method == "ModelInfer":
            self._seen += 1
            if self._only in (None, self._seen):
                self.entered.set()
                self.release.wait(30)
                self.over.set()
