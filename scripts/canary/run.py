"""A canary: the new version gets a growing share of the calls while a judge looks at what callers see of it."""

import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import attrs

from scripts.agent.plan import CANDIDATE, Plan
from scripts.agent.traffic import Traffic, to_text
from scripts.canary import begin, ending
from scripts.canary.compared import told
from scripts.canary.judge import Judge
from scripts.canary.kept import Keeper, Record
from scripts.canary.looking import Looker, UnservedError
from scripts.canary.order import Wish
from scripts.canary.routes import Routes
from scripts.canary.servers import Server
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
        wish: What is to be tried, and how.
        keeper: Keeps how far it is.
        line: Takes a line for people.
        show: Takes what a live view shows.
        clock: What is waited on.
        wall: Gives the time, for the log.
    """

    target: Target
    servers: Callable[[], Sequence[Server]]
    wish: Wish
    keeper: Keeper
    line: Callable[[str], None]
    show: Callable[[View], None]
    clock: Clock = attrs.field(factory=Clock)
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    _steps: Steps = attrs.field(init=False)
    _promoting: bool = attrs.field(default=False, init=False)

    def run(self) -> Result:
        """Try the version, and promote it, or take it back.

        Raises:
            TaskFailure: If it cannot be tried, or somebody else has changed the plans; then what is this canary's is
                taken back, as far as servers answer.
            KeyboardInterrupt: If it was stopped, after everything was taken back.
        """
        begun, wish = self.clock.now(), self.wish
        state = self.target.state()
        old, kept = self.keeper.read()
        if old is not None and begin.is_promoted(old, state, wish, server=self.target.name, now=self.wall()):
            return self._finish(old, kept, state)
        new = self._take_up(old, kept, state)
        steps, record = self._steps, self._steps.record
        try:
            try:
                self._place(new=new)
                for number in range(record.step, len(wish.settings.steps)):
                    steps.take(number, until=begun + wish.limit_s)
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

    def _take_up(self, old: Record | None, kept: Traffic | None, state: State) -> bool:
        """Begin anew, or go on where an earlier run was stopped; return whether it begins anew.

        Args:
            old: What an earlier run left; None: nothing.
            kept: The traffic plan that the keeper has.
            state: What is served.

        Raises:
            TaskFailure: If the version cannot be tried, or the calls are shared out by somebody else.
        """
        wish = self.wish
        change.promoted(state, wish.model, wish.version, keep=wish.keep, digest=wish.digest)
        stable = begin.stable(state, wish.model, wish.version, server=self.target.name)
        if wish.compared is not None:
            known = state.models[wish.model].versions.get(stable)
            wish.compared.check_stable(stable, known.digest if known else None)
        routes = self._routes()
        plan, in_force, now = routes.find(kept)
        begin.check_free(plan, in_force=in_force, version=wish.version)
        time = to_text(self.wall())
        new = Record(
            model=wish.model, version=wish.version, stable=stable, server=self.target.name, begun=time, looked=time
        )
        if old is not None and not begin.goes_on(old, new, steps=wish.settings.steps, now=self.wall()):
            old = None
        record, judge, watch = begin.taken_up(old, new, wish.settings.limits, begun=now, line=self.line)
        record.bound = told(wish.settings, wish.compared, stable=stable)
        self.line(record.bound)
        self._steps = Steps(
            settings=wish.settings,
            routes=routes,
            looker=Looker(servers=self.servers, routes=routes, watch=watch, line=self.line, clock=self.clock),
            judge=judge,
            record=record,
            keeper=self.keeper,
            limit_s=wish.limit_s,
            line=self.line,
            show=self.show,
            clock=self.clock,
            wall=self.wall,
        )
        if record is old:
            self._steps.say("go on", f"This goes on with the canary that was looked at last at {record.looked}.")
        elif in_force:
            self.line(f"An earlier canary of version {wish.version} has left its traffic plan; that is taken back")
            routes.end(None)
        return record is new

    def _place(self, *, new: bool) -> None:
        """Let every server load the version as the candidate, which nobody meets, and see how many calls there are."""
        begun, steps, model, version = self.clock.now(), self._steps, self.wish.model, self.wish.version
        if new:
            steps.looker.look(steps.record)
            steps.judge = Judge(self.wish.settings.limits, steps.looker.watch.before())
        was = self.target.state()
        other = was.part(model).candidate
        if other not in (None, version):
            self.line(f"Version {other} is no candidate of {model} any more")
        self.line(f"Every server loads version {version} as {model}{CANDIDATE}, and checks its golden images")
        placed = self._roll(was, change.with_candidate(was, model, version, digest=self.wish.digest))
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
        record, was, wish = self._steps.record, self.target.state(), self.wish
        part = was.part(wish.model)
        if part.candidate != wish.version or max(part.serve, default=0) != record.stable:
            raise TaskFailure(f"Somebody else has changed what is served of {wish.model}: look at `invoke versions`.")
        why = f"Version {wish.version} of {wish.model} has passed all steps."
        self._steps.say("promote", why)
        self._steps.routes.keep(record)  # if this run is killed from here on, the next one brings it to its end
        self._promoting = True
        plan = change.promoted(was, wish.model, wish.version, keep=wish.keep, digest=wish.digest)
        done = self._roll(was, plan)
        return Result(verdict="promoted", why=f"{why} {self._free('promoted')}", record=record, promoted=(plan, done))

    def _finish(self, record: Record, kept: Traffic | None, was: State) -> Result:
        """Bring to its end what an earlier run was stopped in: the version was being promoted.

        Args:
            record: What that run left.
            kept: The traffic plan that the keeper has.
            was: What is served.

        Raises:
            TaskFailure: If a server cannot serve it; then what is served stays.
        """
        wish, routes = self.wish, self._routes()
        why = f"Version {wish.version} of {wish.model} has passed all steps."
        going_on = f"A judge that was stopped had begun to promote version {wish.version}. This brings that to its end."
        record.decide("go on", going_on, at=to_text(self.wall()), share=record.decisions[-1]["share"], figures={})
        self.line(f"go on: {going_on}")
        traffic, _, _ = routes.find(kept)
        plan = change.promoted(was, wish.model, wish.version, keep=wish.keep, digest=wish.digest)
        done = self._roll(was, plan)
        record.verdict = "promoted"
        said = ending.free(routes, record, record.verdict) if traffic.candidate == wish.version else ""
        with contextlib.suppress(TaskFailure):  # what came of the canary matters more
            routes.keep(record)
        return Result(verdict="promoted", why=f"{why} {said}".strip(), record=record, promoted=(plan, done))

    def _routes(self) -> Routes:
        """Return what sets the model's traffic plan."""
        return Routes(
            servers=self.servers,
            model=self.wish.model,
            keeper=self.keeper,
            expires_s=self.wish.settings.expires,
            line=self.line,
            clock=self.clock,
        )

    def _free(self, verdict: str) -> str:
        """End the traffic plan, if it is still this canary's; return in words how that went."""
        return ending.free(self._steps.routes, self._steps.record, verdict)

    def _take_back(self, verdict: str) -> str:
        """Send nobody to the version any more, then take it away; return in words how that went."""
        said = self._free(verdict)
        away = ending.taken_away(self.target, self.wish.model, self.wish.version, roll=self._roll, clock=self.clock)
        return f"{said} {away}".strip()

    def _roll(self, was: State, plan: Plan) -> Outcome:
        """Let every server follow a plan, and put everything back if one cannot."""
        return Roll(
            target=self.target,
            model=self.wish.model,
            was=was,
            timeout_s=self.wish.roll_s,
            progress=self.line,
            candidate=True,
            clock=self.clock,
        ).to(plan)
