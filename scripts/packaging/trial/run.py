"""The independent proof: the packaged version on its owner's pictures, prepared as a client prepares them.

Packaging's own proof compares a graph with what packaging believes of it. Here nothing of that is believed: pictures go
through the client's code by what ``config.pbtxt`` says, into the file that is served, and the answers are held against
what the owner knows.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from scripts.graph.scores import as_served
from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from scripts.packaging.build import Built
from scripts.packaging.trial import verdict, ways
from scripts.packaging.trial.judge import Known, Result, Trial, labelled, unlabelled
from scripts.packaging.trial.pictures import Pictures
from scripts.packaging.trial.ways import Way
from scripts.repository import config_pbtxt, golden
from scripts.repository.manifest import Kept, Tried
from scripts.repository.versions import MODEL
from triton_sdk.contract import Framing, ModelContract
from triton_sdk.errors import InvalidImageError
from triton_sdk.images import to_pixels, to_tensor

Progress = Callable[[str], None]

# What other ways are tried on: enough to tell them apart, few enough that a dozen ways take seconds.
_TRIED = 60
# Pictures that are stored as golden data.
_KEPT = 4
_BATCH = 8
# After so many pictures a line of progress is due.
_SAID = 500


def run(built: Built, pictures: Pictures, *, least: float | None, hashes: bool, progress: Progress) -> Trial:
    """Try the built version on *pictures*, and the usual other ways to prepare them.

    Args:
        built: The version before it is published; some pictures join its golden data, unless *hashes*.
        pictures: At least one.
        least: The accuracy, or the share of answers like the owner's, that has to be reached; None asks for more than
            chance.
        hashes: Keep hashes of pictures in the manifest instead of their pixels in the golden data.
        progress: Called with a line for each stage.

    Raises:
        TaskFailure: If a picture cannot be used.
    """
    contract = ModelContract.from_config(
        config_pbtxt.parse_text(config_pbtxt.render(built.contract), where="the configuration")
    )
    progress(f"Asking the packaged version about {len(pictures.paths)} pictures, prepared as clients do it")
    session = Session(built.folder / MODEL)
    framing = contract.framing_for(None)
    count = len(pictures.paths)
    places = _spaced(count, _KEPT)
    sent, given = list[NDArray[np.generic]](), list[NDArray[np.float32]]()
    for place, path in enumerate(pictures.paths):
        tensor = to_tensor(_pixels(path, framing, contract)[np.newaxis], contract)
        given.append(session.scores(tensor))
        if place in places:  # of thousands of pictures only these are held
            sent.append(tensor)
        if place and place % _SAID == 0:
            progress(f"{place} of {count} pictures are answered")
    answers = np.concatenate(given)
    labels = pictures.labels if pictures.outputs is None else np.asarray(pictures.outputs.argmax(axis=1))
    kept = _keep(built, pictures, places, sent, answers, hashes=hashes)
    chosen = _spaced(count, _TRIED)
    if pictures.ordered:
        progress("Nothing tells the names of the classes: the folders in the order of their names are taken for them")
    progress(f"Trying the usual other ways to prepare pictures on {len(chosen)} of them")
    paths = [pictures.paths[place] for place in chosen]
    results = _results(built, contract, paths, labels=None if labels is None else labels[chosen])
    # What the original gives for these pixels is packaging's belief; what counts is what the version answered.
    results[0] = attrs.evolve(results[0], probabilities=answers[chosen])
    tried = Tried(pictures=count, kept=kept)
    if labels is None:
        return unlabelled(tried, results)
    known = Known(answers=answers, labels=labels, outputs=pictures.outputs, chosen=chosen)
    return labelled(
        attrs.evolve(tried, accuracy=known.accuracy, difference=known.difference),
        results,
        known,
        least=least,
        assumed=built.decision.record.assumed(),
    )


def _pixels(path: Path, framing: Framing, contract: ModelContract) -> NDArray[np.uint8]:
    """Return one picture as a client makes it, uint8 ``(height, width, 3)``."""
    try:
        return to_pixels(
            path,
            resize=framing.resize,
            height=contract.height,
            width=contract.width,
            interpolation=framing.interpolation,
            fit=framing.fit,
        )
    except InvalidImageError as error:
        raise TaskFailure(f"{error} Take it out of --images.") from error


def _spaced(count: int, most: int) -> NDArray[np.int64]:
    """Return the places of at most *most* of *count* pictures, spread evenly, so that no class is left out."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _keep(
    built: Built,
    pictures: Pictures,
    places: NDArray[np.int64],
    sent: Sequence[NDArray[np.generic]],
    answers: NDArray[np.float32],
    *,
    hashes: bool,
) -> tuple[Kept, ...]:
    """Store some pictures with the version: their pixels and answers in the golden data, or only hashes; say which."""
    if not hashes:
        path = built.folder / golden.FILE
        before = golden.load(path)
        golden.save(
            golden.Golden(
                input=np.concatenate([before.input, *sent]),
                output=np.concatenate([before.output, answers[places]]),
            ),
            path=path,
        )
    return tuple(
        Kept(
            sha256=pictures.digest(int(place)),
            index=int(answers[place].argmax()),
            probability=float(answers[place].max()),
        )
        for place in places
    )


def _results(
    built: Built, contract: ModelContract, paths: Sequence[Path], *, labels: NDArray[np.int64] | None
) -> list[Result]:
    """Return how each way does: the packaged one first, the usual numbers, and other fits of it and of the best."""
    session, classifier = Session(built.original), built.classifier
    record = built.decision.record
    base = ways.packaged(record.pixels, record.framing)
    # A model that is served one image at a time may know no other batch.
    together = min(_BATCH, contract.max_batch)
    made: dict[Framing, NDArray[np.uint8]] = {}

    def asked(way: Way) -> Result:
        if way.framing not in made:
            made[way.framing] = np.stack([_pixels(path, way.framing, contract) for path in paths])
        images = made[way.framing]
        tensors = [
            way.pixels.tensor(images[at : at + together], layout=classifier.layout, dtype=classifier.numpy_input)
            for at in range(0, len(images), together)
        ]
        scores = np.concatenate([session.scores(tensor) for tensor in tensors])
        with np.errstate(over="ignore", invalid="ignore"):
            served = np.nan_to_num(as_served(scores, kind=classifier.scores))
        return Result(way=way, probabilities=served, size=verdict.spread(tensors))

    def promise(result: Result) -> float:
        if labels is None:
            return verdict.Certainty.of(result.probabilities).told
        return float(-verdict.losses(result.probabilities, labels).mean())

    found = [asked(base), *(asked(way) for way in ways.other_numbers(base, classifier))]
    for way in {id(way): way for way in (base, max(found, key=promise).way)}.values():
        found += [asked(fitted) for fitted in ways.other_fits(way, height=contract.height, width=contract.width)]
    return found
