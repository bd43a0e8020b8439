"""Decide each field of the preprocessing record: a flag wins, then what the sources agree on, then an assumption."""

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from scripts.graph.inspect import Classifier
from scripts.graph.pixels import Colour
from scripts.graph.scores import Told
from scripts.host.errors import TaskFailure
from scripts.packaging.agree import agreed, decided
from scripts.packaging.scaling import decide_scaling
from scripts.packaging.wishes import Wishes
from scripts.repository.preprocessing import (
    FLAGS,
    Decided,
    Preprocessing,
)
from scripts.sources.claims import Claim, Share
from triton_sdk import labels as class_names
from triton_sdk.contract import RESIZE_PER_CROP, Fit, Interpolation


@attrs.frozen(kw_only=True)
class Decision:
    """What was decided for one model.

    Attributes:
        record: The fields, each with its source.
        names: The names of the classes; None where there are none.
    """

    record: Preprocessing
    names: tuple[str, ...] | None


def decide_size(
    claims: Sequence[Claim], wishes: Wishes, *, height: int | None, width: int | None
) -> Decided[tuple[int, int]]:
    """Return height and width of the pictures that a model sees.

    Args:
        claims: What its sources say.
        wishes: What its owner says.
        height: What the graph fixes, in pixels; None where it leaves it open.
        width: Likewise.

    Raises:
        TaskFailure: If nothing tells it, or two tell different things.
    """
    told = [claim for claim in claims if claim.field == "size"]
    if wishes.size is not None:
        _check_fixed(wishes.size, height=height, width=width)
        return Decided(value=wishes.size, source="flag", where="--size")
    if height is not None and width is not None:
        fixed = Claim(field="size", value=(height, width), kind="graph", where="the input of the graph")
        return decided(agreed([fixed, *(claim for claim in told if not claim.problem)], flag="--size"))
    if not told:
        raise TaskFailure(
            f"The model leaves the {' and '.join(_open(height, width))} of its pictures open, and neither the file nor "
            "a file beside it tells them. A size that it was not trained on costs right answers without an error: give "
            "the size of the pictures in training, for example --size 224x224."
        )
    claim = agreed(told, flag="--size")
    _check_fixed(claim.value, height=height, width=width, where=claim.where)
    return decided(claim)


def told_scores(claims: Sequence[Claim], wishes: Wishes) -> Decided[Told] | None:
    """Return what somebody says the scores are; None where the graph alone decides.

    Raises:
        TaskFailure: If two sources contradict each other.
    """
    if wishes.scores is not None:
        return Decided(value=wishes.scores, source="flag", where="--scores")
    told = [claim for claim in claims if claim.field == "scores"]
    return decided(agreed(told, flag=FLAGS["scores"])) if told else None


def decide(
    claims: Sequence[Claim], wishes: Wishes, *, classifier: Classifier, size: Decided[tuple[int, int]]
) -> Decision:
    """Return the record of a model.

    Args:
        claims: What its sources say.
        wishes: What its owner says.
        classifier: What its graph says.
        size: What `decide_size` said.

    Raises:
        TaskFailure: If two sources contradict each other, or one cannot be followed, where no flag decides; or if a
            flag does not fit the graph.
    """
    of = {field: [claim for claim in claims if claim.field == field] for field in {claim.field for claim in claims}}
    colour = _colour(of.get("colour", []), wishes, classifier=classifier)
    scale, mean, std = decide_scaling(of.get("scaling", []), wishes, classifier=classifier, colour=colour.value)
    fit = _fit(of.get("fit", []), wishes)
    names = _names(of.get("labels", []), wishes, classes=classifier.classes)
    record = Preprocessing(
        colour=colour,
        scale=scale,
        mean=mean,
        std=std,
        size=size,
        resize=_resize(of.get("resize", []), wishes, size=size.value, fit=fit),
        interpolation=_interpolation(of.get("interpolation", []), wishes),
        fit=fit,
        scores=_scores(told_scores(claims, wishes), classifier=classifier),
        labels=Decided(value=len(names.value or ()), source=names.source, where=names.where),
    )
    return Decision(record=record, names=names.value)


