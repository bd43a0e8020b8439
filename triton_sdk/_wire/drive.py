"""The drivers: they wait for what a flow asks for, and decide nothing."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from typing import Any, TypeVar

from triton_sdk._flow.steps import Flow, Reply, Send, Sleep, Work
from triton_sdk.transport import Transport

_T = TypeVar("_T")


def run(
    flow: Flow[_T],
    transport: Transport,
    *,
    sleep: Callable[[float], None] = time.sleep,
    work: Callable[[Callable[[], Any]], Any] = lambda job: job(),
    spawn: Callable[[Flow[object]], bool] = lambda _flow: False,
) -> _T:
    """Run *flow* to its end and return its result; what a step raises, the flow may handle."""
    advance: Callable[[], Any] = partial(flow.send, None)
    try:
        while True:
            try:
                step = advance()
            except StopIteration as end:
                result: _T = end.value
                return result
            try:
                if isinstance(step, Send):
                    outcome: Any = transport.send(step)
                elif isinstance(step, Sleep):
                    outcome = None
                    sleep(step.seconds)
                elif isinstance(step, Work):
                    outcome = work(step.job)
                else:
                    outcome = spawn(step.flow)
            except BaseException as error:
                advance = partial(flow.throw, error)
            else:
                advance = partial(flow.send, outcome)
    finally:
        # An error that knows this frame, which knows the error, would keep the images until the next collection.
        del advance


async def arun(
    flow: Flow[_T],
    send: Callable[[Send], Reply | Awaitable[Reply]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    work: Callable[[Callable[[], Any]], Awaitable[Any]],
    spawn: Callable[[Flow[object]], bool] = lambda _flow: False,
) -> _T:
    """Run *flow* to its end and return its result; what a step raises, a cancellation too, the flow may handle."""
    advance: Callable[[], Any] = partial(flow.send, None)
    try:
        while True:
            try:
                step = advance()
            except StopIteration as end:
                result: _T = end.value
                return result
            try:
                if isinstance(step, Send):
                    outcome: Any = send(step)
                    if isawaitable(outcome):
                        outcome = await outcome
                elif isinstance(step, Sleep):
                    outcome = None
                    await sleep(step.seconds)
                elif isinstance(step, Work):
                    outcome = await work(step.job)
                else:
                    outcome = spawn(step.flow)
            except BaseException as error:
                advance = partial(flow.throw, error)
            else:
                advance = partial(flow.send, outcome)
    finally:
        del advance
