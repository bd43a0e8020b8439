"""The steps of a canary: the version gets its share until enough was seen, or something speaks against it."""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Literal

import attrs

from scripts.agent.traffic import Traffic, to_text
from scripts.canary import begin
from scripts.canary.judge import Counts, Judge, Look
from scripts.canary.kept import Keeper, Record
from scripts.canary.looking import Looker
from scripts.canary.refusals import Refusals
from scripts.canary.routes import Routes
from scripts.canary.settings import Settings, Step
from scripts.canary.view import View, as_data, duration, weight
from scripts.canary.watch import News
from scripts.host.clock import Clock

Verdict = Literal["promoted", "aborted", "inconclusive"]
# In a pipe a line says how far it is, so often, in seconds.
_TOLD_S = 30.0


class EndError(Exception):
    """The canary ends without a promotion.

    Attributes:
        verdict: In a word.
        why: In sentences.
    """

    def __init__(self, verdict: Verdict, why: str) -> None:
        super().__init__(why)
        self.verdict, self.why = verdict, why


@attrs.define(kw_only=True)
class Steps:
    """The steps of one canary.

    Attributes:
        settings: How to go about it.
        routes: The traffic plan.
        looker: Looks at all servers.
        judge: Judges what was seen.
        record: How far it is.
        keeper: Keeps that.
        limit_s: The canary ends without a promotion after so long.
        line: Takes a line for people.
        show: Takes what a live view shows.
        clock: What is waited on.
        wall: Gives the time, for the log.
        rate: Calls in a second, as seen last; None: nobody knows.
    """

    settings: Settings
    routes: Routes
    looker: Looker
    judge: Judge
    record: Record
    keeper: Keeper
    limit_s: float
    line: Callable[[str], None]
    show: Callable[[View], None]
    clock: Clock
    wall: Callable[[], datetime]
    rate: float | None = None
    _refusals: Refusals = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._refusals = Refusals(self.settings.limits)

    def take(self, number: int, *, until: float) -> None:
        """Send the version its share until enough was seen.

        Raises:
            EndError: If the canary ends at this step.
            UnservedError: If the version is not served any more.
        """
        step, record = self.settings.steps[number], self.record
        if number != record.step:
            record.step, record.calls, record.seconds = number, 0, 0.0
        for text in begin.forecast(
            number, record, self.judge, settings=self.settings, rate=self.rate, left_s=until - self.clock.now()
        ):
            self.line(text)
        self.say("begin", f"Step {number + 1} of {len(self.settings.steps)} begins.")
        self._set(step)
        begun, before, said, calls = self.clock.now(), record.seconds, self.clock.now(), 0
        while True:
            self.clock.sleep(self.settings.every)
            news = self.looker.look(record)
            now = self.clock.now()
            record.seconds = before + now - begun
            if news is not None:
                calls += news.calls
                self._weigh(news)
            self._note()
            missing = self._missing(step)
            view = View.of(self.judge, step, record, missing=missing)
            self.show(view)
            if not missing:
                self.rate = calls / (now - begun)
                self.say("pass", f"Step {number + 1} is passed: {view.line}.")
                return
            if now - said >= _TOLD_S:
                self.line(view.line + view.waits)
                said = now
            if now >= until:
                raise EndError(
                    "inconclusive",
                    f"Nobody can tell after {duration(self.limit_s)}. At the step of {100 * step.share:g}% it is "
                    f"waited for: {'; '.join(missing)}.",
                )

    def _set(self, step: Step) -> None:
        """Give every server the plan of a step."""
        record, version = self.record, self.record.version
        plan = Traffic(
            model=record.model,
            routes={record.stable: round(1 - step.share, 9), version: step.share},
            candidate=version,
            shadow=(version, self.settings.shadow) if self.settings.shadow else None,
        )
        left = self.routes.set(plan, record)
        if left:
            self.line(f"Note: {', '.join(left)} has not taken the plan yet, and gets it when it can")

    def _weigh(self, news: News) -> None:
        """Let the judge see what is new.

        Raises:
            EndError: If something speaks against the version.
        """
        candidate = Counts.of(news.candidate)
        self.record.calls += candidate.calls
        finding = self.judge.look(Look(stable=Counts.of(news.stable), candidate=candidate))
        if (why := finding.sentence if finding else self._refusals.look(news.stable, news.candidate)) is not None:
            raise EndError("aborted", why)

    def _missing(self, step: Step) -> list[str]:
        """Return what the step still waits for."""
        record, found = self.record, []
        if record.calls < step.calls:
            found.append(f"{record.calls:,} of {step.calls:,} calls of version {self.record.version}")
        if record.seconds < step.seconds:
            found.append(f"{duration(record.seconds)} of {duration(step.seconds)}")
        # What is half way to ending the canary is no reason to send it more calls.
        found += [
            f"{one.statistic}: what speaks against version {record.version} ({weight(one.evidence)}) to become "
            f"less, or {weight(one.limit)}, which ends this"
            for one in self.judge.figures()
            if one.evidence >= math.sqrt(one.limit)
        ]
        return [*found, *self.judge.missing(), *self.looker.watch.contradictions()]

    def _note(self) -> None:
        """Keep how far it is."""
        self.record.judge, self.record.watch = self.judge.to_dict(), self.looker.watch.to_dict()
        self.record.looked = to_text(self.wall())
        self.keeper.note(self.record)

    def say(self, decision: str, why: str) -> None:
        """Say a decision, and note it with its figures."""
        share = self.settings.steps[self.record.step].share
        self.record.decide(decision, why, at=to_text(self.wall()), share=share, figures=as_data(self.judge))
        self.line(f"{decision}: {why}")
