"""What a model's owner says by flags; a flag wins over every source."""

from collections.abc import Mapping, Sequence
from typing import get_args

import attrs

from scripts.graph.pixels import COLOURS, Colour
from scripts.graph.scores import TOLD, Told
from scripts.repository.preprocessing import Channels
from triton_sdk.contract import Fit, Interpolation

# The words that a field may be.
CHOICES: Mapping[str, Sequence[str]] = {
    "colour": COLOURS,
    "interpolation": get_args(Interpolation),
    "fit": get_args(Fit),
    "scores": TOLD,
}


@attrs.frozen(kw_only=True)
class Wishes:
    """What the owner says of a model's preprocessing; None where the sources are to be believed.

    Attributes:
        colour: Order of the channels that the model takes.
        scale: What pixels from 0 to 255 are multiplied by.
        mean: Subtracted afterwards, one number or one for each channel in the model's order.
        std: What is divided by in the end, likewise.
        size: Height and width that the model sees, in pixels.
        resize: Length of the shorter side before the centre crop, in pixels.
        interpolation: How pictures are resized.
        fit: What happens to a picture of other proportions.
        scores: What the model's output holds.
        labels: Names of the classes.
        output: The name of the output that holds the scores; empty where there is one.
        freeze: Numbers for inputs that become constants, by name.
    """

    colour: Colour | None = None
    scale: float | None = None
    mean: Channels | None = None
    std: Channels | None = None
    size: tuple[int, int] | None = None
    resize: int | None = None
    interpolation: Interpolation | None = None
    fit: Fit | None = None
    scores: Told | None = None
    labels: tuple[str, ...] | None = None
    output: str = ""
    freeze: Mapping[str, Sequence[float]] = attrs.field(factory=dict)