def _colour(claims: Sequence[Claim], wishes: Wishes, *, classifier: Classifier) -> Decided[Colour]:
    if classifier.channels == 1:
        if wishes.colour not in (None, "gray"):
            raise TaskFailure(f"--colour {wishes.colour} needs three channels, and the model takes one. Leave it out.")
        return Decided(value="gray", source="graph", where="one channel")
    found = _of_word(claims, wishes.colour, flag="--colour", assumed="rgb")
    if found.value == "gray" and classifier.input.dtype == "UINT8":
        raise TaskFailure(
            "The graph takes UINT8 pixels of three channels, and gray is one. If it takes three equal ones, export it "
            "with one channel or with a float input; otherwise say --colour rgb or --colour bgr."
        )
    return found


def _fit(claims: Sequence[Claim], wishes: Wishes) -> Decided[Fit]:
    if wishes.fit is None and wishes.resize is not None and not claims:
        return Decided(value="crop", source="flag", where="--resize, which is the side before the crop")
    return _of_word(claims, wishes.fit, flag="--fit", assumed="crop")


def _interpolation(claims: Sequence[Claim], wishes: Wishes) -> Decided[Interpolation]:
    return _of_word(claims, wishes.interpolation, flag="--interpolation", assumed="bilinear")


def _resize(claims: Sequence[Claim], wishes: Wishes, *, size: tuple[int, int], fit: Decided[Fit]) -> Decided[int]:
    least = max(size) if fit.value == "crop" else min(size)
    if wishes.resize is not None:
        if fit.value == "pad" and wishes.resize != least:
            raise TaskFailure("--fit pad keeps the whole picture and crops nothing: leave --resize out.")
        found: Decided[int] = Decided(value=wishes.resize, source="flag", where="--resize")
    elif fit.value == "pad" or (fit.value == "squash" and (fit.source == "flag" or not claims)):
        return Decided(value=least, source=fit.source, where=fit.where)
    elif not claims:
        return Decided(value=round(max(size) * RESIZE_PER_CROP), source="assumed")
    else:
        sides = [attrs.evolve(c, value=c.value.resize(min(size))) if isinstance(c.value, Share) else c for c in claims]
        found = decided(agreed(sides, flag="--resize"))
    if found.value < least:
        raise TaskFailure(
            f"{found.where} resizes pictures to {found.value} pixels, which is smaller than the {size[0]} x {size[1]} "
            f"pixels that the model sees. Give at least --resize {least}."
        )
    return found


def _scores(told: Decided[Told] | None, *, classifier: Classifier) -> Decided[str]:
    if told is not None:
        return Decided(value=classifier.scores, source=told.source, where=told.where)
    return Decided(value=classifier.scores, source="graph", where="its operators and its numbers")


def _names(claims: Sequence[Claim], wishes: Wishes, *, classes: int) -> Decided[tuple[str, ...] | None]:
    if wishes.labels is not None:
        return Decided(value=wishes.labels, source="flag", where="--labels")
    # If the other versions have another number of classes, publishing refuses this one, with both contracts.
    claims = [c for c in claims if c.kind != "other versions" or len(c.value) == classes]
    if claims:
        claim = agreed(claims, flag="--labels", same=_same_names)
        if len(claim.value) != classes:
            raise TaskFailure(
                f"{claim.where} has {len(claim.value)} names of classes, and the model gives {classes} scores. Give "
                "the right names with --labels FILE, or move the model to a folder without the wrong ones."
            )
        return decided(claim)
    if classes == len(class_names.imagenet()):
        return Decided(value=class_names.imagenet(), source="assumed", where="ImageNet's, by their number")
    return Decided(value=None, source="assumed")


def _same_names(first: Iterable[str], second: Iterable[str]) -> bool:
    return [_folded(name) for name in first] == [_folded(name) for name in second]


def _folded(name: str) -> str:
    return name.replace("_", " ").casefold().strip()


def _of_word(claims: Sequence[Claim], wish: Any, *, flag: str, assumed: Any) -> Decided[Any]:
    if wish is not None:
        return Decided(value=wish, source="flag", where=flag)
    return decided(agreed(claims, flag=flag)) if claims else Decided(value=assumed, source="assumed")


def _open(height: int | None, width: int | None) -> list[str]:
    return [name for name, side in (("height", height), ("width", width)) if side is None]


def _check_fixed(size: tuple[int, int], *, height: int | None, width: int | None, where: str = "--size") -> None:
    if (height or size[0], width or size[1]) != size:
        fixed = "x".join("any" if side is None else str(side) for side in (height, width))
        advice = "Leave --size out" if where == "--size" else f"A flag decides: {FLAGS['size']}"
        raise TaskFailure(
            f"{where} says pictures of {size[0]}x{size[1]} (height x width), and the input of the graph is fixed at "
            f"{fixed}. {advice}."
        )
