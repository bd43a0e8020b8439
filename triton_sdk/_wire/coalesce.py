"""Put the images of many calls into common requests; each keeps its own answer, error, deadline and cancellation.

It stands between the calls and the transport: a call sees nothing but a request of its own, and what it decides about
retries and deadlines stays its own.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeAlias

import attrs
import numpy as np

from triton_sdk._flow import codec
from triton_sdk._flow.failures import Failure, for_each, judge
from triton_sdk._flow.session import Budget
from triton_sdk._flow.steps import Joinable, Reply, Send
from triton_sdk._flow.tensors import most_at_once
from triton_sdk.config import Coalesce
from triton_sdk.errors import InferenceFailedError, InvalidRequestError, TritonError

# One image of several may have brought these about: each is then sent alone, so that it hurts no other.
_PERHAPS_ONE: Final = (InferenceFailedError, InvalidRequestError)


# Says of which trace a request is, and nothing that its answer depends on: the first call's may stand for all.
_TRACE: Final = re.compile(
    r"traceparent|tracestate|b3|x-b3-\w+|uber-trace-id|x-cloud-trace-context|x-amzn-trace-id|x-datadog-[\w-]+|"
    r"sentry-trace|elastic-apm-traceparent"
)
_Key: TypeAlias = tuple[int, int | None, tuple[tuple[str, str], ...]]


@attrs.define(eq=False)
class _Member:
    """One call in a group."""

    request: Send
    joinable: Joinable
    deadline: float
    reply: asyncio.Future[Reply]

    @property
    def images(self) -> int:
        return len(self.joinable.batch)


@attrs.define(eq=False)
class _Group:
    """Calls whose images will go, or are on their way, in one request."""

    members: list[_Member] = attrs.field(factory=list)
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[None] | None = None

    @property
    def images(self) -> int:
        return sum(member.images for member in self.members)


class Coalescing:
    """Joins requests that come at nearly the same time.

    Args:
        send: Sends one request.
        rule: How many to join, and how long to wait.
        budget: The client's store of retries: sending a refused group one by one takes one out of it.
    """

    def __init__(self, send: Callable[[Send], Coroutine[Any, Any, Reply]], rule: Coalesce, budget: Budget) -> None:
        self._send, self._rule, self._budget = send, rule, budget
        # A contract that was read anew is another object, and its requests do not mix with those of the old one.
        self._open: dict[_Key, _Group] = {}

    async def send(self, request: Send) -> Reply:
        """Return the reply to *request*, which may travel with others."""
        joinable = request.joinable
        if joinable is None:
            return await self._send(request)
        most = min(self._rule.max_batch, most_at_once(joinable.contract))
        if 2 * len(joinable.batch) > most:
            # No other of its size would fit beside it.
            return await self._send(request)
        loop = asyncio.get_running_loop()
        member = _Member(request, joinable, loop.time() + request.timeout, loop.create_future())
        group = self._join(member, most)
        try:
            async with asyncio.timeout(request.timeout):
                return await member.reply
        except TimeoutError:
            return Failure("DEADLINE_EXCEEDED", "Deadline Exceeded")
        finally:
            self._leave(member, group)

    def _join(self, member: _Member, most: int) -> _Group:
        # Who may ask, and for whom, stands in the metadata: what differs there does not mix.
        metadata = tuple(pair for pair in member.request.metadata if not _TRACE.fullmatch(pair[0]))
        key = (id(member.joinable.contract), member.joinable.version, metadata)
        group = self._open.get(key)
        if group is not None and group.images + member.images > most:
            self._depart(key)
            group = None
        if group is None:
            group = self._open[key] = _Group()
            # Who has little time waits for less.
            wait = min(self._rule.max_wait_s, member.request.timeout / 2)
            group.timer = asyncio.get_running_loop().call_later(wait, self._depart, key)
        group.members.append(member)
        if group.images == most:
            self._depart(key)
        return group

    def _depart(self, key: _Key) -> None:
        group = self._open.pop(key)
        if group.timer is not None:
            group.timer.cancel()
        group.task = asyncio.ensure_future(self._ask(tuple(group.members)))

    def _leave(self, member: _Member, group: _Group) -> None:
        group.members.remove(member)
        if group.members:
            return
        if group.task is not None:
            # Nobody waits for it any more.
            group.task.cancel()
            return
        for key in [key for key, opened in self._open.items() if opened is group]:
            if group.timer is not None:
                group.timer.cancel()
            del self._open[key]

    async def _ask(self, members: Sequence[_Member]) -> None:
        try:
            replies = await self._replies(members)
        except Exception as error:
            own = for_each(error, len(members)) if isinstance(error, TritonError) else [error] * len(members)
            for member, theirs in zip(members, own, strict=True):
                if not member.reply.done():
                    member.reply.set_exception(theirs)
            return
        except asyncio.CancelledError:
            # By us, for nobody is left, or with the client.
            for member in members:
                member.reply.cancel()
            raise
        for member, reply in zip(members, replies, strict=True):
            if not member.reply.done():
                member.reply.set_result(reply)

    async def _replies(self, members: Sequence[_Member]) -> Sequence[Reply]:
        if len(members) == 1:
            return [await self._alone(members[0])]
        first = members[0].joinable
        tensor = np.concatenate([member.joinable.batch for member in members])
        message = codec.infer_request(tensor, contract=first.contract, version=first.version)
        timeout = max(member.deadline for member in members) - asyncio.get_running_loop().time()
        reply = await self._send(Send("ModelInfer", message, timeout, metadata=members[0].request.metadata))
        if not isinstance(reply, Failure):
            return codec.parted(reply, [member.images for member in members])
        if issubclass(judge(reply).error, _PERHAPS_ONE) and self._budget.spend():
            return await asyncio.gather(*(self._alone(member) for member in members))
        return [reply] * len(members)

    async def _alone(self, member: _Member) -> Reply:
        left = member.deadline - asyncio.get_running_loop().time()
        if left <= 0 or member.reply.done():
            return Failure("DEADLINE_EXCEEDED", "Deadline Exceeded")
        return await self._send(attrs.evolve(member.request, timeout=left, joinable=None))
