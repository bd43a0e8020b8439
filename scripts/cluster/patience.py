"""How long a call that only looks is repeated while the cluster's API is away for a moment."""

from collections.abc import Callable
from typing import Self

import attrs

from scripts.cluster.says import ClusterFailure, explain, gist
from scripts.host.clock import Clock
from scripts.host.settings import Settings
from scripts.host.shell import Completed

PATIENCE_S = 60.0
# Between two calls, in seconds: from the first to the last, which comes again and again.
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 5.0)


@attrs.define(kw_only=True)
class Patience:
    """Repeats what may be done twice, until the API answers or too much time has passed.

    An API that says itself that it is busy is asked again. One that cannot be reached is asked again only if it has
    answered this task before: else the address is wrong, or the cluster is down, and waiting would only hide that.

    Attributes:
        seconds: How long one call is repeated.
        tell: Takes a line when a call is repeated for the first time.
        clock: The time.
    """

    seconds: float = PATIENCE_S
    tell: Callable[[str], None] = lambda _: None
    clock: Clock = attrs.field(factory=Clock)
    _answered: bool = attrs.field(default=False, init=False)

    @classmethod
    def from_settings(cls, settings: Settings, *, tell: Callable[[str], None]) -> Self:
        """Return the patience that the settings ask for.

        Raises:
            TaskFailure: If the settings cannot be used.
        """
        return cls(seconds=float(settings.get("KUBE_PATIENCE") or PATIENCE_S), tell=tell)

    def ask(self, attempt: Callable[[], Completed]) -> Completed:
        """Run *attempt* until it has an answer that counts, and return that; after all the time, the last one.

        Raises:
            ClusterFailure: If the last attempt raised it.
        """
        start, pauses, told = self.clock.now(), iter(PAUSES_S), False
        while True:
            done, failure = _tried(attempt)
            cause = failure.cause if failure else ""
            if cause not in ("passing", "unreachable"):
                self._answered = self._answered or cause in ("", "not found", "forbidden", "busy")
                break
            late = self.clock.now() - start >= self.seconds
            if late or (cause == "unreachable" and not self._answered):
                break
            if not told:
                line = gist((done.errors or done.output) if done else str(failure)).splitlines()[0]
                self.tell(f"The cluster's API is away ({line}). It is asked again for up to {self.seconds:.0f} s")
                told = True
            self.clock.sleep(next(pauses, PAUSES_S[-1]))
        if done is None:
            assert failure is not None
            raise failure
        return done


def _tried(attempt: Callable[[], Completed]) -> tuple[Completed | None, ClusterFailure | None]:
    """Return what came of *attempt*: what it printed, and the failure that this is."""
    try:
        done = attempt()
    except ClusterFailure as error:
        return None, error
    return done, explain(done.errors or done.output, doing="ask the cluster") if done.status else None
