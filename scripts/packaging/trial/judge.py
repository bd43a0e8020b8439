"""Judge what the owner's pictures showed: what to tell the owner, and whether the version may be published."""

import math
from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from scripts.packaging.trial import verdict
from scripts.packaging.trial.ways import Way
from scripts.repository.manifest import Tried

# Another answer than the owner's, as the mean over the pictures of the largest difference of a probability; integer
# kernels of another processor moved single ones by 0.09.
_FAR = 0.1
_ALL_THE_SAME = "If the version shall be published all the same, give --min-accuracy 0."
# A result that chance alone gives this often keeps a version from being published; less often does, where another way
# does better.
_PLAUSIBLE = 0.05
# Ways that a message names.
_NAMED = 3
# Rows of the table: the best ways, and those that the pictures do not tell from them.
_SHOWN = 5


@attrs.frozen(kw_only=True, eq=False)
class Result:
    """How one way did.

    Attributes:
        way: The way.
        probabilities: What the model answered to the pictures that every way was tried on, float32 ``(n, classes)``.
        size: Root of the mean square of the model's inputs.
    """

    way: Way
    probabilities: NDArray[np.float32]
    size: float


@attrs.frozen(kw_only=True)
class Trial:
    """What the pictures said.

    Attributes:
        tried: For the manifest.
        found: The result in a line.
        rows: A table for people: a way, what it got, and its flags.
        warning: What the owner should look at; empty where there is nothing.
        refusal: Why the version must not be published; empty where it may be.
    """

    tried: Tried
    found: str
    rows: list[tuple[str, str, str]]
    warning: str
    refusal: str


def labelled(
    tried: Tried,
    results: Sequence[Result],
    *,
    answers: NDArray[np.float32],
    labels: NDArray[np.int64],
    outputs: NDArray[np.float32] | None,
    chosen: NDArray[np.int64],
    least: float | None,
) -> Trial:
    """Judge by what the owner knows of the pictures: their classes, or his own program's answers."""
    what = "right" if outputs is None else "as yours"
    known = labels[chosen]
    rights = [verdict.right(result.probabilities, known) for result in results]
    if outputs is None:
        losses = [verdict.losses(result.probabilities, known) for result in results]
    else:
        losses = [np.abs(result.probabilities.astype(np.float64) - outputs).max(axis=1) for result in results]
    order = sorted(range(len(results)), key=lambda at: (-rights[at].sum(), losses[at].mean()))
    best = order[0]
    # What the pictures do not tell from the best: neither more often right nor nearer by more than chance.
    like = [
        at
        for at in order
        if not verdict.better(rights[best], rights[at], of=len(results)) and not verdict.apart(losses[best], losses[at])
    ]
    rows = [
        (results[at].way.name, f"{rights[at].mean():.0%} {what}", results[at].way.flags)
        for at in [*(at for at in dict.fromkeys([*order[:_SHOWN], *like]) if at), 0]
    ]
    accuracy = float(verdict.right(answers, labels).mean())
    by_chance = verdict.chance(answers, labels)
    found = f"Of {len(labels)} pictures {accuracy:.0%} are {what}"
    far = False
    if outputs is not None:
        found += f"; a probability differs from yours by at most {tried.difference:.2g}"
        far = bool(losses[0].mean() > _FAR)
    if 0 in like:
        telling = verdict.chance(results[best].probabilities, known) <= verdict.SIGNIFICANT
        advice = _cannot_tell([results[at].way for at in like if at], telling=telling)
    else:
        advice = _advice([results[at].way for at in like], packaged=rows[-1][1], best=rows[0][1])
    warning = refusal = ""
    if least is not None and accuracy < least:
        refusal = f"{found}, where --min-accuracy asks for {least:.0%}. {advice}"
    elif (
        least is None and by_chance > (_PLAUSIBLE if 0 in like else verdict.SIGNIFICANT) and verdict.could_tell(labels)
    ):
        refusal = f"{found}, which is no better than chance. {advice} {_ALL_THE_SAME}"
    elif least is None and far:
        refusal = f"{found}, and more than {_FAR:g} is another answer. {advice} {_ALL_THE_SAME}"
    elif by_chance > verdict.SIGNIFICANT:
        warning = f"{found}: cannot tell whether that is more than chance. Give more pictures, of at least two classes"
    elif 0 not in like:
        warning = f"{found}, and another way to prepare them does better. {advice}"
    elif len(like) > 1:
        warning = f"{found}. {advice}"
    return Trial(tried=tried, found=found, rows=rows, warning=warning, refusal=refusal)


def _advice(like: Sequence[Way], *, packaged: str, best: str) -> str:
    """Name the best way, its flags, and what the pictures do not tell from it."""
    text = f"With {like[0].name}: {best}; as packaged: {packaged}. Package it with {like[0].flags}."
    return text if len(like) == 1 else f"{text} The pictures cannot tell it from: {_listed(like[1:])}."


def _cannot_tell(others: Sequence[Way], *, telling: bool) -> str:
    """Say that nothing usual does better than the packaged way, and what the pictures do not tell from it."""
    if telling and others:
        return f"The pictures cannot tell the packaged way from: {_listed(others)}. If in doubt, give more of them."
    if telling:
        return "None of the usual other ways to prepare pictures does better."
    return (
        "Cannot tell why: none of the usual ways to prepare pictures does better than chance. Look at the order of the "
        "names (--labels), at the classes of the pictures, and at what the scores are (--scores)."
    )


def _listed(ways: Sequence[Way]) -> str:
    named = "; ".join(f"{way.name} ({way.flags})" for way in ways[:_NAMED])
    return named if len(ways) <= _NAMED else f"{named}; and {len(ways) - _NAMED} more that the table shows"


def unlabelled(tried: Tried, results: Sequence[Result]) -> Trial:
    """Judge by how certain the model is of different things, since nobody told the classes."""
    found = [verdict.Certainty.of(result.probabilities) for result in results]
    pictures, classes = results[0].probabilities.shape
    most = math.log(max(min(pictures, classes), 2))
    surer = [
        at
        for at in range(1, len(results))
        if verdict.far_more_certain(found[at], found[0], most=most, larger=results[at].size > 2 * results[0].size)
    ]
    order = sorted(range(len(results)), key=lambda at: -found[at].told)
    rows = [
        (results[at].way.name, f"{found[at].top:.0%} sure", results[at].way.flags)
        for at in [*(at for at in order[:_SHOWN] if at), 0]
    ]
    warning = ""
    if surer:
        best = max(surer, key=lambda at: found[at].told)
        warning = (
            f"With {results[best].way.name} the model is far more certain: {found[best].top:.0%} on average, as "
            f"packaged {found[0].top:.0%}. If that is how it was trained, package it with "
            f"{results[best].way.flags}. Pictures with their classes would prove it"
        )
    told = f"On {pictures} pictures the model is {found[0].top:.0%} sure on average; nothing told their classes"
    return Trial(tried=tried, found=told, rows=rows, warning=warning, refusal="")
