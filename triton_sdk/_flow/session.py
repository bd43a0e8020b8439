"""What the calls of one client share."""

import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count

import attrs

from triton_sdk.config import ClientConfig, RetryPolicy
from triton_sdk.contract import ModelContract
from triton_sdk.telemetry import Hook


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
        missing: Versions that the server did not have ready, and until when they are passed over for others.
        candidate: The same of the candidate's model, which a `TrafficPlan` may ask; None: it never did.
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
    candidate: "Session | None" = None

    def of_candidate(self) -> "Session":
        """Return what the calls share of the candidate's model; the store of retries is one for both."""
        if self.candidate is None:
            self.candidate = Session(
                config=attrs.evolve(self.config, model=f"{self.config.model}.candidate"),
                given_labels=self.given_labels,
                clock=self.clock,
                uniform=self.uniform,
                budget=self.budget,
            )
        return self.candidate
