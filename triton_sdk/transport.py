"""The way to a server: what to implement for another one than gRPC.

A transport gets a `Send` and gives its outcome: the server's message, or a `Failure` where there is none. It neither
retries nor keeps time beyond the request's own; that is decided by who sends.
"""

from collections.abc import Awaitable
from typing import Protocol

from triton_sdk._flow.failures import Failure
from triton_sdk._flow.steps import Joinable, Reply, Send

__all__ = ["AsyncTransport", "Failure", "Joinable", "Reply", "Send", "Transport"]


class Transport(Protocol):
    """The way to a server: one verb, safe to use from many threads."""

    def send(self, request: Send) -> Reply:
        """Return the reply, or why there is none, within the request's timeout."""

    def close(self) -> None:
        """End what is under way and free the connection; a second time does nothing."""


class AsyncTransport(Protocol):
    """The way to a server for one event loop; what need not wait may be a plain `Transport`."""

    def send(self, request: Send) -> Reply | Awaitable[Reply]:
        """Return the reply, or why there is none, within the request's timeout."""

    def close(self) -> object:
        """End what is under way and free the connection; a second time does nothing."""
