"""A canary: the new version gets a growing share of the calls while a judge looks at what callers see of it."""

import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import attrs

from scripts.agent.plan import CANDIDATE, Plan
from scripts.agent.traffic import to_text
from scripts.canary import begin, ending
from scripts.canary.compared import Compared, told
from scripts.canary.judge import Judge
from scripts.canary.kept import Keeper, Record
from scripts.canary.looking import Looker, UnservedError
from scripts.canary.routes import Routes
from scripts.canary.servers import Server
from scripts.canary.settings import Settings
from scripts.canary.stepping import EndError, Steps, Verdict
from scripts.canary.view import View
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.server.seen import State
from scripts.versions import change
from scripts.versions.roll import Outcome, Roll
from scripts.versions.target import OvertakenError, Target

STATUS = {"promoted": 0, "aborted": 1, "inconclusive": 3}
# At least so long the calls are counted that are to tell their rate, in seconds.
_RATE_S = 5.0


@attrs.frozen(kw_only=True)
class Result:
    """What came of a canary.

    Attributes:
        verdict: In a word.
        why: In sentences.
        record: All decisions with their figures.
        promoted: The plan that is followed since the promotion, and what came of that; None: there was none.
    """

    verdict: Verdict
    why: str
    record: Record
    promoted: tuple[Plan, Outcome] | None = None

    @property
    def status(self) -> int:
        """The exit status."""
        return STATUS[self.verdict]

    @property
    def said(self) -> str:
        """What is said at the end."""
        if self.verdict == "aborted":
            return f"The canary is aborted. {self.why}"
        return self.why if self.verdict == "promoted" else f"The canary ends without a promotion. {self.why}"

    def as_json(self) -> str:
        """Return the decisions with their figures for scripts."""
        return self.record.told(self.verdict, self.why)


