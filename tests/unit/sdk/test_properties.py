"""What holds for any server, any latencies and any policy. On a clock that stands still."""

import asyncio
import heapq
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import count, groupby
from typing import Any, Final, TypeAlias

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.doubles.fake_triton import batch, image
from tests.doubles.scripted import Clock, ScriptedTransport, drive, session
from triton_sdk import DeadlineExceededError, Fallback, RetryPolicy, Split, TritonError
from triton_sdk._flow import operations, routing
from triton_sdk._flow.failures import Failure
from triton_sdk._flow.session import Budget, Session
from triton_sdk._flow.steps import Flow, Send, Sleep, Work
from triton_sdk._wire.drive import arun, run

Turn: TypeAlias = tuple[float, Failure | None]
Operation: TypeAlias = Callable[[Session, float], Flow[Any]]

# Every status of gRPC but OK, and one that there is not.
CODES: Final = [
    *("ABORTED", "ALREADY_EXISTS", "CANCELLED", "DATA_LOSS", "DEADLINE_EXCEEDED", "FAILED_PRECONDITION", "INTERNAL"),
    *("INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED"),
    *("UNAVAILABLE", "UNIMPLEMENTED", "UNKNOWN", "NEWS"),
]
WORDS: Final = (
    "",
    "Socket closed",
    "Exceeds maximum queue size",
    "Request timeout expired",
    "has no available versions",
)
OPERATIONS: Final[dict[str, Operation]] = {
    "infer": lambda shared, deadline: operations.infer(shared, batch(1), version=None, deadline=deadline),
    "infer in parts": lambda shared, deadline: operations.infer(
        shared, batch(*range(9)), version=None, deadline=deadline
    ),
    "predict": lambda shared, deadline: routing.predict(
        shared, [image(1), image(2)], version=None, key=None, top=2, deadline=deadline
    ),
    "predict a version": lambda shared, deadline: routing.predict(
        shared, [image(1)], version=1, key=None, top=2, deadline=deadline, first=0
    ),
    "predict by a share": lambda shared, deadline: routing.predict(
        shared, [image(1)], version=Split({1: 90, 2: 10}), key="someone", top=2, deadline=deadline
    ),
    "predict by one of two": lambda shared, deadline: routing.predict(
        shared, [image(1)], version=Fallback(2, 1), key=None, top=2, deadline=deadline
    ),
    "contract": lambda shared, deadline: operations.contract(shared, deadline=deadline),
    "versions": lambda shared, deadline: operations.versions(shared, deadline=deadline),
    "ready": lambda shared, deadline: operations.ready(shared, version=None, deadline=deadline),
    "wait_ready": lambda shared, deadline: operations.wait_ready(shared, version=9, deadline=deadline, timeout=1),
}
# Half of them such that another attempt is made.
failures = st.just(Failure("UNAVAILABLE", "Socket closed")) | st.builds(
    Failure, st.sampled_from(CODES), st.sampled_from(WORDS) | st.text(max_size=30)
)
turns: st.SearchStrategy[Turn] = st.tuples(st.floats(0, 3), st.none() | failures)
scripts = st.lists(turns, max_size=15)
policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 6),
    base=st.floats(0, 1),
    cap=st.floats(0, 2),
    budget=st.floats(0, 1),
    burst=st.integers(0, 20),
)
draws = st.floats(0, 1, exclude_max=True)
timeouts = st.floats(0.001, 5)
called = st.sampled_from(list(OPERATIONS.values()))


def outcome(call: Callable[[], object]) -> object:
    """Return what *call* returns, in words, or the error's kind, words and notes; only our own errors may come."""
    try:
        return repr(call())
    except TritonError as error:
        return type(error), str(error), getattr(error, "__notes__", [])


def attempts(transport: ScriptedTransport) -> Counter[int]:
    """Return how often each request was sent."""
    return Counter(id(request.message) for request in transport.sent)


