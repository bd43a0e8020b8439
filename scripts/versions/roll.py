"""Change the plan of a target, wait until every server follows it, and put everything back if one cannot."""

from collections.abc import Callable, Collection, Mapping, Sequence

import attrs

from scripts.agent.plan import ModelPlan, Plan
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.server.seen import Model, State
from scripts.versions.change import put_back
from scripts.versions.target import OvertakenError, Target

COLUMNS = ("server", "version", "from", "fetched", "loaded", "checked", "answers after", "sha256", "")
# So often the servers are asked; more seldom while one of them does not answer.
_POLL_S, _AWAY_POLL_S = 0.05, 1.0
# An agent that does not answer may be starting anew.
_AWAY_S = 30.0
_TAKES = "takes the plan"


class LostError(TaskFailure):
    """A server does not answer.

    Attributes:
        server: Its name.
    """

    def __init__(self, server: str, why: TaskFailure) -> None:
        super().__init__(f"{server} does not answer: {why}")
        self.server = server


@attrs.define
class Seen:
    """What the servers have said so far.

    Attributes:
        done: The state of each that serves what is planned, by its name.
        doing: What each does, in words.
        switched: When callers who name no version got the planned one from each.
        away: Since when each does not answer.
        later: Whether one follows a later plan, which says the same of the model.
    """

    done: dict[str, State] = attrs.field(factory=dict)
    doing: dict[str, str] = attrs.field(factory=dict)
    switched: dict[str, float] = attrs.field(factory=dict)
    away: dict[str, float] = attrs.field(factory=dict)
    later: bool = False


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of a change.

    Attributes:
        switched_s: Seconds until callers who name no version got the planned one from every server.
        seconds: Seconds until every planned version was served, and no other.
        rows: A row for each version on each server.
    """

    switched_s: float
    seconds: float
    rows: Sequence[tuple[str, ...]]

    def told(self, model: str, plan: Plan) -> list[str]:
        """Return in words since when *plan* is followed."""
        highest, since = max(plan.models[model].serve), f"{self.switched_s:.2f} s after the order"
        return [
            f"Callers who name no version of {model} get version {highest} since {since};",
            f"everything that is planned was served after {self.seconds:.2f} s.",
        ]


@attrs.frozen(kw_only=True)
class Roll:
    """One change of a plan.

    Attributes:
        target: What serves it.
        model: The model whose versions change.
        was: What was served before.
        timeout_s: Longest wait until every server follows, in seconds.
        progress: Called with a line for each step of each server.
        candidate: Whether the servers follow only when they serve the plan's candidate too.
        clock: What is waited on.
    """

    target: Target
    model: str
    was: State
    timeout_s: float
    progress: Callable[[str], None]
    candidate: bool = False
    clock: Clock = attrs.field(factory=Clock)

    def to(self, plan: Plan) -> Outcome:
        """Let every server follow *plan*.

        Raises:
            TaskFailure: If one cannot; then all of them serve again what they served before, as far as they answer.
        """
        begun = self.clock.now()
        plan = self.target.follow(plan, after=self.was.plan.generation)
        seen = Seen()
        try:
            self._wait(plan, seen)
            self._compare(plan, seen.done)
        except OvertakenError:
            raise
        except TaskFailure as fault:
            raise TaskFailure(f"{fault} {self._put_back(plan, seen, fault)}") from fault
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{self.target.name} goes on following the new plan: `invoke versions` shows how far it is."
            ) from None
        switched = {name: when - begun for name, when in seen.switched.items()}
        return Outcome(
            switched_s=max(switched.values()),
            seconds=self.clock.now() - begun,
            rows=[
                row
                for name, state in sorted(seen.done.items())
                for row in self._rows(name, state.models[self.model], switched[name])
            ],
        )

    def _put_back(self, plan: Plan, seen: Seen, fault: TaskFailure) -> str:
        """Serve again what was served before; return in words how that went."""
        lost = {fault.server} if isinstance(fault, LostError) else set[str]()
        self.progress("Putting everything back")
        try:
            over = self._same(plan, self.target.state().plan) if seen.later else plan
            back = put_back(self.was, self.model, over=over)
            self._wait(self.target.follow(back, after=over.generation), Seen(), without=lost)
        except TaskFailure as error:
            return f"It could not be put back everywhere: {error}"
        told = "Everything is put back: what was served before is served."
        return f"{told} Whether {', '.join(lost)} serves it is not known." if lost else told

    def _wait(self, plan: Plan, seen: Seen, *, without: Collection[str] = ()) -> None:
        """Wait until every server serves what *plan* says of the model.

        Args:
            plan: The plan.
            seen: Takes what they say.
            without: The servers that nobody waits for.

        Raises:
            TaskFailure: If one cannot, or the time is up.
        """
        begun = self.clock.now()
        while True:
            servers = {name: ask for name, ask in self.target.servers() if name not in without}
            waiting = [name for name in servers if name not in seen.done]
            if servers and not waiting:  # nor has another one come meanwhile
                seen.done = {name: seen.done[name] for name in servers}
                return
            for name in seen.away.keys() - servers.keys():  # it has ended, and does not come back under this name
                del seen.away[name]
            while True:
                for name in waiting:
                    self._look(name, servers[name], plan, seen)
                waiting = [name for name in waiting if name not in seen.done]
                if not waiting and servers:
                    break
                if self.clock.now() - begun > self.timeout_s:
                    late = ", ".join(f"{name} ({seen.doing.get(name, 'no answer')})" for name in waiting)
                    raise TaskFailure(
                        f"Not every server followed within {self.timeout_s:g} s: {late or 'none is there'}."
                    )
                if seen.away or not servers:
                    self.clock.sleep(_AWAY_POLL_S)
                    break
                self.clock.sleep(_POLL_S)

    def _look(self, name: str, ask: Callable[[], State], plan: Plan, seen: Seen) -> None:
        """Ask one server how far it is, and note it.

        Raises:
            TaskFailure: If it cannot follow, or has not answered for too long.
        """
        try:
            state = ask()
        except TaskFailure as error:
            if self.clock.now() - seen.away.setdefault(name, self.clock.now()) > _AWAY_S:
                raise LostError(name, error) from error
            return
        seen.away.pop(name, None)
        if state.plan.generation > plan.generation:
            seen.later, plan = True, self._same(plan, state.plan)
        step, wanted = self._step(name, plan, state), _wanted(plan, self.model)
        if step != _TAKES and wanted and state.models[self.model].stable == max(wanted):
            seen.switched.setdefault(name, self.clock.now())
        if step == "":
            seen.done[name] = state
        elif step != seen.doing.get(name):
            self.progress(f"{name}: {step}")
            seen.doing[name] = step

    def _compare(self, plan: Plan, states: Mapping[str, State]) -> None:
        """Check that all servers serve the same bytes.

        Raises:
            TaskFailure: If they do not.
        """
        for version in (*_wanted(plan, self.model), *self._tried(plan)):
            found = {name: _digest(state.models[self.model], version) for name, state in states.items()}
            if len(set(found.values())) > 1:
                told = ", ".join(f"{name}: {(digest or '')[:12]}" for name, digest in sorted(found.items()))
                raise TaskFailure(
                    f"The servers serve different bytes as version {version} of {self.model} ({told}): a version never "
                    "changes: give the new one the next number."
                )

    def _step(self, name: str, plan: Plan, state: State) -> str:
        """Return what a server does towards *plan*; empty: it serves what that says of the model.

        Raises:
            TaskFailure: If it cannot.
        """
        wanted = _wanted(plan, self.model)
        if state.followed == plan.digest and not wanted and self.model not in state.models:
            return ""
        if state.followed != plan.digest or self.model not in state.models:
            return _TAKES
        model = state.models[self.model]
        tried = self._tried(plan)
        alone = [model.candidate] if tried and model.candidate is not None and model.candidate[0] in tried else []
        for version, one in (*((version, model.versions[version]) for version in wanted), *alone):
            if one.phase == "failed":
                raise TaskFailure(f"{name} cannot serve version {version} of {self.model}: {_sentence(one.why)}")
        if model.fault is not None:
            raise TaskFailure(f"{name}: {self.model}: {_sentence(model.fault)}")
        if tried and [one.phase for _, one in alone] != ["serving"]:
            phase = alone[0][1].phase if alone else "waiting"
            return f"{phase} version {tried[0]} as the candidate"
        if {number for number, one in model.versions.items() if one.phase == "serving"} == set(wanted):
            return ""
        missing = [(number, model.versions[number].phase) for number in wanted]
        return ", ".join(f"{phase} version {number}" for number, phase in missing if phase != "serving") or "drops"

    def _same(self, plan: Plan, later: Plan) -> Plan:
        """Return a *later* plan if it says of the model what *plan* says: somebody has changed something else.

        Raises:
            OvertakenError: If it says something else.
        """
        mine, theirs = (each.models.get(self.model, ModelPlan()) for each in (plan, later))
        alike = mine.serve == theirs.serve and self._tried(plan) == self._tried(later)
        if not alike or any(theirs.digests.get(version, digest) != digest for version, digest in mine.digests.items()):
            raise OvertakenError(
                f"Somebody else has changed the plan of {self.target.name} for {self.model} meanwhile: look at `invoke "
                "versions`."
            )
        return later

    def _tried(self, plan: Plan) -> tuple[int, ...]:
        """Return the candidate of *plan*, if it is waited for."""
        part = plan.models.get(self.model, ModelPlan())
        return (part.candidate,) if self.candidate and part.candidate is not None else ()

    def _rows(self, name: str, model: Model, switched_s: float) -> Sequence[tuple[str, ...]]:
        """Return a row for each version of a server that follows, and answered as planned after *switched_s*."""
        served = self.was.models.get(self.model)
        before = {n for n, one in served.versions.items() if one.phase == "serving"} if served else set()
        rows = []
        for number, one in sorted(model.versions.items()):
            phases = ("fetching", "loading", "checking")
            took = [
                "" if number in before or phase not in one.seconds else f"{one.seconds[phase]:.2f} s"
                for phase in phases
            ]
            after, what = "", "served"
            if number == model.stable:
                after, what = f"{switched_s:.2f} s", "callers who name none get it"
            rows.append((name, str(number), one.source or "", *took, after, (one.digest or "")[:12], what))
        return [
            *rows,
            *((name, str(number), *[""] * 6, "dropped") for number in sorted(before - model.versions.keys())),
        ]


def _wanted(plan: Plan, model: str) -> tuple[int, ...]:
    """Return the versions of a model that *plan* names."""
    return plan.models.get(model, ModelPlan()).serve


def _digest(model: Model, version: int) -> str | None:
    """Return what names the bytes of a version, be it served or the candidate."""
    if model.candidate is not None and model.candidate[0] == version and version not in model.versions:
        return model.candidate[1].digest
    return model.versions[version].digest


def _sentence(words: str | None) -> str:
    """Return *words* with the full stop that an agent's sentences may have already."""
    return f"{(words or 'it does not say why').rstrip('.')}."