@attrs.define(kw_only=True)
class Canary:
    """One canary.

    Attributes:
        target: What serves the model.
        servers: Gives the servers of *target* that are there now.
        model: The model's name.
        version: The version that is tried.
        digest: What its bytes must have; None: any.
        settings: How to go about it.
        keep: How many former versions stay served after the promotion.
        limit_s: It ends without a promotion after so long.
        roll_s: So long a change of what is served may take.
        keeper: Keeps how far it is.
        line: Takes a line for people.
        show: Takes what a live view shows.
        clock: What is waited on.
        wall: Gives the time, for the log.
        compared: What the bound for other answers in *settings* comes from; None: from the configuration.
    """

    target: Target
    servers: Callable[[], Sequence[Server]]
    model: str
    version: int
    digest: str | None
    settings: Settings
    keep: int
    limit_s: float
    roll_s: float
    keeper: Keeper
    line: Callable[[str], None]
    show: Callable[[View], None]
    clock: Clock = attrs.field(factory=Clock)
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    compared: Compared | None = None
    _steps: Steps = attrs.field(init=False)
    _promoting: bool = attrs.field(default=False, init=False)

    def run(self) -> Result:
        """Try the version, and promote it, or take it back.

        Raises:
            TaskFailure: If it cannot be tried, or somebody else has changed the plans; then what is this canary's is
                taken back, as far as servers answer.
            KeyboardInterrupt: If it was stopped, after everything was taken back.
        """
        begun = self.clock.now()
        new = self._take_up()
        steps, record = self._steps, self._steps.record
        try:
            try:
                self._place(new=new)
                for number in range(record.step, len(self.settings.steps)):
                    steps.take(number, until=begun + self.limit_s)
                return self._promote()
            except UnservedError as error:
                raise EndError("aborted" if error.bad else "inconclusive", str(error)) from error
        except EndError as end:
            steps.say(end.verdict, end.why)
            return Result(verdict=end.verdict, why=f"{end.why} {self._take_back(end.verdict)}", record=record)
        except KeyboardInterrupt as error:
            steps.say("ended", "It was stopped.")
            # A version that is being promoted is on its way to everybody.
            said = f"{error} {self._free('ended')}" if self._promoting else f"Stopped. {self._take_back('ended')}"
            raise KeyboardInterrupt(said.strip()) from None
        except OvertakenError as error:
            steps.say("ended", str(error))
            said = self._free("ended")  # it may be another plan that somebody has changed
            raise OvertakenError(str(error) if said in str(error) else f"{error} {said}") from error
        except TaskFailure as error:
            steps.say("ended", str(error))
            raise TaskFailure(f"{error} {self._take_back('ended')}".strip()) from error
        finally:
            with contextlib.suppress(TaskFailure):  # what came of the canary matters more
                self.keeper.note(record)

    def _take_up(self) -> bool:
        """Begin anew, or go on where an earlier run was stopped; return whether it begins anew.

        Raises:
            TaskFailure: If the version cannot be tried, or the calls are shared out by somebody else.
        """
        state = self.target.state()
        change.promoted(state, self.model, self.version, keep=self.keep, digest=self.digest)
        stable = begin.stable(state, self.model, self.version, server=self.target.name)
        if self.compared is not None:
            known = state.models[self.model].versions.get(stable)
            self.compared.check_stable(stable, known.digest if known else None)
        routes = Routes(
            servers=self.servers,
            model=self.model,
            keeper=self.keeper,
            expires_s=self.settings.expires,
            line=self.line,
            clock=self.clock,
        )
        old, kept = self.keeper.read()
        plan, in_force, now = routes.find(kept)
        begin.check_free(plan, in_force=in_force, version=self.version)
        time = to_text(self.wall())
        new = Record(
            model=self.model, version=self.version, stable=stable, server=self.target.name, begun=time, looked=time
        )
        if old is not None and not begin.goes_on(old, new, steps=self.settings.steps, now=self.wall()):
            old = None
        record, judge, watch = begin.taken_up(old, new, self.settings.limits, begun=now, line=self.line)
        record.bound = told(self.settings, self.compared, stable=stable)
        self.line(record.bound)
        self._steps = Steps(
            settings=self.settings,
            routes=routes,
            looker=Looker(servers=self.servers, routes=routes, watch=watch, line=self.line, clock=self.clock),
            judge=judge,
            record=record,
            keeper=self.keeper,
            limit_s=self.limit_s,
            line=self.line,
            show=self.show,
            clock=self.clock,
            wall=self.wall,
        )
        if record is old:
            self._steps.say("go on", f"This goes on with the canary that was looked at last at {record.looked}.")
        elif in_force:
            self.line(f"An earlier canary of version {self.version} has left its traffic plan; that is taken back")
            routes.end(None)
        return record is new

    def _place(self, *, new: bool) -> None:
        """Let every server load the version as the candidate, which nobody meets, and see how many calls there are."""
        begun, steps = self.clock.now(), self._steps
        if new:
            steps.looker.look(steps.record)
            steps.judge = Judge(self.settings.limits, steps.looker.watch.before())
        was = self.target.state()
        other = was.part(self.model).candidate
        if other not in (None, self.version):
            self.line(f"Version {other} is no candidate of {self.model} any more")
        self.line(f"Every server loads version {self.version} as {self.model}{CANDIDATE}, and checks its golden images")
        placed = self._roll(was, change.with_candidate(was, self.model, self.version, digest=self.digest))
        self.line(f"It answers right on every server after {placed.seconds:.1f} s, and nobody is sent to it yet")
        if new:
            self.clock.sleep(max(0.0, _RATE_S - (self.clock.now() - begun)))
            news = steps.looker.look(steps.record)
            steps.looker.watch.compare_anew()
            steps.rate = None if news is None else news.calls / (self.clock.now() - begun)

    def _promote(self) -> Result:
        """Serve the version to all callers who name none.

        Raises:
            TaskFailure: If it cannot be, or somebody else has changed what is served.
        """
        record, was = self._steps.record, self.target.state()
        part = was.part(self.model)
        if part.candidate != self.version or max(part.serve, default=0) != record.stable:
            raise TaskFailure(f"Somebody else has changed what is served of {self.model}: look at `invoke versions`.")
        why = f"Version {self.version} of {self.model} has passed all steps."
        self._steps.say("promote", why)
        self._promoting = True
        plan = change.promoted(was, self.model, self.version, keep=self.keep, digest=self.digest)
        done = self._roll(was, plan)
        return Result(verdict="promoted", why=f"{why} {self._free('promoted')}", record=record, promoted=(plan, done))

    def _free(self, verdict: str) -> str:
        """End the traffic plan, if it is still this canary's; return in words how that went."""
        self._steps.record.verdict = verdict
        try:
            return ending.free(self._steps.routes, self._steps.record)
        except OvertakenError as error:
            return str(error)

    def _take_back(self, verdict: str) -> str:
        """Send nobody to the version any more, then take it away; return in words how that went."""
        said = self._free(verdict)
        away = ending.taken_away(self.target, self.model, self.version, roll=self._roll, clock=self.clock)
        return f"{said} {away}".strip()

    def _roll(self, was: State, plan: Plan) -> Outcome:
        """Let every server follow a plan, and put everything back if one cannot."""
        return Roll(
            target=self.target,
            model=self.model,
            was=was,
            timeout_s=self.roll_s,
            progress=self.line,
            candidate=True,
            clock=self.clock,
        ).to(plan)
