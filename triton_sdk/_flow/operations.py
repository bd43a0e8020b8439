"""What each call of a client does, as generators over requests; see `steps` for what they yield."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray

from triton_sdk._flow import codec, tensors
from triton_sdk._flow.ask import ask
from triton_sdk._flow.failures import Failure, about, judge, subject, task, to_error
from triton_sdk._flow.hooks import observed
from triton_sdk._flow.index import index, not_ready_reason, ready_versions
from triton_sdk._flow.learning import class_names, learn, learn_anew, may_be_stale
from triton_sdk._flow.scores import probabilities
from triton_sdk._flow.session import Session
from triton_sdk._flow.steps import Flow, Joinable, Send, Sleep, Work
from triton_sdk.contract import ModelContract
from triton_sdk.errors import (
    DeadlineExceededError,
    InferenceFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    TransportError,
)
from triton_sdk.images import ImageLike
from triton_sdk.predictions import Inference, Prediction, top_k

# How often wait_ready() asks, and how long it waits for one answer, in seconds.
_FIRST_POLL: Final = 0.05
_LAST_POLL: Final = 1.0
_POLL_TIMEOUT: Final = 5.0


def contract(session: Session, *, deadline: float) -> Flow[ModelContract]:
    """Return what the model takes and gives, asking the server the first time."""
    return session.contract or (yield from learn(session, deadline))


def infer(session: Session, batch: NDArray[Any], *, version: int | None, deadline: float) -> Flow[Inference]:
    """Return the scores of *batch*; if it takes several requests, the version that answers the first answers all."""
    flow = _infer(session, batch, version=version, deadline=deadline)
    images = len(batch) if isinstance(batch, np.ndarray) and batch.ndim else 0
    return observed(flow, session, operation="infer", version=version, images=images, answered=_version_of)


def _infer(session: Session, batch: NDArray[Any], *, version: int | None, deadline: float) -> Flow[Inference]:
    known, fresh = session.contract, False
    if known is None:
        known, fresh = (yield from learn(session, deadline)), True
    try:
        return (yield from _ask_all(session, known, batch, version=version, deadline=deadline))
    except (InvalidRequestError, InferenceFailedError) as error:
        if fresh or not (may_be_stale(error) or tensors.is_another(batch, known)):
            raise
        known = yield from learn_anew(session, known, error, deadline)
    return (yield from _ask_all(session, known, batch, version=version, deadline=deadline))


def _ask_all(
    session: Session, known: ModelContract, batch: NDArray[Any], *, version: int | None, deadline: float
) -> Flow[Inference]:
    """Send *batch* as *known* has it, in as many requests as it takes."""
    tensors.check_batch(batch, known, session.config, version)
    answers: list[Inference] = []
    for part in tensors.split(batch, known):
        asked = answers[0].model_version if answers else version
        message = codec.infer_request(part, contract=known, version=asked)
        answer = yield from ask(
            session,
            "ModelInfer",
            message,
            read=partial(codec.inference, contract=known, images=len(part), version=asked),
            verb="infer with",
            version=asked,
            deadline=deadline,
            joinable=Joinable(part, known, asked),
        )
        answers.append(answer)
    return attrs.evolve(answers[0], scores=np.concatenate([answer.scores for answer in answers]))


@attrs.frozen(kw_only=True, eq=False)
class Found:
    """What a version found in some images.

    Attributes:
        probabilities: float32 ``(n, classes)``.
        model_version: The version that answered, as the server says.
        contract: By which the images were made.
        batch: The tensor that was sent, ``(n, *input.shape)`` of the contract's dtype.
        seconds: From sending it to the answer, retries and waits included.
    """

    probabilities: NDArray[np.float32]
    model_version: int
    contract: ModelContract
    batch: NDArray[Any]
    seconds: float


def find(
    session: Session,
    images: Sequence[ImageLike],
    *,
    version: int | None,
    deadline: float,
    first: int | None = None,
) -> Flow[Found]:
    """Return what the model finds in *images*; *first* is the place of the first one in the user's list.

    Versions may differ in how images are resized. Where the user names none, the images are made for the one that
    answered last; should another one answer, they are made again for that one, and its second answer counts.
    """
    known, fresh, begin = session.contract, False, session.clock()
    check_time = partial(_check_time, session, version, begin, deadline)
    if known is None or (version is not None and version not in session.versions):
        known, fresh = (yield from learn(session, deadline)), True
    images = yield Work(partial(tensors.rereadable, images, first=first, check_time=check_time))
    attempt = partial(_attempt, session, images, version=version, deadline=deadline, first=first, check_time=check_time)
    try:
        return (yield from attempt(known=known, fresh=fresh))
    except (InvalidRequestError, InferenceFailedError) as error:
        if fresh or not may_be_stale(error):
            raise
        known = yield from learn_anew(session, known, error, deadline)
    return (yield from attempt(known=known, fresh=True))


def _attempt(
    session: Session,
    images: Sequence[ImageLike],
    *,
    known: ModelContract,
    fresh: bool,
    version: int | None,
    deadline: float,
    first: int | None,
    check_time: Callable[[], object],
) -> Flow[Found]:
    """Find what is in *images* by the contract that is *known*; *fresh* is whether this call has asked for it."""
    expected = version or session.latest
    while True:
        framing = known.framing_for(expected)
        prepare = partial(
            tensors.prepare,
            images,
            contract=known,
            framing=framing,
            first=first,
            decode=session.config.decode,
            orient=session.config.orient,
        )
        batch = yield Work(partial(prepare, check_time=check_time))
        sent = session.clock()
        answer = yield from _ask_all(session, known, batch, version=version, deadline=deadline)
        taken = session.clock() - sent
        if answer.model_version not in session.versions:
            # A version that is new to this client may have brought settings of its own.
            known = known if fresh else (yield from learn(session, deadline))
            session.versions |= {answer.model_version}
        if version is None:
            session.latest = answer.model_version
        if version is not None or known.framing_for(answer.model_version) == framing:
            break
        version = expected = answer.model_version
    return Found(
        probabilities=probabilities(session, answer, known),
        model_version=answer.model_version,
        contract=known,
        batch=batch,
        seconds=taken,
    )


def _check_time(session: Session, version: int | None, begin: float, deadline: float) -> None:
    """Raise if the time is up: a picture's turn may come late, where many wait, and its work would then be in vain."""
    if session.clock() < deadline:
        return
    failure = Failure("DEADLINE_EXCEEDED", "no time was left to prepare the images")
    spent = session.clock() - begin
    raise to_error([failure], session.config, verb="infer with", version=version, attempts=0, seconds=spent)


