"""A row of the smoke test: what one check found."""

from collections.abc import Callable
from typing import Literal

import attrs

from scripts.host.errors import TaskFailure
from triton_sdk.errors import TritonError

State = Literal["ok", "failed", "skipped"]
# The check that compares numbers.
GOLDEN = "golden, gRPC"


@attrs.frozen(kw_only=True)
class Result:
    """What one check found.

    Attributes:
        check: What was asked.
        subject: Of what: the server, a model, or a version.
        state: How it ended.
        figure: The number or the fact that it rests on, or what was wrong.
        pod: The pod that it was asked in; empty outside of a cluster.
    """

    check: str
    subject: str
    state: State
    figure: str
    pod: str = ""


class Failed(Exception):  # noqa: N818 - an outcome
    """A check found something wrong."""


class Skipped(Exception):  # noqa: N818 - an outcome
    """A check cannot be made here."""


def run(check: str, subject: str, body: Callable[[], str]) -> Result:
    """Turn what *body* returns or raises into a row: a failure of one check never hides the others."""
    try:
        return Result(check=check, subject=subject, state="ok", figure=body())
    except Skipped as reason:
        return Result(check=check, subject=subject, state="skipped", figure=str(reason))
    except (Failed, TaskFailure, TritonError) as reason:
        return Result(check=check, subject=subject, state="failed", figure=str(reason))
    except Exception as reason:  # whoever answers there may answer anything
        return Result(check=check, subject=subject, state="failed", figure=odd(reason))


def odd(reason: Exception) -> str:
    """Return what is said of an answer that no Triton gives, which *reason* tripped over."""
    return f"the answer is none of a Triton's ({type(reason).__name__}: {str(reason)[:200]}): is it one?"
