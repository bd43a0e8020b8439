"""The end of a canary: first nobody is sent to the candidate any more, then it goes."""

import contextlib
from collections.abc import Callable

from scripts.agent.plan import CANDIDATE, Plan
from scripts.agent.traffic import to_text
from scripts.canary.kept import Record
from scripts.canary.routes import Routes
from scripts.canary.view import duration
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.server.seen import State
from scripts.versions import change
from scripts.versions.target import OvertakenError, Target

# Clients learn of another plan within so long, in seconds; what nobody is sent to any more is taken away after that.
_LEARNED_S = 3.0
# The judge of a canary renews its plan, and takes the next step, whenever that is due.
_TRIES = 5


def free(routes: Routes, record: Record, verdict: str) -> str:
    """End the traffic plan on every server, if it is still this canary's; return in a sentence how that went.

    Args:
        routes: The traffic plan.
        record: How far the canary is.
        verdict: What came of it.
    """
    record.verdict = verdict
    if not routes.is_live:
        return ""
    by_itself = f"ends by itself in {duration(routes.expires_s)}"
    try:
        left = routes.end(record)
    except OvertakenError as error:
        return str(error)
    except TaskFailure as error:
        return f"The traffic plan could not be ended, and {by_itself}: {error}"
    promoted = verdict == "promoted"
    said = f"All calls go to version {record.version if promoted else record.stable}{'' if promoted else ' again'}"
    if left:
        return f"{said}; but {', '.join(left)} has not answered, and the plan there {by_itself}."
    return f"{said}."


def taken_away(target: Target, model: str, version: int, *, roll: Callable[[State, Plan], object], clock: Clock) -> str:
    """Take the candidate from every server; return in a sentence how that went.

    Args:
        target: What serves the model.
        model: The model's name.
        version: The candidate.
        roll: Lets every server follow a plan after that of a state.
        clock: What is waited on.
    """
    try:
        was = target.state()
        if was.part(model).candidate != version:
            return ""
        clock.sleep(_LEARNED_S)
        roll(was, change.with_candidate(was, model, None, digest=None))
    except TaskFailure as error:
        return f"Version {version} stays loaded as {model}{CANDIDATE}, where nobody meets it: {error}"
    return f"Version {version} is taken away."


def end_before(routes: Routes, *, doing: str) -> str:
    """End a canary's traffic plan before what is served changes; return in a sentence what was done; empty: nothing.

    Args:
        routes: The traffic plan of the model.
        doing: What changes it: ``"promote"`` or ``"rollback"``.

    Raises:
        TaskFailure: If a server does not take that, or somebody changes the plan all the time.
    """
    for _ in range(_TRIES):
        with contextlib.suppress(OvertakenError):
            return _ended_before(routes, doing=doing)
    raise TaskFailure(
        f"The traffic plan of {routes.model} was changed each time that its canary was to be ended, so nothing else "
        f"was done. Stop the canary, or wait for its end; then invoke {doing} again."
    )


def _ended_before(routes: Routes, *, doing: str) -> str:
    """End a canary's traffic plan, as `end_before` does.

    Raises:
        OvertakenError: If somebody has changed the plan since it was looked at.
        TaskFailure: If a server does not take that.
    """
    record, kept = routes.keeper.read()
    plan, in_force, now = routes.find(kept)
    if not in_force or plan.candidate is None:
        return ""
    if record is not None and record.verdict is None and record.version == plan.candidate:
        record.verdict = "ended"
        record.decide("ended", f"invoke {doing} has ended it.", at=to_text(now), share=0.0, figures={})
    else:
        record = None
    if left := routes.end(record):
        raise TaskFailure(
            f"The canary of version {plan.candidate} of {routes.model} could not be ended on {', '.join(left)}, so "
            f"nothing else was done. Its traffic plan ends by itself at {to_text(plan.expires or now)}; then try again."
        )
    return (
        f"The canary of version {plan.candidate} of {routes.model} is ended first: all calls go to the stable version "
        "again."
    )
