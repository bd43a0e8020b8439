"""Ask both versions about every picture."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import numpy as np

from scripts.compare.sides import Side
from scripts.host.errors import TaskFailure
from scripts.packaging.trial.pictures import Pictures
from triton_sdk.errors import InvalidImageError
from triton_sdk.predictions import ClassScore, top_k

# Answers that are looked into, as "top 5" says.
FIVE = 5
# While the server works on one picture, others are decoded.
_WORKERS = 4
_SHOWN = 5


@attrs.frozen(kw_only=True)
class Pair:
    """What both versions say about one picture.

    Attributes:
        path: The picture.
        label: Its class, by index; None where nobody told.
        baseline: The five most probable classes of the baseline, the best first; all where there are fewer.
        candidate: Those of the candidate.
        kept: The candidate's probability of the baseline's best class.
        shift: The largest difference of a class's probability.
    """

    path: Path
    label: int | None
    baseline: tuple[ClassScore, ...]
    candidate: tuple[ClassScore, ...]
    kept: float
    shift: float

    @property
    def same(self) -> bool:
        """Whether both have the same best class."""
        return self.baseline[0].index == self.candidate[0].index

    @property
    def near(self) -> bool:
        """Whether the best class of each is among the five best of the other."""
        return _is_in(self.baseline[0].index, self.candidate) and _is_in(self.candidate[0].index, self.baseline)

    @property
    def right(self) -> tuple[bool, bool]:
        """Whether the best class of the baseline is right, and that of the candidate."""
        return self.baseline[0].index == self.label, self.candidate[0].index == self.label

    @property
    def right_in_five(self) -> tuple[bool, bool]:
        """Whether the right class is among the baseline's five, and among the candidate's."""
        return _is_in(self.label, self.baseline), _is_in(self.label, self.candidate)


def ask_all(pictures: Pictures, baseline: Side, candidate: Side, *, progress: Callable[[int, int], None]) -> list[Pair]:
    """Ask both versions about each picture, one at a time, for what shares a batch may move the numbers.

    Args:
        pictures: At least one.
        baseline: One version.
        candidate: The other.
        progress: Called with how many pictures are done, and how many there are.

    Raises:
        TaskFailure: If pictures cannot be used: all of them are named.
        TritonError: If the server fails.
    """
    spoilt = threading.Event()
    labels = [None] * len(pictures.paths) if pictures.labels is None else pictures.labels.tolist()
    same_pixels = baseline.sight == candidate.sight

    def ask(path: Path, label: int | None) -> Pair | InvalidImageError | None:
        try:
            pixels = baseline.pixels(path)
            others = pixels if same_pixels else candidate.pixels(path)
        except InvalidImageError as error:
            spoilt.set()
            return error
        if spoilt.is_set():  # from here on only what else cannot be used is of interest
            return None
        one = baseline.probabilities(baseline.tensor(pixels))
        other = candidate.probabilities(candidate.tensor(others))
        top = top_k(one, k=FIVE, labels=baseline.names)
        return Pair(
            path=path,
            label=label,
            baseline=top,
            candidate=top_k(other, k=FIVE, labels=baseline.names),
            kept=float(other[top[0].index]),
            shift=float(np.abs(one - other).max()),
        )

    pairs, wrong = list[Pair](), list[InvalidImageError]()
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="compare") as pool:
        for done, found in enumerate(pool.map(ask, pictures.paths, labels), 1):
            if isinstance(found, Pair):
                pairs.append(found)
            elif found is not None:
                wrong.append(found)
            progress(done, len(labels))
    if wrong:
        listed = "\n".join(f"  {error}" for error in wrong[:_SHOWN])
        more = f"\n  ... and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise TaskFailure(
            f"{len(wrong)} of {len(labels)} pictures cannot be used. Take them out of --images:\n{listed}{more}"
        )
    return pairs


def _is_in(index: int | None, top: tuple[ClassScore, ...]) -> bool:
    return any(score.index == index for score in top)
