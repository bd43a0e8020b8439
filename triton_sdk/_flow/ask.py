"""How one request is made: sent, sent again where that may help, and in the end answered or given up."""

from typing import Any

from google.protobuf.message import Message

from triton_sdk._flow.failures import Failure, judge, to_error
from triton_sdk._flow.index import index, not_ready_reason
from triton_sdk._flow.session import Session
from triton_sdk._flow.steps import Flow, Joinable, Send, Sleep
from triton_sdk._log import LOG
from triton_sdk.errors import ModelNotFoundError


def ask(
    session: Session,
    method: str,
    message: Message | bytes,
    *,
    task: str,
    version: int | None,
    deadline: float,
    joinable: Joinable | None = None,
) -> Flow[Any]:
    """Send a request, again where that may help, and return the reply.

    Args:
        session: Whose policy and budget hold.
        method: Name of the remote procedure.
        message: What to send.
        task: What it is for, with the server's address: ``"infer with model 'resnet50' at localhost:8001"``.
        version: The version that is asked for.
        deadline: When the clock reads this, the call is over.
        joinable: What is in it, where it may travel with others in one request.

    Raises:
        TransportError: If no answer came.
        ServerError: If the server refused.
    """
    policy, begin = session.config.retry, session.clock()
    session.budget.earn()
    failures: list[Failure] = []
    while True:
        left = deadline - session.clock()
        if left <= 0:
            failures.append(Failure("DEADLINE_EXCEEDED", "no time was left to send the request"))
            break
        outcome = yield Send(method, message, left, joinable=joinable)
        if not isinstance(outcome, Failure):
            return outcome
        failures.append(outcome)
        if not judge(outcome).retry or len(failures) >= policy.max_attempts:
            break
        # Beyond 2**60 no cap is left to reach, and beyond 2**1023 no float.
        wait = session.uniform() * min(policy.cap, policy.base * 2 ** min(len(failures) - 1, 60))
        if session.clock() + wait >= deadline or not session.budget.spend():
            break
        LOG.info("Cannot %s: %s. Trying again in %.0f ms.", task, outcome.code, wait * 1000)
        yield Sleep(wait)
    if failures[-1].code == "NOT_FOUND" and (not judge(failures[-1]).retry or session.budget.spend()):
        # Triton says only that it is unknown; its index says what is known.
        listed = yield from index(session, deadline=deadline)
        reason = "" if isinstance(listed, Failure) else not_ready_reason(listed, session.config.model, version)
        if reason:
            raise ModelNotFoundError(f"Cannot {task}: {reason}.") from failures[-1].cause
    raise to_error(failures, task=task, seconds=session.clock() - begin)
