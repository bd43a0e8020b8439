"""Decide what a model's input holds for a pixel: scale, mean and std, which belong together."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs

from scripts.graph.inspect import Classifier
from scripts.graph.pixels import Colour
from scripts.host.errors import TaskFailure
from scripts.packaging.agree import agreed, plain
from scripts.packaging.wishes import Wishes
from scripts.repository.preprocessing import LARGEST_PIXEL, Channels, Decided, Scaling, written
from scripts.sources.claims import Claim
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD

_T = TypeVar("_T")

_ASSUMED = Scaling(scale=1 / 255, mean=IMAGENET_MEAN, std=IMAGENET_STD)
# A graph that takes bytes normalises by itself.
_OWN = Scaling(scale=1.0, mean=(0.0,), std=(1.0,))


def decide_scaling(
    claims: Sequence[Claim], wishes: Wishes, *, classifier: Classifier, colour: Colour
) -> tuple[Decided[float], Decided[Channels], Decided[Channels]]:
    """Return scale, mean and std, which belong together: if a flag gives one, no source is asked for the others."""
    count = 1 if classifier.channels == 1 else 3
    given = (wishes.scale, wishes.mean, wishes.std)
    if classifier.input.dtype == "UINT8":
        if given != (None, None, None):
            raise TaskFailure(
                "The graph takes UINT8 pixels and normalises them itself: leave --scale, --mean and --std out."
            )
        return _three(_OWN.for_channels(count), lambda value: Decided(value=value, source="graph", where="UINT8 input"))
    if given == (None, None, None):
        if not claims:
            assumed = _for_colour(_ASSUMED, colour) if count == 3 else Scaling(scale=1 / 255, mean=(0.0,), std=(1.0,))
            return _three(assumed, lambda value: Decided(value=value, source="assumed"))
        claim = agreed(claims, flag="--scale, --mean and --std", same=Scaling.same_as)
        found = _fitted(claim.value, count, flag=f"{claim.where}, the mean and the std")
        _check_scaling(found, where=f"{claim.where}: ")
        return _three(found, lambda value: Decided(value=value, source=claim.kind, where=claim.where))
    found = _fitted(wished(wishes), count, flag="--mean and --std")
    unit = Decided(value=found.scale, source="flag", where="--scale, or 1/255 without it, as for --mean and --std")
    return (
        unit if wishes.scale is None and None not in given[1:] else _flagged(found.scale, wishes.scale, "--scale"),
        _flagged(found.mean, wishes.mean, "--mean"),
        _flagged(found.std, wishes.std, "--std"),
    )


def wished(wishes: Wishes) -> Scaling:
    """Return what the flags say; what they leave out changes nothing but the unit.

    Raises:
        TaskFailure: If that cannot be meant.
    """
    found = Scaling(
        scale=1 / 255 if wishes.scale is None else wishes.scale,
        mean=wishes.mean or (0.0,),
        std=wishes.std or (1.0,),
    )
    _check_scaling(found, where="")
    return found


def _flagged(value: _T, wish: object, flag: str) -> Decided[_T]:
    return Decided(value=value, source="assumed") if wish is None else Decided(value=value, source="flag", where=flag)


def _three(
    scaling: Scaling, decided: Callable[[Any], Decided[Any]]
) -> tuple[Decided[float], Decided[Channels], Decided[Channels]]:
    return decided(scaling.scale), decided(scaling.mean), decided(scaling.std)


def _for_colour(scaling: Scaling, colour: Colour) -> Scaling:
    """Return numbers that are in the order R, G, B in the order that the model takes."""
    if colour != "bgr":
        return scaling
    return attrs.evolve(scaling, mean=scaling.mean[::-1], std=scaling.std[::-1])


def _fitted(scaling: Scaling, count: int, *, flag: str) -> Scaling:
    """Return the same with one number for each of *count* channels."""
    if count == 1:
        means, stds = set(scaling.mean), set(scaling.std)
        if len(means) > 1 or len(stds) > 1:
            raise TaskFailure(
                f"The model takes one channel, and there are several numbers in {flag}. Give one number each: "
                "--mean M --std S."
            )
        return attrs.evolve(scaling, mean=scaling.mean[:1], std=scaling.std[:1])
    return scaling.for_channels(count)


def _check_scaling(scaling: Scaling, *, where: str) -> None:
    """Refuse numbers that cannot be meant; the proof would pass with them, and every answer be wrong."""
    if not 0 < scaling.scale <= 1:
        raise TaskFailure(
            f"{where}the scale is {scaling.scale:g}, and pixels from 0 to {LARGEST_PIXEL} are multiplied by it. Give a "
            "number above 0, at most 1: --scale 1/255 makes them 0 to 1."
        )
    if not all(0 < part < float("inf") for part in scaling.std):
        raise TaskFailure(f"{where}the std has to be a number above 0 for each channel, not {plain(scaling.std)}.")
    largest = LARGEST_PIXEL * scaling.scale
    if not all(abs(part) <= largest + 1e-9 for part in scaling.mean):
        advice = "for numbers on the scale of 0 to 255 give --scale 1 too" if scaling.scale < 1 else "check the numbers"
        raise TaskFailure(
            f"{where}with --scale {written(scaling.scale)} pixels are from 0 to {largest:g}, and the mean is "
            f"{plain(scaling.mean)}: {advice}."
        )
