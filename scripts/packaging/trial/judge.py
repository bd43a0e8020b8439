"""Judge what the owner's pictures showed: what to tell the owner, and whether the version may be published."""

import math
from collections.abc import Collection, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from scripts.packaging.trial import verdict
from scripts.packaging.trial.ways import Way
from scripts.repository.manifest import Tried

# Another answer than the owner's, as the mean over the pictures of the largest difference of a probability; integer
# kernels of another processor moved single ones by 0.09.
_FAR = 0.1
_ALL_THE_SAME = "If you want to publish the version anyway, give --min-accuracy 0."
# A result that chance alone gives this often keeps a version from being published; less often does, where another way
# does better.
_PLAUSIBLE = 0.05
# Two programs that prepare pictures alike differ by less in a probability, also where another library resizes.
_NEAR = 0.02
# What two ways may differ by, and how many times, before numbers of the owner's program tell them apart.
_ROUNDING, _TIMES = 1e-3, 10
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


@attrs.frozen(kw_only=True, eq=False)
class Known:
    """What the owner knows of the pictures, and what the served version answered.

    Attributes:
        answers: Of the served version, to all pictures, float32 ``(n, classes)``.
        labels: The right classes, or the best ones of the owner's own program.
        outputs: What that program gave, float32 ``(n, classes)``; None where only classes are known.
        chosen: The places of the pictures that every way was tried on.
    """

    answers: NDArray[np.float32]
    labels: NDArray[np.int64]
    outputs: NDArray[np.float32] | None
    chosen: NDArray[np.int64]

    @property
    def word(self) -> str:
        """What a good answer is called."""
        return "right" if self.outputs is None else "as yours"

    @property
    def accuracy(self) -> float:
        """The share of answers that are the owner's."""
        return float(verdict.right(self.answers, self.labels).mean())

    @property
    def difference(self) -> float | None:
        """How far a probability is from the owner's, at most."""
        return None if self.outputs is None else float(np.abs(self.answers.astype(np.float64) - self.outputs).max())

    @property
    def near(self) -> bool:
        """Whether the owner's program gives the same numbers, which is more than the labels of few pictures prove."""
        return self.difference is not None and self.difference <= _NEAR

    @property
    def nearer(self) -> str:
        """What the best of ways with equal shares has over the others."""
        return (
            "the right classes are more probable" if self.outputs is None else "the probabilities are nearer to yours"
        )

    def apart(self, best: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
        """Return whether the losses of the best way and of another are apart by more than chance.

        Numbers of the owner's own program are no matter of chance: who prepares pictures alike gets them again.
        """
        if self.outputs is not None and other.mean() > max(_ROUNDING, _TIMES * best.mean()):
            return True
        return verdict.apart(best, other)

    def rights(self, result: Result) -> NDArray[np.bool_]:
        """Return which of the chosen pictures a way got right."""
        return verdict.right(result.probabilities, self.labels[self.chosen])

    def losses(self, result: Result) -> NDArray[np.float64]:
        """Return how far a way is from what is known, for each of the chosen pictures."""
        if self.outputs is None:
            return verdict.losses(result.probabilities, self.labels[self.chosen])
        apart = np.abs(result.probabilities.astype(np.float64) - self.outputs[self.chosen])
        return np.asarray(apart.max(axis=1))

    def __str__(self) -> str:
        text = f"Of {len(self.labels)} pictures {self.accuracy:.0%} are {self.word}"
        return text if self.difference is None else f"{text}; a probability differs from yours by {self.difference:.2g}"


def labelled(
    tried: Tried, results: Sequence[Result], known: Known, *, least: float | None, assumed: Collection[str]
) -> Trial:
    """Judge by what the owner knows of the pictures.

    Args:
        tried: For the manifest.
        results: How each way did, the packaged one first.
        known: What the owner knows.
        least: The accuracy that has to be reached; None asks for more than chance.
        assumed: The fields of the record that nothing told.
    """
    rights, losses = [known.rights(result) for result in results], [known.losses(result) for result in results]
    order = sorted(range(len(results)), key=lambda at: (-rights[at].sum(), losses[at].mean()))
    best = order[0]
    # What the pictures do not tell from the best: neither less often right nor farther off by more than chance.
    like = [
        at
        for at in order
        if not verdict.better(rights[best], rights[at], of=len(results)) and not known.apart(losses[best], losses[at])
    ]
    rows = [
        (results[at].way.name, f"{rights[at].mean():.0%} {known.word}", results[at].way.flags)
        for at in [*(at for at in dict.fromkeys([*order[:_SHOWN], *like]) if at), 0]
    ]
    alike = [results[at].way for at in like]
    packaged = results[0].way
    if packaged in alike:
        telling = (
            known.outputs is not None
            or verdict.chance(results[best].probabilities, known.labels[known.chosen]) <= verdict.SIGNIFICANT
        )
        advice = _cannot_tell([way for way in alike if way is not packaged], telling=telling)
    else:
        advice = _advice(alike, packaged=rows[-1][1], best=rows[0][1], nearer=known.nearer)
    by_chance = verdict.chance(known.answers, known.labels)
    believed = _PLAUSIBLE if packaged in alike else verdict.SIGNIFICANT
    warning = refusal = ""
    if least is not None and known.accuracy < least:
        refusal = f"{known}, but --min-accuracy asks for {least:.0%}. {advice}"
    elif least is None and by_chance > believed and not known.near and verdict.could_tell(known.labels):
        refusal = f"{known}, which is no better than chance. {advice} {_ALL_THE_SAME}"
    elif least is None and known.outputs is not None and losses[0].mean() > _FAR:
        refusal = f"{known}, and more than {_FAR:g} is another answer. {advice} {_ALL_THE_SAME}"
    elif packaged not in alike:
        warning = f"{known}, and another way to prepare them does better. {advice}"
    elif known.outputs is not None and not known.near:
        warning = f"{known}, but programs that prepare pictures alike usually differ by less than {_NEAR:g}. {advice}"
    elif by_chance > verdict.SIGNIFICANT and not known.near:
        warning = f"{known}: cannot tell whether that is more than chance. Give more pictures, of at least two classes"
    elif open_ways := [way for way in alike if way is not packaged and way.differs(packaged) <= set(assumed)]:
        warning = f"{known}. {_cannot_tell(open_ways, telling=True)}"
    return Trial(tried=tried, found=str(known), rows=rows, warning=warning, refusal=refusal)


def _advice(like: Sequence[Way], *, packaged: str, best: str, nearer: str) -> str:
    """Name the best way, its flags, and what the pictures do not tell from it."""
    text = f"With {like[0].name}: {best}{f', and {nearer}' if best == packaged else ''}; as packaged: {packaged}. "
    text += f"Package it with {like[0].flags}."
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
