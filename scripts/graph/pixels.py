"""What a classifier wants of an image's pixels, and the reference for the nodes that make it."""

from typing import Literal, get_args

import attrs
import numpy as np
from numpy.typing import NDArray

from triton_sdk.contract import Layout

Colour = Literal["rgb", "bgr", "gray"]
COLOURS: tuple[Colour, ...] = get_args(Colour)
# ITU-R 601's weights of red, green and blue in parts of 2^16, as Pillow's convert("L") takes and rounds them. Every sum
# is a whole number below 2^24, which float32 holds exactly in any order of adding.
LUMA = (19595, 38470, 7471)
LUMA_HALF, LUMA_ONE = 32768, 65536
_BYTE = 255


@attrs.frozen(kw_only=True)
class Pixels:
    """What the graph's own input holds for a pixel: ``(pixel * scale - mean) / std``.

    Attributes:
        colour: The order of its channels, or one channel of gray.
        scale: What pixels from 0 to 255 are multiplied by.
        mean: Subtracted afterwards; a number for each channel, in the graph's order.
        std: What is divided by in the end, likewise.
    """

    colour: Colour = "rgb"
    scale: float = 1 / _BYTE
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def divisor(self) -> float | None:
        """The number that pixels are divided by, where the scale is one over a whole or a half one; else None.

        A division rounds otherwise than the multiplication, and 1/255 means a division to everybody.
        """
        divisor = round(2 / self.scale) / 2
        return divisor if abs(divisor * self.scale - 1) < 1e-6 else None

    def tensor(self, images: NDArray[np.uint8], *, layout: Layout, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        """Return *images* uint8 RGB ``(n, height, width, 3)`` as the graph takes them, with 1 or 3 channels."""
        chosen = images[..., ::-1] if self.colour == "bgr" else images
        if self.colour == "gray":
            sums = images.astype(np.int64) @ np.array(LUMA)
            chosen = ((sums + LUMA_HALF) // LUMA_ONE).astype(np.uint8)[..., np.newaxis]
        if dtype != np.uint8:
            values = chosen.astype(np.float32)
            if self.divisor is None:
                values *= np.float32(self.scale)
            else:
                values /= np.float32(self.divisor)
            values -= np.array(self.mean, np.float32)
            values /= np.array(self.std, np.float32)
            return _in(layout, values.astype(dtype))
        return _in(layout, chosen)


def _in(layout: Layout, images: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.ascontiguousarray(images if layout == "NHWC" else images.transpose(0, 3, 1, 2))
