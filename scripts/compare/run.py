"""Compare two versions that a server serves, on pictures."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import attrs
import numpy as np

from scripts.compare.answers import ask_all
from scripts.compare.comparison import Comparison
from scripts.compare.figures import Figures
from scripts.compare.page import page
from scripts.compare.sides import opened
from scripts.compare.timing import Length, measure
from scripts.compare.verdict import Limits
from scripts.host.errors import TaskFailure
from scripts.packaging.trial.pictures import check, read
from scripts.repository.versions import is_sane_name

# Pictures that the times are measured with.
_TIMED = 16

Counting = AbstractContextManager[Callable[[int, int], None]]


@attrs.frozen(kw_only=True)
class Wanted:
    """What is to be compared.

    Attributes:
        model: The model's name.
        versions: The baseline's number and the candidate's.
        images: A folder of pictures, or of folders named by class, or a CSV list with a class for each.
        labels: Names of the classes; None takes the server's.
        limits: What is allowed.
        callers: How many ask at once for the throughput; 0 leaves it out.
        length: How long is measured.
    """

    model: str
    versions: tuple[int, int]
    images: Path
    labels: Sequence[str] | None
    limits: Limits
    callers: int
    length: Length = attrs.field(factory=Length)

    def __attrs_post_init__(self) -> None:
        if not is_sane_name(self.model):
            raise TaskFailure(
                f"--model {self.model!r} cannot name a model: names have letters, digits, '_', '-' and '.'."
            )
        if self.versions[0] == self.versions[1]:
            raise TaskFailure(
                f"--baseline and --candidate both say version {self.versions[0]}: give two versions to compare."
            )
        try:
            self.images.stat()
        except OSError as error:
            raise TaskFailure(f"--images {self.images} cannot be read: {error.strerror}.") from error
        check(self.images)
        if self.images.is_file() and self.images.suffix.lower() != ".csv":
            raise TaskFailure(
                f"--images {self.images} is neither a folder of pictures nor a .csv file that lists a picture and its "
                "class on each line."
            )


def compare(
    wanted: Wanted,
    grpc: str,
    *,
    server: str,
    notes: Sequence[str],
    digests: Mapping[int, str],
    step: Callable[[str], None],
    counting: Callable[[], Counting],
) -> tuple[Comparison, str]:
    """Return what was found, and the report as HTML.

    Args:
        wanted: What is to be compared.
        grpc: Where the server listens: ``HOST:PORT``.
        server: Which one it is, in words.
        notes: What the reader has to know of the way to it.
        digests: What names the bytes of a version, where that is known.
        step: Called with a line for each stage.
        counting: Gives what is called with the pictures done, and the pictures in all.

    Raises:
        TaskFailure: If the pictures cannot be used, or the server does not serve a version.
        TritonError: If the server fails.
    """
    baseline, candidate = wanted.versions
    with opened(grpc, wanted.model, baseline, candidate, labels=wanted.labels) as (one, other):
        classes = one.contract.classes
        pictures = read(wanted.images, names=one.names, classes=classes)
        if pictures.labels is None and wanted.limits.loss is not None:
            raise TaskFailure(
                "--max-loss is about right answers, and nothing tells the classes of the pictures: put them into "
                "folders named by class, or list them with their classes in a .csv file."
            )
        step(f"Asking versions {baseline} and {candidate} of {wanted.model} about {len(pictures.paths)} pictures")
        with counting() as count:
            pairs = ask_all(pictures, one, other, progress=count)
        places = np.unique(np.linspace(0, len(pairs) - 1, min(_TIMED, len(pairs))).round().astype(int))
        timed = [pairs[place].path for place in places]
        tensors = [(one.tensor(one.pixels(path)), other.tensor(other.pixels(path))) for path in timed]
        timing = measure(one, other, tensors, callers=wanted.callers, length=wanted.length, step=step)
        notes = list(notes)
        if pictures.ordered:
            notes.append(
                "Nothing tells the names of the classes: the folders in the order of their names are taken for them."
            )
        if one.contract.scores == "multi-label":
            notes.append("The model has several labels for a picture: the most probable one is what is compared here.")
        found = Comparison(
            model=wanted.model,
            versions=wanted.versions,
            server=server,
            source=str(wanted.images),
            pairs=pairs,
            figures=Figures.of(pairs, classes=classes),
            timing=timing,
            limits=wanted.limits,
            notes=notes,
            digests=digests,
        )
        return found, page(found, look=one.pixels)
