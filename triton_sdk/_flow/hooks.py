"""Tell a session's hooks what its calls do. Where there are none nothing is wrapped, so that it costs nothing."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import attrs

from triton_sdk._checks import metadata as sendable
from triton_sdk._flow.session import Session
from triton_sdk._flow.steps import Flow, Send
from triton_sdk._log import LOG
from triton_sdk.telemetry import Call, CallReport, Operation

_T = TypeVar("_T")


def observed(
    flow: Flow[_T],
    session: Session,
    *,
    operation: Operation,
    version: int | None,
    images: int,
    answered: Callable[[_T], int],
    then: Callable[[_T], Flow[_T]] | None = None,
) -> Flow[_T]:
    """Return *flow*, with the session's hooks told of its begin and end; *flow* itself where there are none.

    *answered* finds in the result which version answered. What *then* makes of the result belongs to the call, but its
    requests are not counted: they are for the client, not for this call.
    """
    if not session.hooks:
        return flow if then is None else _followed(flow, then)
    config = session.config
    call = Call(operation=operation, url=config.url, model=config.model, version=version, images=images)
    return _watched(flow, session, call, answered, then)


def _followed(flow: Flow[_T], then: Callable[[_T], Flow[_T]]) -> Flow[_T]:
    return (yield from then((yield from flow)))


def _watched(
    flow: Flow[_T],
    session: Session,
    call: Call,
    answered: Callable[[_T], int],
    then: Callable[[_T], Flow[_T]] | None,
) -> Flow[_T]:
    begin = session.clock()
    done = [finish for hook in session.hooks if (finish := _shielded(hook, call)) is not None]
    counts = _Counts()
    error: BaseException | None = None
    model_version: int | None = None
    try:
        metadata = sendable(call.metadata)
        result = yield from _counted(flow, counts, metadata)
        model_version = answered(result)
        return result if then is None else (yield from _counted(then(result), _Counts(), metadata))
    except BaseException as raised:
        error = raised
        raise
    finally:
        report = CallReport(
            call=call,
            model_version=model_version,
            latency_s=session.clock() - begin,
            requests=counts.requests,
            retries=counts.retries,
            error=error,
        )
        for finish in reversed(done):
            _shielded(finish, report)


@attrs.define
class _Counts:
    requests: int = 0
    retries: int = 0


def _counted(flow: Flow[_T], counts: _Counts, metadata: Sequence[tuple[str, str]]) -> Flow[_T]:
    """Run *flow*, counting what it sends and adding *metadata* to it."""
    last: object = None
    advance: Callable[[], Any] = partial(flow.send, None)
    try:
        while True:
            try:
                step = advance()
            except StopIteration as end:
                result: _T = end.value
                return result
            if isinstance(step, Send):
                counts.requests += 1
                # The same message a second time is a retry: a new request has a new message.
                counts.retries += step.message is last
                last = step.message
                step = attrs.evolve(step, metadata=(*step.metadata, *metadata))
            try:
                outcome = yield step
            except GeneratorExit:
                raise
            except BaseException as error:
                advance = partial(flow.throw, error)
            else:
                advance = partial(flow.send, outcome)
    finally:
        flow.close()
        # As in the drivers: an error that knows this frame must not be known by it.
        del advance


def _shielded(function: Callable[[Any], Any], argument: object) -> Any:
    """Call a user's function; what it raises is logged, for whoever watches a call must not break it."""
    try:
        return function(argument)
    except Exception:
        LOG.exception("A hook failed; the call goes on without it.")
        return None
