"""The async client behind the calls of the other one, so that one test serves both."""

import asyncio
from collections.abc import AsyncIterator
from inspect import isasyncgen, iscoroutine
from typing import Any, Self

from triton_sdk import AsyncResNetClient


class Blocking:
    """Runs an event loop of its own for the time of each call; streams are walked to their end at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncResNetClient(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return self._waiting(found) if callable(found) else found

    def _waiting(self, method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            outcome: Any = method(*args, **kwargs)
            if isasyncgen(outcome):
                outcome = listed(outcome)
            return self._runner.run(outcome) if iscoroutine(outcome) else outcome

        return call

    def close(self) -> None:
        """Close the client."""
        self._runner.run(self._client.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
        self._runner.close()

    def __repr__(self) -> str:
        return repr(self._client)


async def listed(source: AsyncIterator[Any]) -> list[Any]:
    """Return all that *source* yields."""
    return [item async for item in source]
