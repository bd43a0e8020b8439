"""The usual ways to prepare pictures, for a model whose answers look wrong as it is packaged."""

from collections.abc import Iterator

import attrs

from scripts.graph.inspect import Classifier
from scripts.graph.pixels import Colour, Pixels
from scripts.repository.preprocessing import written
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD, RESIZE_PER_CROP, Fit, Framing

_BYTE = 255
# What exporters and trainers usually do with bytes, in the order R, G, B; the words are for people.
_USUAL: tuple[tuple[str, float, tuple[float, ...], tuple[float, ...]], ...] = (
    ("x/255", 1 / _BYTE, (0.0,), (1.0,)),
    ("ImageNet's mean and std", 1 / _BYTE, IMAGENET_MEAN, IMAGENET_STD),
    ("0.5/0.5", 1 / _BYTE, (0.5,), (0.5,)),
    ("0..255", 1.0, (0.0,), (1.0,)),
    ("0..255 less ImageNet's mean", 1.0, tuple(_BYTE * part for part in IMAGENET_MEAN), (1.0,)),
)
# MNIST's, for models of one channel.
_USUAL_GRAY = (*_USUAL[:1], _USUAL[2], _USUAL[3], ("MNIST's mean and std", 1 / _BYTE, (0.1307,), (0.3081,)))
_FITS: tuple[Fit, ...] = ("crop", "squash")


@attrs.frozen(kw_only=True)
class Way:
    """One way to prepare pictures.

    Attributes:
        name: What differs from how the model is packaged, in words; "as packaged" where nothing does.
        pixels: What the model's input holds for a pixel.
        framing: What is done to a picture before.
        flags: What to give to `invoke package-model` for it.
    """

    name: str
    pixels: Pixels
    framing: Framing
    flags: str

    def differs(self, base: "Way") -> set[str]:
        """Return the fields of the record in which this way is another than *base*."""
        fields = {"fit"} if self.framing.fit != base.framing.fit else set[str]()
        if self.pixels.colour != base.pixels.colour:
            fields.add("colour")
        elif self.pixels != base.pixels:
            fields |= {"scale", "mean", "std"}
        return fields


def packaged(pixels: Pixels, framing: Framing) -> Way:
    """Return the way in which the model is packaged."""
    return Way(name="as packaged", pixels=pixels, framing=framing, flags="")


def other_numbers(base: Way, classifier: Classifier) -> Iterator[Way]:
    """Yield the usual scales, means and stds, and the usual orders of channels, with the framing of *base*."""
    for colour in _colours(base.pixels, classifier):
        turned = [] if colour == base.pixels.colour else [colour.upper()]
        flag = f"--colour {colour}" if turned else ""
        if classifier.input.dtype == "UINT8":
            if turned:
                pixels = attrs.evolve(base.pixels, colour=colour)
                yield Way(name=turned[0], pixels=pixels, framing=base.framing, flags=flag)
            continue
        order = slice(None, None, -1 if "bgr" in (colour, base.pixels.colour) and turned else 1)
        kept = attrs.evolve(base.pixels, colour=colour, mean=base.pixels.mean[order], std=base.pixels.std[order])
        if turned:
            flags = _joined(flag, _numbers(kept))
            yield Way(name=turned[0], pixels=kept, framing=base.framing, flags=flags)
        for words, scale, mean, std in _USUAL_GRAY if classifier.channels == 1 else _USUAL:
            numbers = [_for(part, colour, channels=classifier.channels) for part in (mean, std)]
            pixels = Pixels(colour=colour, scale=scale, mean=numbers[0], std=numbers[1])
            if not _same(pixels, kept):
                name = " and ".join([*turned, words])
                yield Way(name=name, pixels=pixels, framing=base.framing, flags=_joined(flag, _numbers(pixels)))


def other_fits(base: Way, *, height: int, width: int) -> Iterator[Way]:
    """Yield the usual fits with the numbers of *base*."""
    for fit in _FITS:
        if fit != base.framing.fit:
            resize = round(max(height, width) * RESIZE_PER_CROP) if fit == "crop" else min(height, width)
            framing = attrs.evolve(base.framing, fit=fit, resize=resize)
            name = fit if not base.flags else f"{base.name} and {fit}"
            flags = _joined(base.flags, f"--fit {fit} --resize {resize}" if fit == "crop" else f"--fit {fit}")
            yield Way(name=name, pixels=base.pixels, framing=framing, flags=flags)


def _colours(pixels: Pixels, classifier: Classifier) -> tuple[Colour, ...]:
    if classifier.channels == 1:
        return ("gray",)
    others: tuple[Colour, ...] = ("rgb", "bgr")
    return (pixels.colour, *(colour for colour in others if colour != pixels.colour))


def _for(numbers: tuple[float, ...], colour: Colour, *, channels: int) -> tuple[float, ...]:
    """Return numbers in the order R, G, B in the order of the channels that the model takes."""
    if len(numbers) == 1:
        return numbers * channels
    return numbers[::-1] if colour == "bgr" else numbers


def _same(one: Pixels, other: Pixels) -> bool:
    """Return whether both give a model the same numbers, to a thousandth of what it gets for white."""
    ends = [
        [(end * way.scale - mean) / std for end in (0, _BYTE) for mean, std in zip(way.mean, way.std, strict=True)]
        for way in (one, other)
    ]
    room = 1e-3 * max(abs(end) for end in ends[0])
    return len(ends[0]) == len(ends[1]) and all(abs(a - b) <= room for a, b in zip(*ends, strict=True))


def _numbers(pixels: Pixels) -> str:
    mean, std = (",".join(f"{part:.6g}" for part in numbers) for numbers in (pixels.mean, pixels.std))
    return f"--scale {written(pixels.scale)} --mean {mean} --std {std}"


def _joined(*flags: str) -> str:
    return " ".join(filter(None, flags))
