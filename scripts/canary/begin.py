"""Before a canary, and before each of its steps: whether it can be, what an earlier run left, and what to expect."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from scripts.agent.traffic import Traffic
from scripts.canary import manifests
from scripts.canary.foretell import foretell, seconds
from scripts.canary.judge import Judge
from scripts.canary.kept import Record
from scripts.canary.limits import Limits
from scripts.canary.order import Wish
from scripts.canary.routes import told
from scripts.canary.settings import Settings, Step
from scripts.canary.view import duration, percent
from scripts.canary.watch import Watch
from scripts.host.errors import TaskFailure
from scripts.host.figures import brief
from scripts.server.seen import State

# What an earlier run knew is of use for so long.
_FRESH = timedelta(hours=1)


def stable(state: State, model: str, version: int, *, server: str) -> int:
    """Return the version that callers of *model* get who name none, if *version* can be tried against it.

    Raises:
        TaskFailure: If it cannot.
    """
    seen = state.models.get(model)
    if seen is None or seen.stable is None:
        raise TaskFailure(f"No version of {model} is served by {server}: `invoke versions` says why.")
    if version in state.part(model).serve:
        raise TaskFailure(
            f"Version {version} of {model} is served already, so there is nothing to try. A canary is for a version "
            "that is published, or in the image, and that is not served yet."
        )
    return seen.stable


def check_free(plan: Traffic, *, in_force: bool, version: int) -> None:
    """Check that nobody else shares out the calls.

    Raises:
        TaskFailure: If somebody does.
    """
    if in_force and plan.candidate != version:
        raise TaskFailure(
            f"{plan.model} has a traffic plan ({told(plan)}) that no canary of version {version} made. Wait until it "
            "is over. Or end what made it. Another `invoke canary`: by Ctrl-C. If a Job judges it: `kubectl delete job "
            f"NAME`, where NAME is the one of `kubectl get jobs` that ends in {manifests.ending(plan.model)}. A plan "
            "that was set by hand: as docs/versions-in-production.md says (Share the traffic)."
        )


def goes_on(old: Record, new: Record, *, steps: Sequence[Step], now: datetime) -> bool:
    """Return whether a canary goes on with what an earlier run of it left, since that was stopped in the middle."""
    known = old.verdict is None and old.judge is not None and old.watch is not None and old.step < len(steps)
    same = (old.model, old.version, old.stable, old.server) == (new.model, new.version, new.stable, new.server)
    return known and same and now - datetime.fromisoformat(old.looked) <= _FRESH


def is_promoted(old: Record, state: State, wish: Wish, *, server: str, now: datetime) -> bool:
    """Return whether an earlier run had begun to promote the version, and it is served since."""
    decided = any(one["decision"] == "promote" for one in old.decisions)
    same = (old.model, old.version, old.server) == (wish.model, wish.version, server)
    recent = now - datetime.fromisoformat(old.looked) <= _FRESH
    return decided and same and recent and max(state.part(wish.model).serve, default=0) == wish.version


def taken_up(
    old: Record | None, new: Record, limits: Limits, *, begun: datetime, line: Callable[[str], None]
) -> tuple[Record, Judge, Watch]:
    """Return the record to go on with, and the judge and the counts that go with it.

    Args:
        old: What an earlier run left; None: this one begins anew.
        new: What a run begins with.
        limits: What the judge goes by.
        begun: The time on the servers.
        line: Takes a line where something is worth knowing.
    """
    if old is not None and old.judge is not None and old.watch is not None:
        try:
            judge = Judge.from_dict(limits, old.judge)
            return old, judge, Watch.from_dict(old.watch, model=old.model, stable=old.stable, candidate=old.version)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            line(f"Note: what an earlier run knew cannot be read, so this one begins anew. {error!r}")
    return new, Judge(limits), Watch(model=new.model, stable=new.stable, candidate=new.version, begun=begun)


def forecast(
    number: int, record: Record, judge: Judge, *, settings: Settings, rate: float | None, left_s: float
) -> list[str]:
    """Return in sentences what a step is, how long it will take, and what will have been found by then.

    Args:
        number: Which step, from 0 on.
        record: How far the canary is.
        judge: What is known so far.
        settings: How it goes about it.
        rate: Calls in a second, as seen; None: nobody knows.
        left_s: So long the canary may still take.
    """
    step, version = settings.steps[number], record.version
    what = (
        f"Step {number + 1} of {len(settings.steps)}: {percent(step.share)} of the calls go to version {version}, "
        f"until it had {step.calls:,} and {duration(step.seconds)} have passed."
    )
    if rate == 0:
        return [
            what,
            f"No client tells of any call of {record.model}, so this would take for ever. Consumers have to follow the "
            "plan: TrafficPlan, or TRITON_TRAFFIC (docs/versions.md).",
        ]
    failures = judge.figures()[0]
    usual = failures.stable / failures.stable_of if failures.stable_of else 0.0
    found = foretell(settings.limits, [(one.share, one.calls) for one in settings.steps[: number + 1]], failing=usual)
    bad = [f"failed {percent(found.failing)} of its calls"] if found.failing is not None else []
    if found.slow is not None:
        bad.append(
            f"had {percent(found.slow)} of them slower than {settings.limits.slower:g} times what three quarters of "
            f"version {record.stable}'s take"
        )
    would = f"By then it is found in most cases if version {version} {' or '.join(bad)}." if bad else ""
    if rate is None:
        return [f"{what} {would}".strip()]
    least = max(step.seconds - record.seconds, _learning_s(step, judge, settings=settings, rate=rate))
    takes = seconds((step.share, max(step.calls - record.calls, 0)), rate=rate, least=least)
    late = f" That is more than the {duration(left_s)} that are left of --for." if takes > left_s else ""
    return [what, f"At {brief(rate)} calls/s, as seen, that takes about {duration(takes)}.{late} {would}".strip()]


def _learning_s(step: Step, judge: Judge, *, settings: Settings, rate: float) -> float:
    """Return how long the judge needs at least to know enough: what is slow, and of enough sure images what they get.

    Args:
        step: The step that is next.
        judge: What is known so far.
        settings: How the canary goes about it.
        rate: Calls in a second, as seen, each taken to have one image of which the stable version is sure.
    """
    stable, limits = rate * (1 - step.share), settings.limits
    unknown = limits.calibration - judge.before.buckets.total() if judge.edges is None else 0
    unsure = limits.least_sure - float(judge.scales.candidate.sure) if limits.most_disagreement is not None else 0
    return max(unknown / stable, unsure / (stable * settings.shadow) if unsure else 0.0)
