"""The preprocessing record: what was decided about a model's pictures and scores, and who said so.

Nothing in it is assumed in silence: each field carries its source, and a field that nothing told is *assumed*.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar, get_args

import attrs

from scripts.graph.pixels import Colour, Pixels
from triton_sdk.contract import RGB, Fit, Framing, Interpolation

Channels = tuple[float, ...]
Kind = Literal["flag", "file metadata", "beside the file", "known model", "graph", "other versions", "assumed"]

# A picture's pixels are bytes.
LARGEST_PIXEL = 255

_T = TypeVar("_T")


@attrs.frozen(kw_only=True)
class Decided(Generic[_T]):
    """One field of the record.

    Attributes:
        value: What was decided.
        source: Who said so.
        where: The place in that source: a flag, a key of the metadata, a file and its key; empty where it is assumed.
    """

    value: _T
    source: Kind
    where: str = ""

    def __str__(self) -> str:
        return f"{self.source}: {self.where}" if self.where else self.source


@attrs.frozen(kw_only=True)
class Scaling:
    """What a model's input holds for a pixel: ``(pixel * scale - mean) / std``, pixels from 0 to 255.

    Attributes:
        scale: What pixels are multiplied by, above 0.
        mean: Subtracted afterwards; one number for each channel, in the order in which the model takes them.
        std: What is divided by in the end, likewise.
    """

    scale: float
    mean: Channels
    std: Channels

    def same_as(self, other: "Scaling") -> bool:
        """Return whether both are the same numbers, however they are written: 0.5/0.5 of x/255 is x/127.5 - 1."""
        lengths = {len(self.mean), len(self.std), len(other.mean), len(other.std)} - {1}
        if len(lengths) > 1:
            return False
        channels = max(lengths, default=1)
        # Half of the step between two pixels: what no picture can show.
        return all(
            abs(self.at(pixel, channel) - other.at(pixel, channel)) * self.std[channel % len(self.std)]
            <= self.scale / 2
            for pixel in (0, LARGEST_PIXEL)
            for channel in range(channels)
        )

    def at(self, pixel: float, channel: int) -> float:
        """Return what the model gets for *pixel* in *channel*."""
        mean, std = self.mean[channel % len(self.mean)], self.std[channel % len(self.std)]
        return (pixel * self.scale - mean) / std

    def for_channels(self, count: int) -> "Scaling":
        """Return the same with *count* numbers each, where one stands for all."""
        return attrs.evolve(
            self,
            mean=self.mean * count if len(self.mean) == 1 else self.mean,
            std=self.std * count if len(self.std) == 1 else self.std,
        )

    def of_unit_pixels(self, colour: Colour) -> tuple[RGB, RGB]:
        """Return mean and std in the order R, G, B for pixels in [0, 1], as the client's contract says them."""
        whole = self.for_channels(3)
        order = (2, 1, 0) if colour == "bgr" else (0, 1, 2)
        factor = 1 / (self.scale * LARGEST_PIXEL)
        if abs(factor - 1) < 1e-12:
            factor = 1.0  # so that 0.485 stays 0.485
        red, green, blue = ((whole.mean[i] * factor, whole.std[i] * factor) for i in order)
        return (red[0], green[0], blue[0]), (red[1], green[1], blue[1])


@attrs.frozen(kw_only=True)
class Preprocessing:
    """All that packaging decides about what a model is given and what it answers.

    Attributes:
        colour: Order of the channels that the model takes.
        scale: What pixels are multiplied by before mean and std.
        mean: Subtracted afterwards, for each channel in the model's order.
        std: What is divided by in the end, likewise.
        size: Height and width that the model sees, in pixels.
        resize: Length of the shorter side before the centre crop, in pixels.
        interpolation: How pictures are resized.
        fit: What happens to a picture of other proportions.
        scores: What the model's output holds before packaging.
        labels: How many names of classes there are; 0 for none.
    """

    colour: Decided[Colour]
    scale: Decided[float]
    mean: Decided[Channels]
    std: Decided[Channels]
    size: Decided[tuple[int, int]]
    resize: Decided[int]
    interpolation: Decided[Interpolation]
    fit: Decided[Fit]
    scores: Decided[str]
    labels: Decided[int]

    @property
    def scaling(self) -> Scaling:
        """Scale, mean and std."""
        return Scaling(scale=self.scale.value, mean=self.mean.value, std=self.std.value)

    @property
    def pixels(self) -> Pixels:
        """What the model's input holds for a pixel."""
        return Pixels(colour=self.colour.value, scale=self.scale.value, mean=self.mean.value, std=self.std.value)

    @property
    def framing(self) -> Framing:
        """What clients do to a picture before its pixels go to the model."""
        return Framing(resize=self.resize.value, interpolation=self.interpolation.value, fit=self.fit.value)

    def rows(self) -> list[tuple[str, str, str]]:
        """Return field, value and source of each field, as a table for people."""
        return [(name, shown(getattr(self, name).value, name), str(getattr(self, name))) for name in FIELDS]

    def assumed(self) -> list[str]:
        """Return the names of the fields that nothing told."""
        return [name for name in FIELDS if getattr(self, name).source == "assumed"]

    def to_json(self) -> dict[str, Any]:
        """Return the record as it stands in ``manifest.json``."""
        return attrs.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Mapping[str, Any]]) -> "Preprocessing":
        """Read what `to_json` gave.

        Raises:
            ValueError: If a field is missing or has a source that is none.
        """
        fields: dict[str, Any] = {}
        for name in FIELDS:
            found = data[name]
            if found["source"] not in get_args(Kind):
                raise ValueError(f"the source of {name} is {found['source']!r}")
            value = found["value"]
            fields[name] = Decided(
                value=tuple(value) if isinstance(value, list) else value,
                source=found["source"],
                where=str(found["where"]),
            )
        return cls(**fields)


FIELDS = tuple(field.name for field in attrs.fields(Preprocessing))

# What a person gives to decide a field.
FLAGS: Mapping[str, str] = {
    "colour": "--colour rgb, --colour bgr or --colour gray",
    "scale": "--scale FACTOR",
    "mean": "--mean NUMBER or N,N,N",
    "std": "--std NUMBER or N,N,N",
    "size": "--size HEIGHTxWIDTH",
    "resize": "--resize PIXELS",
    "interpolation": "--interpolation bilinear, bicubic or nearest",
    "fit": "--fit crop, squash or pad",
    "scores": "--scores logits, probabilities, log-probabilities or multi-label",
    "labels": "--labels FILE",
}


def shown(value: object, name: str) -> str:
    """Return the value of the field *name* as a person types it."""
    if name == "size" and isinstance(value, Sequence):
        return "x".join(map(str, value))
    if name == "scale" and isinstance(value, float):
        return written(value)
    if name == "labels":
        return f"{value} names" if value else "none"
    if isinstance(value, tuple):
        return ",".join(f"{part:.6g}" for part in value)
    return str(value)


def written(scale: float) -> str:
    """Return a scale as a fraction where it is one that people write so: ``1/255``."""
    for divisor in (255, 127.5, 128, 256):
        if abs(scale * divisor - 1) < 1e-6:
            return f"1/{divisor:g}"
    return f"{scale:.8g}"
