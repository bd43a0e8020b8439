"""Which versions a call asks, one after the other or one beside the other, as generators over requests."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeAlias, cast

import attrs
import numpy as np
from PIL import Image

from triton_sdk._flow import operations, tensors
from triton_sdk._flow.failures import for_each
from triton_sdk._flow.hooks import observed
from triton_sdk._flow.operations import Found
from triton_sdk._flow.route import Route, route
from triton_sdk._flow.scores import probabilities
from triton_sdk._flow.session import Budget, Session
from triton_sdk._flow.steps import Flow, Spawn, Work
from triton_sdk._log import LOG
from triton_sdk._pixels import sources
from triton_sdk.config import RetryPolicy
from triton_sdk.contract import ModelContract
from triton_sdk.errors import (
    ClientClosedError,
    ConfigurationError,
    InferenceFailedError,
    InvalidImageError,
    ModelNotFoundError,
    ServerUnavailableError,
    TritonError,
)
from triton_sdk.images import ImageLike
from triton_sdk.predictions import Prediction
from triton_sdk.traffic import TrafficPlan
from triton_sdk.versions import Key, Shadow, ShadowReport, Version

# How long a version that is not there or not ready is passed over, where there is another one. To ask it costs a
# tensor, some requests and, where it could not be loaded, retries that other calls may need.
_MISSING_S: Final = 1.0
_ONCE: Final = RetryPolicy(max_attempts=1, budget=0, burst=0)

# Takes what asks about images, and images.
Around: TypeAlias = Callable[[Callable[[Sequence[ImageLike]], Flow["_Answer"]], Sequence[ImageLike]], Flow["_Answer"]]


def predict(
    session: Session,
    images: Sequence[ImageLike],
    *,
    version: Version,
    key: Key | None,
    top: int,
    deadline: float,
    first: int | None = None,
    around: Around | None = None,
) -> Flow[list[Prediction]]:
    """Return a prediction for each of *images*, all from the one version that *version* and *key* decide on.

    Args:
        session: What the client's calls share.
        images: At least one.
        version: Whom to ask.
        key: Whose call it is; None draws.
        top: How many classes to name for each.
        deadline: When the clock reads this, the call is over.
        first: The place of the first image in the user's list; None where there is only one.
        around: Asks about *images* what it is given, and may then ask about some of them only; it is one call for all.

    Raises:
        ConfigurationError: If *version* or *key* cannot be used.
        TritonError: As for `operations.find`; of several versions, the error of the one that was asked last.
    """
    if isinstance(version, TrafficPlan):
        if version.model != session.config.model:
            raise ConfigurationError(
                f"The traffic plan is for model {version.model!r}, and the client asks {session.config.model!r}."
            )
        if version._followed.begin():
            yield Work(version._followed.wait)
    chosen = route(version, key=key, uniform=session.uniform)
    answer = partial(_answer, session, chosen=chosen, deadline=deadline, first=first)
    found, predictions, images = yield from observed(
        answer(images) if around is None else around(answer, images),
        session,
        operation="predict",
        version=chosen.versions[0],
        images=len(images),
        answered=lambda answer: answer.found.model_version,
        then=partial(_described, session, top=top, deadline=deadline),
    )
    # A version is not compared with itself.
    if chosen.shadow and found.model_version != chosen.shadow.candidate:
        yield from _shadow(session, chosen, chosen.shadow, images, found, predictions, key)
    return list(predictions)


class _Answer(NamedTuple):
    """What was found in some images, in words once it is described; and the images, to be looked at again."""

    found: Found
    predictions: Sequence[Prediction]
    images: Sequence[ImageLike]


def _answer(
    session: Session, images: Sequence[ImageLike], chosen: Route, *, deadline: float, first: int | None
) -> Flow[_Answer]:
    if (len(chosen.versions) > 1 or chosen.shadow) and any(map(tensors.is_file, images)):
        images = yield Work(partial(tensors.rereadable, images, first=first))
    found = yield from _find(session, images, chosen, chosen.versions, deadline=deadline, first=first)
    return _Answer(found, (), images)


def _described(session: Session, answer: _Answer, *, top: int, deadline: float) -> Flow[_Answer]:
    own, found = session.config.model, answer.found
    asked = session if found.contract.model == own else session.of_candidate()
    # Whoever asks for the model need not know under which other name its candidate is served.
    predictions = yield from operations.describe(asked, found, model=own, top=top, deadline=deadline)
    return answer._replace(predictions=predictions)


def _find(
    session: Session,
    images: Sequence[ImageLike],
    chosen: Route,
    versions: Sequence[int | None],
    *,
    deadline: float,
    first: int | None,
) -> Flow[Found]:
    """Ask the first of *versions*, and the others, one after the other, where it is not there or fails."""
    version, *others = versions
    asked, noted = _home(session, chosen, version), chosen.outcomes
    if others and asked.missing.get(version, -math.inf) > session.clock():
        if noted and version is not None:
            noted.passed_over(version)
        return (yield from _find(session, images, chosen, others, deadline=deadline, first=first))
    try:
        found = yield from operations.find(asked, images, version=version, deadline=deadline, first=first)
    except TritonError as error:
        final = chosen.planned and isinstance(error, InferenceFailedError)
        others = [] if final else (yield from _worth_asking(session, error, others, deadline))
        if not others:
            if noted:
                noted.failed(version, error)
            raise
        if noted and version is not None:
            noted.passed_over(version)
        if isinstance(error, ModelNotFoundError | ServerUnavailableError):
            asked.missing = {**asked.missing, version: session.clock() + _MISSING_S}
        LOG.info("Asking version %s, for version %s failed: %s", others[0], version, error)
        try:
            return (yield from _find(session, images, chosen, others, deadline=deadline, first=first))
        except TritonError as last:
            last.add_note(f"Version {version} was asked before: {error}")
            raise
    if noted:
        noted.answered(found.model_version, len(images), found.seconds)
    return found


def _home(session: Session, chosen: Route, version: int | None) -> Session:
    """Return what the calls share of the model as which *version* is asked."""
    return session.of_candidate() if version is not None and version == chosen.candidate else session


def _worth_asking(
    session: Session, error: TritonError, versions: list[int | None], deadline: float
) -> Flow[list[int | None]]:
    """Return those of *versions* that may answer where one failed with *error*."""
    if isinstance(error, ModelNotFoundError | InferenceFailedError):
        return versions
    if isinstance(error, ServerUnavailableError):
        # Either this version or the whole server. A small question tells which, and does not burden a sick server.
        for place, version in enumerate(versions):
            if (yield from operations.ready(session, version=version, deadline=deadline)):
                return versions[place:]
    return []


def _shadow(
    session: Session,
    chosen: Route,
    shadow: Shadow,
    images: Sequence[ImageLike],
    found: Found,
    predictions: Sequence[Prediction],
    key: Key | None,
) -> Flow[None]:
    """Begin to ask the candidate; nothing is waited for but a copy of the images, where the tensor may not serve."""
    home = _home(session, chosen, shadow.candidate)
    known = found.contract if home is session else home.contract
    kept: Sequence[ImageLike] | None = None
    if known is None or shadow.candidate not in home.versions or not _takes(known, shadow.candidate, found):
        kept = yield Work(partial(_copies, images))
        if not kept:
            return
    if not (yield Spawn(_mirror(home, shadow, kept, found, predictions, key))):
        LOG.debug("Version %d was not asked beside %d: too many are under way", shadow.candidate, found.model_version)


def _takes(known: ModelContract, version: int, found: Found) -> bool:
    """Return whether *version* of a model takes the tensor that was made for another one."""
    ours = found.contract
    alike = [(one.input, one.layout, one.mean, one.std) for one in (ours, known)]
    return alike[0] == alike[1] and known.framing_for(version) == ours.framing_for(found.model_version)


def _mirror(
    session: Session,
    shadow: Shadow,
    images: Sequence[ImageLike] | None,
    found: Found,
    predictions: Sequence[Prediction],
    key: Key | None,
) -> Flow[None]:
    """Ask the candidate about *images*, or where there are none about the tensor that was sent; report what it says."""
    # One attempt, and a store of its own: a sick candidate takes no retry from the callers. It is none of their calls,
    # so the hooks are not told.
    config = attrs.evolve(session.config, retry=_ONCE)
    side = attrs.evolve(session, config=config, budget=Budget(_ONCE), hooks=())
    begin = side.clock()
    deadline, top = begin + shadow.timeout, len(predictions[0].top)
    report: Callable[..., ShadowReport] = partial(ShadowReport, primary_latency_s=found.seconds, key=key)
    try:
        if images is None:
            answer = yield from operations.infer(side, found.batch, version=shadow.candidate, deadline=deadline)
            known = side.contract or found.contract
            theirs = attrs.evolve(
                found,
                contract=known,
                probabilities=probabilities(side, answer, known),
                model_version=answer.model_version,
                seconds=side.clock() - begin,
            )
        else:
            theirs = yield from operations.find(side, images, version=shadow.candidate, deadline=deadline)
        described = yield from operations.describe(side, theirs, model=side.config.model, top=top, deadline=deadline)
    except ClientClosedError:
        return
    except TritonError as error:
        failed = partial(report, candidate=None, same_top1=None, largest_difference=None)
        reports = [
            failed(primary=ours, candidate_latency_s=side.clock() - begin, error=own)
            for ours, own in zip(predictions, for_each(error, len(predictions)), strict=True)
        ]
    else:
        if side.contract != session.contract:
            session.contract, session.labels = side.contract, side.labels
        session.versions |= {shadow.candidate}
        differences = np.abs(theirs.probabilities - found.probabilities).max(axis=1)
        reports = [
            report(
                primary=ours,
                candidate=other,
                same_top1=ours.index == other.index,
                largest_difference=float(difference),
                candidate_latency_s=theirs.seconds,
                error=None,
            )
            for ours, other, difference in zip(predictions, described, differences, strict=True)
        ]
    yield Work(partial(_tell, shadow.report, reports))


def _tell(listener: Callable[[ShadowReport], object], reports: Sequence[ShadowReport]) -> None:
    for report in reports:
        try:
            listener(report)
        except Exception:
            LOG.exception("The report function of a Shadow failed")


def _copies(images: Sequence[ImageLike]) -> list[ImageLike]:
    """Return *images* as they are now, or none where one cannot be had any more.

    The caller may delete a file, close a picture or write into an array while the candidate is asked.
    """
    try:
        return [_copy(image) for image in images]
    except (InvalidImageError, OSError, ValueError):
        LOG.debug("The images of a call were gone before a candidate could be asked about them", exc_info=True)
        return []


def _copy(image: ImageLike) -> ImageLike:
    if isinstance(image, np.ndarray | Image.Image):
        return cast(ImageLike, image.copy())
    return image if isinstance(image, bytes) else sources.read(image)[1]
