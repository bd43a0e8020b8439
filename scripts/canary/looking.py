"""One look: every server is asked, the plan renewed, and what is new added up."""

from collections.abc import Callable, Mapping, Sequence

import attrs

from scripts.agent.plan import CANDIDATE
from scripts.canary.kept import Record
from scripts.canary.routes import Routes
from scripts.canary.servers import Server, each
from scripts.canary.watch import Counted, News, Watch
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.server.seen import State

# So long no agent may answer, and so long no server may have the candidate in its plan, in seconds.
_AWAY_S = 60.0


class UnservedError(Exception):
    """The candidate cannot be tried any more.

    Attributes:
        bad: Whether that is its own fault.
    """

    def __init__(self, why: str, *, bad: bool) -> None:
        super().__init__(why)
        self.bad = bad


@attrs.define(kw_only=True)
class Looker:
    """Looks at all servers.

    Attributes:
        servers: Gives those that are there now.
        routes: The traffic plan.
        watch: Adds up what is new.
        line: Takes a line where something is worth knowing.
        clock: Tells how long something has been away.
    """

    servers: Callable[[], Sequence[Server]]
    routes: Routes
    watch: Watch
    line: Callable[[str], None]
    clock: Clock
    _answered: float | None = None
    _planned: float | None = None

    def look(self, record: Record) -> News | None:
        """Return what is new; None where no server answers now.

        Raises:
            OvertakenError: If somebody else has changed the traffic plan.
            UnservedError: If the candidate is not served any more.
            TaskFailure: If no server has answered for long.
        """
        servers = self.servers()
        states, failures = each(servers, lambda server: server.state())
        now = self.clock.now()
        if not states:
            if self._answered is not None and now - self._answered >= _AWAY_S:
                raise next(iter(failures.values()), TaskFailure("No server is there any more."))
            self._answered = now if self._answered is None else self._answered
            return None
        self._answered = now
        if self.routes.is_set:
            self.routes.renew(states, record)
            self._check(states, now)
        path = f"/v2/models/{self.watch.model}{CANDIDATE}/stats"
        answers, _ = each([server for server in servers if server.name in states], lambda server: server.triton(path))
        counted = {name: Counted.of(answer.body, self.watch.candidate) for name, answer in answers.items()}
        news = self.watch.look(states, counted)
        for note in news.notes:
            self.line(note)
        return news

    def _check(self, states: Mapping[str, State], now: float) -> None:
        """Check that the candidate can still be asked, and is held against the same version as in the beginning.

        Raises:
            UnservedError: If not.
        """
        model, version, stable = self.watch.model, self.watch.candidate, self.watch.stable
        planned = False
        for name, state in states.items():
            part = state.plan.models.get(model)
            planned = planned or (part is not None and part.candidate == version)
            seen = state.models.get(model)
            if seen is None:
                continue
            if seen.candidate is not None and seen.candidate[0] == version and seen.candidate[1].phase == "failed":
                why = (seen.candidate[1].why or "it does not say why").rstrip(".")
                raise UnservedError(f"{name} cannot serve version {version} of {model} any more: {why}.", bad=True)
            if seen.stable is not None and seen.stable > stable:
                raise UnservedError(
                    f"Somebody has changed what is served: callers of {model} who name no version get {seen.stable} "
                    f"now, and {stable} when this began.",
                    bad=False,
                )
        if planned or self._planned is None:
            self._planned = now
        elif now - self._planned >= _AWAY_S:
            raise UnservedError(
                f"Somebody has changed what is served: version {version} of {model} is no candidate any more.",
                bad=False,
            )
