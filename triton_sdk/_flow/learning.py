"""What a client knows of its model: learnt from the server once, and anew where the model seems to have changed."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from triton_sdk._flow import codec, tensors
from triton_sdk._flow.ask import ask
from triton_sdk._flow.failures import task
from triton_sdk._flow.session import Session
from triton_sdk._flow.steps import Flow
from triton_sdk.contract import ModelContract
from triton_sdk.errors import (
    ConfigurationError,
    ContractError,
    InferenceFailedError,
    InvalidRequestError,
    TransportError,
    TritonError,
)


def learn(session: Session, deadline: float) -> Flow[ModelContract]:
    """Read the contract from the server, and keep it."""
    given, message = session.given_labels, codec.config_request(session.config.model)

    def read(reply: Any) -> ModelContract:
        known = codec.contract(reply)
        if known.model != session.config.model:
            raise ContractError(
                f"Cannot {task(session.config, 'read the configuration of')}: that of model {known.model[:60]!r} came."
            )
        if given is not None and len(given) != known.classes:
            raise ConfigurationError(
                f"There are {len(given)} labels, but model {known.model!r} has {known.classes} classes."
            )
        return known

    known = yield from ask(
        session,
        "ModelConfig",
        message,
        read=read,
        verb="read the configuration of",
        version=None,
        deadline=deadline,
    )
    session.contract, session.labels = known, None
    return known


def class_names(session: Session, known: ModelContract, version: int, deadline: float) -> Flow[Sequence[str] | None]:
    """Return the names of the classes: the user's, or the server's, or None.

    All versions have the same; *version* is asked, for it has just answered, and another one may be broken.
    """
    if session.given_labels is not None or not known.labelled:
        return session.given_labels
    labels = session.labels
    if labels is None:
        message = codec.labels_request(tensors.zero_image(known), contract=known, version=version)
        labels = session.labels = yield from ask(
            session,
            "ModelInfer",
            message,
            read=partial(codec.labels, contract=known),
            verb="read the labels of",
            version=version,
            deadline=deadline,
        )
    return labels


def may_be_stale(error: TritonError) -> bool:
    """Return whether *error* may come from a contract that the server's model no longer has.

    The server refused the request as one that does not fit, or its answer did not fit here, which has no status.
    """
    if isinstance(error, InvalidRequestError):
        return error.code == "INVALID_ARGUMENT"
    return isinstance(error, InferenceFailedError) and error.code is None


def learn_anew(session: Session, known: ModelContract, error: TritonError, deadline: float) -> Flow[ModelContract]:
    """Return what the model takes and gives now.

    Raises:
        TritonError: *error*, which came of what is *known*, if that still holds or nobody answers; else as for `learn`.
    """
    fresh, labels = session.contract, session.labels
    # Another call may have learnt it in the meantime.
    if fresh is None or fresh == known:
        try:
            fresh = yield from learn(session, deadline)
        except TransportError:
            raise error from error.__cause__
        except ContractError:
            # An answer that cannot be read is no proof of a new contract, where the next one cannot be read either.
            if isinstance(error, InferenceFailedError):
                raise error from error.__cause__
            raise
    if fresh == known:
        session.labels = labels
        raise error from error.__cause__
    return fresh
