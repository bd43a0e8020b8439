"""Change the plan of a target, wait until every server follows it, and put everything back if one cannot."""

from collections.abc import Callable, Mapping, Sequence

import attrs

from scripts.agent.plan import Plan
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.versions.change import put_back
from scripts.versions.seen import Model, State
from scripts.versions.target import Target

COLUMNS = ("server", "version", "from", "fetched", "loaded", "checked", "sha256", "")
_POLL_S = 0.05
# An agent that does not answer may be starting anew.
_AWAY_S = 30.0
_TAKES = "takes the plan"


class OvertakenError(TaskFailure):
    """Somebody else has changed the plan meanwhile; it is theirs now."""


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


@attrs.frozen(kw_only=True)
class Roll:
    """One change of a plan.

    Attributes:
        target: What serves it.
        model: The model whose versions change.
        was: What was served before.
        timeout_s: Longest wait until every server follows, in seconds.
        progress: Called with a line for each step of each server.
        clock: What is waited on.
    """

    target: Target
    model: str
    was: State
    timeout_s: float
    progress: Callable[[str], None]
    clock: Clock = attrs.field(factory=Clock)

    def to(self, plan: Plan) -> Outcome:
        """Let every server follow *plan*.

        Raises:
            TaskFailure: If one cannot; then all of them serve again what they served before, as far as they answer.
        """
        begun = self.clock.now()
        self.target.follow(plan, after=self.was.plan.generation)
        try:
            states, switched = self._wait(plan)
        except OvertakenError:
            raise
        except TaskFailure as fault:
            raise TaskFailure(f"{fault} {self._put_back(plan)}") from fault
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{self.target.name} goes on following the new plan: `invoke versions` shows how far it is."
            ) from None
        return Outcome(
            switched_s=switched - begun,
            seconds=self.clock.now() - begun,
            rows=[row for name, state in states.items() for row in self._rows(name, state.models[self.model])],
        )

    def _put_back(self, plan: Plan) -> str:
        """Serve again what was served before; return in words how that went."""
        back = put_back(self.was, after=plan.generation)
        self.progress("Putting everything back")
        try:
            self.target.follow(back, after=plan.generation)
            self._wait(back)
        except TaskFailure as error:
            return f"It could not be put back everywhere: {error}"
        return "Everything is put back: what was served before is served."

    def _wait(self, plan: Plan) -> tuple[Mapping[str, State], float]:
        """Wait until every server serves what *plan* says of the model; return their states, and when all had switched.

        Raises:
            TaskFailure: If one cannot, or the time is up.
        """
        done: dict[str, State] = {}
        said: dict[str, str] = {}
        switched: dict[str, float] = {}
        answered = begun = self.clock.now()
        servers = self.target.servers()
        while len(done) < len(servers):
            for name, ask in servers:
                if name in done:
                    continue
                try:
                    state = ask()
                except TaskFailure:
                    if self.clock.now() - answered > _AWAY_S:
                        raise
                    continue
                answered = self.clock.now()
                step = self._step(name, plan, state)
                if step != _TAKES and state.models[self.model].stable == max(plan.models[self.model].serve):
                    switched.setdefault(name, answered)
                if step == "":
                    done[name] = state
                elif step != said.get(name):
                    self.progress(f"{name}: {step}")
                    said[name] = step
            if len(done) < len(servers):
                if self.clock.now() - begun > self.timeout_s:
                    late = ", ".join(
                        f"{name} ({said.get(name, 'no answer')})" for name, _ in servers if name not in done
                    )
                    raise TaskFailure(f"Not every server followed within {self.timeout_s:g} s: {late}.")
                self.clock.sleep(_POLL_S)
        return done, max(switched.values(), default=begun)

    def _step(self, name: str, plan: Plan, state: State) -> str:
        """Return what a server does towards *plan*; empty: it serves what that says of the model.

        Raises:
            TaskFailure: If it cannot.
        """
        if state.plan.generation > plan.generation:
            raise OvertakenError(f"Somebody else has changed the plan of {name} meanwhile: look at `invoke versions`.")
        if state.followed != plan.digest or self.model not in state.models:
            return _TAKES
        model, wanted = state.models[self.model], plan.models[self.model].serve
        for version in wanted:
            one = model.versions[version]
            if one.phase == "failed":
                raise TaskFailure(f"{name} cannot serve version {version} of {self.model}: {_sentence(one.why)}")
        if model.fault is not None:
            raise TaskFailure(f"{name}: {self.model}: {_sentence(model.fault)}")
        if {number for number, one in model.versions.items() if one.phase == "serving"} == set(wanted):
            return ""
        missing = [(number, model.versions[number].phase) for number in wanted]
        return ", ".join(f"{phase} version {number}" for number, phase in missing if phase != "serving") or "drops"

    def _rows(self, name: str, model: Model) -> Sequence[tuple[str, ...]]:
        """Return a row for each version of a server that follows."""
        served = self.was.models.get(self.model)
        before = {n for n, one in served.versions.items() if one.phase == "serving"} if served else set()
        rows = []
        for number, one in sorted(model.versions.items()):
            phases = ("fetching", "loading", "checking")
            took = [
                "" if number in before or phase not in one.seconds else f"{one.seconds[phase]:.2f} s"
                for phase in phases
            ]
            what = "callers who name none get it" if number == model.stable else "served"
            rows.append((name, str(number), one.source or "", *took, (one.digest or "")[:12], what))
        return [
            *rows,
            *((name, str(number), "", "", "", "", "", "dropped") for number in sorted(before - model.versions.keys())),
        ]


def _sentence(words: str | None) -> str:
    """Return *words* with the full stop that an agent's sentences may have already."""
    return f"{(words or 'it does not say why').rstrip('.')}."
