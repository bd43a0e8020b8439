"""Comparisons made by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.compare.answers import Pair
from scripts.compare.comparison import Comparison
from scripts.compare.figures import Figures
from scripts.compare.timing import Timing
from scripts.compare.verdict import Limits
from triton_sdk.predictions import ClassScore

ROOT = Path("pictures")
NAMES = ("cat", "dog", "<script>alert(1)</script>", "eel", "fox", "gnu", "hen")


def tops(best: int, probability: float, names: Sequence[str]) -> tuple[ClassScore, ...]:
    """Return five classes, *best* first and the others in their order."""
    order = [best, *(index for index in range(len(names)) if index != best)][:5]
    rest = (1 - probability) / 6
    return tuple(
        ClassScore(index=index, label=names[index], probability=probability if index == best else rest)
        for index in order
    )


def pair(
    was: int,
    became: int,
    *,
    label: int | None = None,
    sure: float = 0.8,
    shift: float = 0.1,
    name: str = "a.jpg",
    names: Sequence[str] = NAMES,
) -> Pair:
    """Return what two versions say: the classes *was* and *became*."""
    return Pair(
        path=ROOT / name,
        label=label,
        baseline=tops(was, sure, names),
        candidate=tops(became, 0.7, names),
        kept=0.7 if was == became else 0.05,
        shift=shift,
    )


def comparison(pairs: Sequence[Pair], *, limits: Limits | None = None, callers: int = 8) -> Comparison:
    """Return a comparison of the *pairs*, with a candidate that takes twice the time."""
    steady = np.linspace(9.0, 11.0, 30)
    return Comparison(
        model="pets",
        versions=(1, 2),
        server="a server & co",
        source=str(ROOT),
        pairs=pairs,
        figures=Figures.of(pairs, classes=len(NAMES)),
        timing=Timing(
            latencies_ms=np.stack([steady, 2 * steady]),
            callers=callers,
            rates=np.array([[100.0] * 8, [50.0] * 8]) if callers else np.empty((2, 0)),
        ),
        limits=limits or Limits(),
        notes=("A note.",),
    )