@given(called, scripts, policies, timeouts, draws)
def test_no_call_overruns_its_deadline_or_its_attempts(
    operation: Operation, script: list[Turn], policy: RetryPolicy, timeout: float, draw: float
) -> None:
    """Whatever a server does: an answer or an error of ours by the deadline, and no request is made too often."""
    transport = ScriptedTransport(script=list(script))
    shared = session(transport, retry=policy, uniform=lambda: draw)
    begin = transport.clock.now
    outcome(lambda: drive(operation(shared, begin + timeout), transport))
    assert transport.clock.now <= begin + timeout + 1e-9
    assert all(0 < request.timeout <= timeout + 1e-9 for request in transport.sent)
    assert max(attempts(transport).values(), default=0) <= policy.max_attempts


@given(st.lists(failures, max_size=8), policies, draws)
def test_a_wait_is_within_its_bound(script: list[Failure], policy: RetryPolicy, draw: float) -> None:
    """Before retry n of a request a call waits for a share of min(cap, base * 2**(n - 1)), nowhere else."""
    transport = ScriptedTransport()
    shared = session(transport, retry=policy, uniform=lambda: draw)
    drive(operations.contract(shared, deadline=shared.clock() + 30), transport)
    sent = len(transport.sent)
    transport.fail(*script)
    outcome(lambda: drive(OPERATIONS["infer"](shared, shared.clock() + 1e6), transport))
    # A refused request may be followed by the question for the contract, which is a request of its own.
    tries = [len(list(same)) for _, same in groupby(transport.sent[sent:], key=lambda request: id(request.message))]
    waits = [draw * min(policy.cap, policy.base * 2**retry) for times in tries for retry in range(times - 1)]
    assert transport.clock.sleeps == waits


@given(called, scripts, policies, timeouts, draws)
def test_both_drivers_do_the_same(
    operation: Operation, script: list[Turn], policy: RetryPolicy, timeout: float, draw: float
) -> None:
    """For threads and for coroutines one script gives one outcome, by the same requests after the same waits."""

    def adrive(flow: Flow[Any], transport: ScriptedTransport) -> object:
        send, sleep, work = awaited(transport.send), awaited(transport.clock.sleep), awaited(call)
        return asyncio.run(arun(flow, send, sleep=sleep, work=work))

    seen = []
    for driver in (drive, adrive):
        transport = ScriptedTransport(script=list(script))
        shared = session(transport, retry=policy, uniform=lambda: draw)
        # Twice, for the second call finds what the first one has left: contract, labels, budget.
        found = [
            outcome(lambda: driver(operation(shared, shared.clock() + timeout), transport))  # noqa: B023 - at once
            for _ in range(2)
        ]
        requests = [(request.method, str(request.message), request.timeout) for request in transport.sent]
        seen.append((found, requests, transport.clock.sleeps, transport.clock.now))
    assert seen[0] == seen[1]


def call(job: Callable[[], Any]) -> Any:
    """Do the *job*."""
    return job()


def awaited(function: Callable[[Any], Any]) -> Callable[[Any], Awaitable[Any]]:
    """Return *function* as one to wait for."""

    async def wait(argument: Any) -> Any:
        await asyncio.sleep(0)
        return function(argument)

    return wait


class CountedBudget(Budget):
    """A store of retries that knows how many requests were meant to be."""

    asked = 0

    def earn(self) -> None:
        """Count a call."""
        self.asked += 1
        super().earn()


