"""The driver: it waits for what a flow asks for, and decides nothing."""

import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from triton_sdk._flow import Flow, Reply, Send, Sleep

_T = TypeVar("_T")


class Transport(Protocol):
    """The way to a server: one verb, safe to use from many threads."""

    def send(self, request: Send) -> Reply:
        """Return the reply, or why there is none, within the request's timeout."""

    def close(self) -> None:
        """End what is under way and free the connection; a second time does nothing."""


def run(flow: Flow[_T], transport: Transport, *, sleep: Callable[[float], None] = time.sleep) -> _T:
    """Run *flow* to its end and return its result."""
    outcome: Any = None
    while True:
        try:
            step = flow.send(outcome)
        except StopIteration as end:
            result: _T = end.value
            return result
        if isinstance(step, Send):
            outcome = transport.send(step)
        elif isinstance(step, Sleep):
            outcome = None
            sleep(step.seconds)
        else:
            outcome = step.job()
