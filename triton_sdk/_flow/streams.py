"""What a batch of a stream comes to: for each image its own prediction or its own error."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from triton_sdk._flow import tensors
from triton_sdk._flow.failures import for_each
from triton_sdk._flow.session import Session
from triton_sdk._flow.steps import Flow, Work
from triton_sdk.errors import ClientClosedError, ConfigurationError, ContractError, InvalidImageError, TritonError
from triton_sdk.images import ImageLike
from triton_sdk.predictions import Prediction

_T = TypeVar("_T")


def outcomes(
    session: Session, images: Sequence[ImageLike], predict: Callable[..., Flow[list[Prediction]]]
) -> Flow[list[Prediction | TritonError]]:
    """Return for each of *images* what *predict*, given images and ``around=``, gives, or why there is nothing.

    Images that cannot be used are found one by one only where the batch is refused, for most batches have none; the
    rest is then predicted without them, as the same call. What concerns not these images but every call is raised.
    """
    images = yield Work(partial(_read, images))
    results: list[Prediction | TritonError] = [_UNKNOWN] * len(images)
    places = []
    for place, image in enumerate(images):
        if isinstance(image, InvalidImageError):
            results[place] = image
        else:
            places.append(place)

    def sifted(answer: Callable[[Sequence[ImageLike]], Flow[_T]], given: Sequence[ImageLike]) -> Flow[_T]:
        nonlocal places
        try:
            return (yield from answer(given))
        except InvalidImageError:
            reasons: list[InvalidImageError | None] = yield Work(partial(_sift, session, given))
            for place, reason in zip(places, reasons, strict=True):
                results[place] = reason or _UNKNOWN
            places = [place for place, reason in zip(places, reasons, strict=True) if reason is None]
            if not places:
                raise
        return (yield from answer([images[place] for place in places]))

    if places:
        try:
            found: Sequence[Prediction | TritonError] = yield from predict(
                [images[place] for place in places], around=sifted
            )
        except (ClientClosedError, ConfigurationError, ContractError):
            raise
        except TritonError as error:
            found = for_each(error, len(places)) if places else ()
        for place, result in zip(places, found, strict=True):
            results[place] = result
    return results


# Stands where no result is yet.
_UNKNOWN = TritonError()


def _read(images: Sequence[ImageLike]) -> list[ImageLike | InvalidImageError]:
    """Return *images* with the bytes in place of open files, or why one cannot be read."""
    read: list[ImageLike | InvalidImageError] = []
    for image in images:
        try:
            read += tensors.rereadable([image], first=None)
        except InvalidImageError as error:
            read.append(error)
    return read


def _sift(session: Session, images: Sequence[ImageLike]) -> list[InvalidImageError | None]:
    """Return for each image why it cannot be used, or None."""
    reasons: list[InvalidImageError | None] = []
    for image in images:
        reason = None
        if session.contract is not None:
            known, config = session.contract, session.config
            framing = known.framing_for(session.latest)
            try:
                tensors.prepare(
                    [image], contract=known, framing=framing, first=None, decode=config.decode, orient=config.orient
                )
            except InvalidImageError as error:
                reason = error
        reasons.append(reason)
    return reasons