@attrs.define
class Crowd:
    """Callers at the same time on one clock: the next one to go on is always the one whose wait is over first.

    Attributes:
        transport: Whose server, script and clock hold for all.
        ends: When each call was over.
    """

    transport: ScriptedTransport
    ends: list[float] = attrs.field(factory=list)

    def run(self, flows: Sequence[tuple[float, Callable[[], Flow[Any]]]]) -> None:
        """Begin each of *flows* at its time, and see all to their ends."""
        ties = count()
        waiting: list[tuple[float, int, int, Any]] = [(at, next(ties), n, None) for n, (at, _) in enumerate(flows)]
        heapq.heapify(waiting)
        begun: dict[int, Flow[Any]] = {}
        self.ends = [0.0] * len(flows)
        clock = self.transport.clock
        while waiting:
            now, _, number, value = heapq.heappop(waiting)
            clock.now = now
            flow = begun.get(number) or begun.setdefault(number, flows[number][1]())
            try:
                step = flow.send(value)
            except (StopIteration, TritonError):
                self.ends[number] = now
                continue
            if isinstance(step, Send):
                # It moves the clock to when the answer comes; for the others it is not yet that late.
                value = self.transport.send(step)
            elif isinstance(step, Sleep):
                clock.sleep(step.seconds)
                value = None
            else:
                assert isinstance(step, Work)
                value = step.job()
            heapq.heappush(waiting, (clock.now, next(ties), number, value))


@given(
    st.lists(st.tuples(st.floats(0, 5), timeouts), min_size=1, max_size=20),
    st.lists(turns, min_size=10, max_size=40),
    policies,
    draws,
)
def test_a_crowd_keeps_to_the_budget_and_each_caller_to_its_deadline(
    calls: list[tuple[float, float]], script: list[Turn], policy: RetryPolicy, draw: float
) -> None:
    """However calls overlap, a server sees no more than they, their share of retries and the burst."""
    script = [(seconds, failure) for seconds, failure in script if failure is None or failure.code != "NOT_FOUND"]
    transport = ScriptedTransport(script=script, clock=Clock(now=0.0))
    shared = session(transport, retry=policy, uniform=lambda: draw)
    shared.budget = budget = CountedBudget(policy)
    crowd = Crowd(transport)
    infer = OPERATIONS["infer"]
    crowd.run([(begin, lambda end=begin + timeout: infer(shared, end)) for begin, timeout in calls])  # type: ignore[misc]
    assert all(end <= begin + timeout + 1e-9 for end, (begin, timeout) in zip(crowd.ends, calls, strict=True))
    assert len(calls) <= budget.asked <= 2 * len(calls)
    assert len(transport.sent) <= budget.asked * (1 + policy.budget) + policy.burst
    assert max(attempts(transport).values(), default=0) <= policy.max_attempts


@pytest.mark.parametrize("failure", [Failure("UNAVAILABLE"), Failure("NOT_FOUND", "'clf' has no available versions")])
@given(policies, draws)
def test_a_sick_server_is_spared(failure: Failure, policy: RetryPolicy, draw: float) -> None:
    """Where nothing but failures comes, the requests of 50 calls are those, their share of retries and the burst."""
    transport = ScriptedTransport(script=[(0.0, failure)] * 1000)
    shared = session(transport, retry=policy, uniform=lambda: draw)
    for _ in range(50):
        outcome(lambda: drive(OPERATIONS["infer"](shared, shared.clock() + 30), transport))
    assert 50 <= len(transport.sent) <= 50 * (1 + policy.budget) + policy.burst


def test_a_call_may_be_made_very_often() -> None:
    """Two thousand attempts, twice as many as a number that doubles can count, are only limited by time."""
    transport = ScriptedTransport(script=[(0.0, Failure("UNAVAILABLE"))] * 1999)
    shared = session(transport, retry=RetryPolicy(max_attempts=2000, cap=0.01, burst=2000))
    drive(operations.contract(shared, deadline=shared.clock() + 30), transport)
    assert len(transport.sent) == 2000


def test_images_whose_turn_comes_too_late_are_not_prepared() -> None:
    """Where many wait for a processor, the work for a call whose time is up is not begun, and nothing is sent."""
    transport = ScriptedTransport()
    shared = session(transport)

    def late(job: Callable[[], Any]) -> Any:
        transport.clock.sleep(2)
        return job()

    flow = routing.predict(shared, ["no/such/file"], version=1, key=None, top=2, deadline=shared.clock() + 1)
    with pytest.raises(DeadlineExceededError, match="no time was left to prepare"):
        run(flow, transport, work=late)
    assert transport.methods == ["ModelConfig"]
