"""How one request is made: a generator that asks for one step at a time and decides between them what comes next.

It neither waits nor sends. A driver does that, so that the same decisions serve threads and coroutines, and tests
without sockets or clocks.
"""

import random
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import count
from typing import Any, TypeAlias, TypeVar

import attrs
from google.protobuf.message import Message
from numpy.typing import NDArray

from triton_sdk._flow import codec
from triton_sdk._flow.codec import IndexRow
from triton_sdk._flow.failures import Failure, judge, to_error
from triton_sdk._log import LOG
from triton_sdk.config import ClientConfig, RetryPolicy
from triton_sdk.contract import ModelContract
from triton_sdk.errors import ModelNotFoundError
from triton_sdk.telemetry import Hook

_T = TypeVar("_T")


@attrs.frozen(eq=False)
class Joinable:
    """What is in an inference request that may be joined with others of its kind.

    Attributes:
        batch: The tensor, ``(n, *input.shape)``.
        contract: By which it is sent.
        version: The version that is asked for.
    """

    batch: NDArray[Any]
    contract: ModelContract
    version: int | None


@attrs.frozen
class Send:
    """Send a request; the outcome is the reply or a Failure.

    Attributes:
        method: Name of the remote procedure.
        message: What to send; bytes are a message that is serialised already.
        timeout: Longest time to wait for the reply, in seconds.
        metadata: Keys and values to send with it, beside the client's own.
        joinable: What is in it, where it may travel with others in one request.
    """

    method: str
    message: Message | bytes
    timeout: float
    metadata: tuple[tuple[str, str], ...] = ()
    joinable: Joinable | None = None


@attrs.frozen
class Sleep:
    """Wait for some seconds."""

    seconds: float


@attrs.frozen
class Work:
    """Call a function that keeps a processor busy; the outcome is what it returns."""

    job: Callable[[], Any]


@attrs.frozen
class Spawn:
    """Run another flow in the background; the outcome is whether it was begun, and not dropped because too many are.

    What becomes of it nobody waits for; an error of it is logged.
    """

    flow: "Flow[object]"


Reply: TypeAlias = Message | Failure
Flow: TypeAlias = Generator[Send | Sleep | Work | Spawn, Any, _T]


class Budget:
    """The store of retries that a client's calls share; no lock, for each act is one atomic step of CPython."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._ratio = policy.budget
        self._calls = count(1)
        self._retries = deque(range(policy.burst), maxlen=policy.burst)

    def earn(self) -> None:
        """Count a call: every few of them add a retry to the store, unless it is full."""
        calls = next(self._calls)
        if int(calls * self._ratio) > int((calls - 1) * self._ratio):
            self._retries.append(0)

    def spend(self) -> bool:
        """Take a retry out of the store, if there is one."""
        try:
            self._retries.pop()
        except IndexError:
            return False
        return True


@attrs.define(kw_only=True)
class Session:
    """What the calls of one client share. Threads replace its attributes whole, and never change them in place.

    Attributes:
        config: Where the server is.
        given_labels: The user's names of the classes.
        hooks: Who is told of each call.
        clock: Seconds that only grow.
        uniform: Draws from [0, 1).
        budget: The store of retries.
        contract: What the model takes, once it was asked.
        labels: The server's names of the classes, once it was asked.
        versions: The versions that *contract* is known to speak for.
        latest: The version that answered the last call that named none.
        missing: Versions that the server did not have ready, and until when a Fallback passes them over.
    """

    config: ClientConfig
    given_labels: Sequence[str] | None = None
    hooks: Sequence[Hook] = ()
    clock: Callable[[], float] = time.monotonic
    uniform: Callable[[], float] = random.random
    budget: Budget = attrs.field(default=attrs.Factory(lambda self: Budget(self.config.retry), takes_self=True))
    contract: ModelContract | None = None
    labels: Sequence[str] | None = None
    versions: frozenset[int] = frozenset()
    latest: int | None = None
    missing: Mapping[int | None, float] = attrs.field(factory=dict)


def ask(
    session: Session,
    method: str,
    message: Message | bytes,
    *,
    task: str,
    version: int | None,
    deadline: float,
    joinable: Joinable | None = None,
) -> Flow[Any]:
    """Send a request, again where that may help, and return the reply.

    Args:
        session: Whose policy and budget hold.
        method: Name of the remote procedure.
        message: What to send.
        task: What it is for, with the server's address: ``"infer with model 'resnet50' at localhost:8001"``.
        version: The version that is asked for.
        deadline: When the clock reads this, the call is over.
        joinable: What is in it, where it may travel with others in one request.

    Raises:
        TransportError: If no answer came.
        ServerError: If the server refused.
    """
    policy, begin = session.config.retry, session.clock()
    session.budget.earn()
    failures: list[Failure] = []
    while True:
        left = deadline - session.clock()
        if left <= 0:
            failures.append(Failure("DEADLINE_EXCEEDED", "no time was left to send the request"))
            break
        outcome = yield Send(method, message, left, joinable=joinable)
        if not isinstance(outcome, Failure):
            return outcome
        failures.append(outcome)
        if not judge(outcome).retry or len(failures) >= policy.max_attempts:
            break
        # Beyond 2**60 no cap is left to reach, and beyond 2**1023 no float.
        wait = session.uniform() * min(policy.cap, policy.base * 2 ** min(len(failures) - 1, 60))
        if session.clock() + wait >= deadline or not session.budget.spend():
            break
        LOG.info("Cannot %s: %s. Trying again in %.0f ms.", task, outcome.code, wait * 1000)
        yield Sleep(wait)
    if failures[-1].code == "NOT_FOUND" and (not judge(failures[-1]).retry or session.budget.spend()):
        # Triton says only that it is unknown; its index says what is known.
        listed = yield from index(session, deadline=deadline)
        reason = "" if isinstance(listed, Failure) else not_ready_reason(listed, session.config.model, version)
        if reason:
            raise ModelNotFoundError(f"Cannot {task}: {reason}.") from failures[-1].cause
    raise to_error(failures, task=task, seconds=session.clock() - begin)


def index(session: Session, *, deadline: float) -> Flow[tuple[IndexRow, ...] | Failure]:
    """Return what the server has, or why it does not say; one attempt."""
    left = deadline - session.clock()
    if left <= 0:
        return Failure("DEADLINE_EXCEEDED", "no time was left to ask what the server has")
    outcome = yield Send("RepositoryIndex", codec.index_request(), left)
    return outcome if isinstance(outcome, Failure) else codec.index(outcome)


def ready_versions(rows: Sequence[IndexRow], model: str) -> tuple[int, ...]:
    """Return the versions of *model* that are ready, in order."""
    return tuple(sorted(row.version for row in rows if row.model == model and row.ready and row.version is not None))


def not_ready_reason(rows: Sequence[IndexRow], model: str, version: int | None) -> str:
    """Return why *model*, or one version of it, is not ready, in the server's words if it has any; empty if it is."""
    known = [row for row in rows if row.model == model]
    if not known:
        others = ", ".join(sorted({repr(row.model) for row in rows if row.ready})) or "none"
        return f"the server does not have it; ready there: {others}"
    ready = ready_versions(rows, model)
    if version in (None, *ready) and ready:
        return ""
    if ready:
        return f"the server does not have this version ready; ready there: {', '.join(map(str, ready))}"
    wanted = (row for row in known if not row.ready and row.version is not None and version in (None, row.version))
    reasons = (f"version {row.version} is not ready{': ' + row.reason if row.reason else ''}" for row in wanted)
    return "; ".join(reasons) or "no version of it is loaded"
