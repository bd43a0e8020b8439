"""What a model's owner says by flags; a flag wins over every source."""

from collections.abc import Mapping, Sequence
from typing import get_args

import attrs

from scripts.graph.buckets import sizes_up_to
from scripts.graph.pixels import COLOURS, Colour
from scripts.graph.scores import TOLD, Told
from scripts.host.errors import TaskFailure
from scripts.repository.manifest import Precision
from scripts.repository.preprocessing import Channels
from triton_sdk.contract import Fit, Interpolation

# The words that a field may be.
CHOICES: Mapping[str, Sequence[str]] = {
    "colour": COLOURS,
    "interpolation": get_args(Interpolation),
    "fit": get_args(Fit),
    "scores": TOLD,
}
# The words for the graph for GPUs; "none" leaves it out.
PRECISIONS = ("fp32", "fp16", "none")


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


@attrs.frozen(kw_only=True)
class GpuWish:
    """What the graph for GPUs should be.

    Attributes:
        precision: Of its convolutions and products of matrices.
        buckets: Batch sizes that get a branch; None takes the powers of two up to the largest batch.
    """

    precision: Precision = "fp32"
    buckets: tuple[int, ...] | None = None

    def sizes(self, largest: int) -> tuple[int, ...]:
        """Return the batch sizes for requests of up to *largest* images.

        Raises:
            TaskFailure: If those asked for do not hold the largest batch, or begin below 1.
        """
        sizes = sizes_up_to(largest) if self.buckets is None else tuple(sorted(set(self.buckets)))
        if not sizes or sizes[0] < 1 or sizes[-1] != largest:
            raise TaskFailure(
                f"--buckets {','.join(map(str, sizes))} does not fit: it takes batch sizes from 1 on, and the last one "
                f"has to be the largest batch, which is {largest}. Write --buckets "
                f"{','.join(map(str, sizes_up_to(largest)))}, or leave it out."
            )
        return sizes


# What a version gets whose owner says nothing of it.
USUAL = GpuWish()


def wish(precision: str | None, buckets: tuple[int, ...] | None) -> GpuWish | None:
    """Return what graph for GPUs the flags ask for: `USUAL` itself where they are not given, None for no such graph.

    Raises:
        TaskFailure: If they contradict each other.
    """
    if precision is None and buckets is None:
        return USUAL
    if precision != "none":
        return GpuWish(precision="fp16" if precision == "fp16" else "fp32", buckets=buckets)
    if buckets is not None:
        raise TaskFailure(
            "--buckets is for the graph for GPUs, which --gpu-precision none leaves out. Give one of both."
        )
    return None
