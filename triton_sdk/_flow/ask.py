"""How one request is made: sent, sent again where that may help, and in the end answered or given up."""

from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from triton_sdk._flow.failures import Failure, about, judge, task, to_error
from triton_sdk._flow.index import index, not_ready_reason
from triton_sdk._flow.session import Session
from triton_sdk._flow.steps import Flow, Joinable, Send, Sleep
from triton_sdk._log import LOG
from triton_sdk.errors import ModelNotFoundError, TritonError

_T = TypeVar("_T")


def ask(
    session: Session,
    method: str,
    message: Message | bytes,
    *,
    read: Callable[[Any], _T],
    verb: str,
    version: int | None,
    deadline: float,
    joinable: Joinable | None = None,
) -> Flow[_T]:
    """Send a request, again where that may help, and return what *read* makes of the reply.

    Args:
        session: Whose policy and budget hold.
        method: Name of the remote procedure.
        message: What to send.
        read: Reads the reply; its errors tell whom they are about.
        verb: What it is for, in front of the model's name: ``"infer with"``.
        version: The version that is asked for.
        deadline: When the clock reads this, the call is over.
        joinable: What is in it, where it may travel with others in one request.

    Raises:
        TransportError: If no answer came.
        ServerError: If the server refused.
        TritonError: If *read* raises one.
    """
    config, begin = session.config, session.clock()
    policy = config.retry
    session.budget.earn()
    failures: list[Failure] = []
    attempts = 0
    while True:
        left = deadline - session.clock()
        if left <= 0:
            failures.append(Failure("DEADLINE_EXCEEDED", "no time was left to send the request"))
            break
        attempts += 1
        outcome = yield Send(method, message, left, joinable=joinable)
        if not isinstance(outcome, Failure):
            try:
                return read(outcome)
            except TritonError as error:
                about(error, config, version=version, attempts=attempts)
                raise
        failures.append(outcome)
        if not judge(outcome).retry or attempts >= policy.max_attempts:
            break
        # Beyond 2**60 no cap is left to reach, and beyond 2**1023 no float.
        wait = session.uniform() * min(policy.cap, policy.base * 2 ** min(attempts - 1, 60))
        if session.clock() + wait >= deadline or not session.budget.spend():
            break
        LOG.info("Cannot %s: %s. Trying again in %.0f ms.", task(config, verb, version), outcome.code, wait * 1000)
        yield Sleep(wait)
    last = failures[-1]
    if last.code == "NOT_FOUND" and (not judge(last).retry or session.budget.spend()):
        # Triton says only that it is unknown; its index says what is known.
        listed = yield from index(session, deadline=deadline)
        reason = "" if isinstance(listed, Failure) else not_ready_reason(listed, config.model, version)
        if reason:
            raise about(
                ModelNotFoundError(f"Cannot {task(config, verb, version)}: {reason}."),
                config,
                version=version,
                attempts=attempts,
                code=last.code,
            ) from last.cause
    spent = session.clock() - begin
    raise to_error(failures, config, verb=verb, version=version, attempts=attempts, seconds=spent)
