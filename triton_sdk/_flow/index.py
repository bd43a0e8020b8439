"""What the server's index of its repository says about a model."""

from collections.abc import Sequence

from triton_sdk._flow import codec
from triton_sdk._flow.codec import IndexRow
from triton_sdk._flow.failures import Failure
from triton_sdk._flow.session import Session
from triton_sdk._flow.steps import Flow, Send
from triton_sdk.errors import ServerError


def index(session: Session, *, deadline: float) -> Flow[tuple[IndexRow, ...] | Failure]:
    """Return what the server has, or why it does not say; one attempt."""
    left = deadline - session.clock()
    if left <= 0:
        return Failure("DEADLINE_EXCEEDED", "no time was left to ask what the server has")
    outcome = yield Send("RepositoryIndex", codec.index_request(), left)
    if isinstance(outcome, Failure):
        return outcome
    try:
        return codec.index(outcome)
    except ServerError as error:
        return Failure("INTERNAL", str(error), error)


def ready_versions(rows: Sequence[IndexRow], model: str) -> tuple[int, ...]:
    """Return the versions of *model* that are ready, in order."""
    return tuple(sorted(row.version for row in rows if row.model == model and row.ready and row.version is not None))


def not_ready_reason(rows: Sequence[IndexRow], model: str, version: int | None) -> str:
    """Return why *model*, or one version of it, is not ready, in the server's words if it has any; empty if it is."""
    known = [row for row in rows if row.model == model]
    if not known:
        others = ", ".join(sorted({repr(row.model) for row in rows if row.ready})) or "none"
        return f"the server does not have it; ready there: {others}"
    ready = ready_versions(rows, model)
    if version in (None, *ready) and ready:
        return ""
    if ready:
        return f"the server does not have this version ready; ready there: {', '.join(map(str, ready))}"
    wanted = (row for row in known if not row.ready and row.version is not None and version in (None, row.version))
    reasons = (f"version {row.version} is not ready{': ' + row.reason if row.reason else ''}" for row in wanted)
    return "; ".join(reasons) or "no version of it is loaded"