def describe(session: Session, found: Found, *, model: str, top: int, deadline: float) -> Flow[list[Prediction]]:
    """Name the *top* classes of what was found, as predictions of *model*."""
    labels = yield from class_names(session, found.contract, found.model_version, deadline)
    return [
        Prediction(
            top=top_k(row, k=top, labels=labels),
            model=model,
            model_version=found.model_version,
            probabilities=row,
            labels=labels,
        )
        for row in found.probabilities
    ]


def versions(session: Session, *, deadline: float) -> Flow[tuple[int, ...]]:
    """Return the model's versions that are ready, in order; none where the model is there but not loaded."""
    verb, model = "list the versions of", session.config.model

    def read(reply: Any) -> tuple[int, ...]:
        rows = codec.index(reply)
        if not any(row.model == model for row in rows):
            raise ModelNotFoundError(f"Cannot {task(session.config, verb)}: {not_ready_reason(rows, model, None)}.")
        return ready_versions(rows, model)

    message = codec.index_request()
    return (yield from ask(session, "RepositoryIndex", message, read=read, verb=verb, version=None, deadline=deadline))


def ready(session: Session, *, version: int | None, deadline: float) -> Flow[bool]:
    """Return whether the model, or one version of it, can be asked now; no answer means no."""
    outcome = yield from _poll(session, version, deadline)
    if isinstance(outcome, Failure):
        _raise_if_hopeless(session, outcome, version)
        return False
    return bool(outcome)


def wait_ready(session: Session, *, version: int | None, deadline: float, timeout: float) -> Flow[None]:
    """Ask again and again, ever less often, until the model, or one version of it, can be asked."""
    pause, reason, polls = _FIRST_POLL, "", 0
    last: Failure | None = None
    while session.clock() < deadline:
        polls += 1
        outcome = yield from _poll(session, version, deadline)
        if outcome is True:
            return
        if isinstance(outcome, Failure):
            _raise_if_hopeless(session, outcome, version)
            # That the last question ran out of time says less than the answer before it.
            if outcome.code != "DEADLINE_EXCEEDED" or not reason:
                last, reason = outcome, str(outcome)
        else:
            rows = yield from index(session, deadline=deadline)
            listed = "" if isinstance(rows, Failure) else not_ready_reason(rows, session.config.model, version)
            last, reason = None, listed or "the server says that it is not ready"
        # Not always the same wait, or a fleet of clients would ask in step.
        yield Sleep(max(0.0, min(pause * (0.5 + session.uniform() / 2), deadline - session.clock())))
        pause = min(2 * pause, _LAST_POLL)
    code, cause = (last.code, last.cause) if last else (None, None)
    raise about(
        DeadlineExceededError(f"Gave up waiting for {subject(session.config, version)} after {timeout:g} s: {reason}."),
        session.config,
        version=version,
        attempts=polls,
        code=code,
    ) from cause


def _poll(session: Session, version: int | None, deadline: float) -> Flow[bool | Failure]:
    timeout = min(deadline - session.clock(), _POLL_TIMEOUT)
    if timeout <= 0:
        return Failure("DEADLINE_EXCEEDED", "no time was left to ask")
    outcome = yield Send("ModelReady", codec.ready_request(session.config.model, version), timeout)
    return outcome if isinstance(outcome, Failure) else bool(outcome.ready)


def _raise_if_hopeless(session: Session, failure: Failure, version: int | None) -> None:
    """Raise unless time may mend *failure*: a missing model may yet be loaded, but refused credentials stay refused."""
    if not issubclass(judge(failure).error, TransportError | ModelNotFoundError):
        verb = "ask for the readiness of"
        raise to_error([failure], session.config, verb=verb, version=version, attempts=1, seconds=0.0)


def _version_of(answer: Inference) -> int:
    return answer.model_version
