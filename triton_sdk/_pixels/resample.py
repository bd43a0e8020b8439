"""Resize and crop an RGB picture in one step, on SIMD instructions where the extra ``simd`` is installed."""

import math
from typing import Final

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from triton_sdk.contract import Fit, Interpolation
from triton_sdk.errors import InvalidImageError

try:
    import cykooz_resizer
except ImportError:
    cykooz_resizer = None

_KNOWN_PILLOW: Final = range(11, 14)
_FILTERS: Final = {"bicubic": Image.Resampling.BICUBIC, "nearest": Image.Resampling.NEAREST}

# Filters other than bilinear resize all of a picture, of which the crop then keeps little.
_MOST_RESIZED: Final = 200_000_000

Box = tuple[float, float, float, float]


def knows_pillow() -> bool:
    """Return whether the resizer, which reads the memory of Pillow's pictures, knows this Pillow's layout of it."""
    return int(PIL.__version__.partition(".")[0]) in _KNOWN_PILLOW


SIMD: Final = cykooz_resizer is not None and knows_pillow()


def check_whole(size: tuple[int, int], resize: int, what: str) -> None:
    """Check that a picture of *size* can be resized as a whole, so that its shorter side is *resize*.

    Raises:
        InvalidImageError: If it would become too large.
    """
    if resize**2 * max(size) > _MOST_RESIZED * min(size):
        raise InvalidImageError(
            f"Cannot use {what}: with its shorter side resized to {resize} it has more than {_MOST_RESIZED // 10**6} "
            f"million pixels; a picture nearer to a square than {size[0]} x {size[1]} was expected."
        )


def resize_and_crop(
    rgb: Image.Image,
    *,
    size: tuple[int, int],
    shrunk: int,
    resize: int,
    height: int,
    width: int,
    interpolation: Interpolation,
    fit: Fit,
) -> NDArray[np.uint8]:
    """Resize over little more than what the crop keeps; with other filters than bilinear, over the whole picture.

    The truncation of the longer side and the rounding half to even are torchvision's. Pillow takes the box in float32,
    and a box inexact on both axes tips two roundings of one pixel now and then (41 of 10,555 noise images differed by
    2): where that would happen it is widened to where it is exact.

    Args:
        rgb: The picture as it was decoded, of mode RGB.
        size: The picture's true width and height.
        shrunk: How many times smaller it was decoded.
        resize: Length of the shorter side before the centre crop.
        height: Of the centre crop.
        width: Likewise.
        interpolation: The filter.
        fit: Whether the proportions are kept and the middle is cut out, or the whole is squashed, or padded.

    Returns:
        uint8 ``(height, width, 3)``.
    """
    if fit == "pad":
        return _padded(rgb, size=size, height=height, width=width, interpolation=interpolation)
    shorter = min(size)
    if fit == "squash":
        resized = (resize * width // min(width, height), resize * height // min(width, height))
        exact = (True, True)
    else:
        resized = (resize * size[0] // shorter, resize * size[1] // shorter)
        exact = (size[0] == shorter, size[1] == shorter)
    starts = [round((side - crop) / 2) for side, crop in zip(resized, (width, height), strict=True)]
    if interpolation != "bilinear":
        # Pillow chooses by the sizes whether it goes across or down first. For bicubic, whose overshoot is clipped
        # between the two, a box moved values by up to 26.
        whole = rgb.resize(resized, _FILTERS[interpolation])
        return np.ascontiguousarray(np.asarray(whole)[starts[1] : starts[1] + height, starts[0] : starts[0] + width])
    spans = []
    for side, crop, start, length, precise in zip(size, (width, height), starts, resized, exact, strict=True):
        stop = start + crop
        # Multiples of `step` lie at binary fractions of a source pixel. It is 1 for 256, and for 232 it is 29.
        step = _odd_part(length // math.gcd(length, side)) if precise else 1
        first, last = start // step * step, -(-stop // step) * step
        scale = length * shrunk
        spans.append((first * side / scale, last * side / scale, last - first, slice(start - first, stop - first)))
    (left, right, columns, x), (top, bottom, rows, y) = spans
    picture = _bilinear(rgb, (columns, rows), (left, top, right, bottom))
    return np.array(np.asarray(picture)[y, x])


def _padded(
    rgb: Image.Image, *, size: tuple[int, int], height: int, width: int, interpolation: Interpolation
) -> NDArray[np.uint8]:
    """Put the whole picture in the middle of a black one, as Pillow's ``ImageOps.pad`` does."""
    columns, rows = width, height
    if size[0] * height > width * size[1]:
        rows = max(1, round(size[1] / size[0] * width))
    else:
        columns = max(1, round(size[0] / size[1] * height))
    result = np.zeros((height, width, 3), np.uint8)
    x, y = round((width - columns) * 0.5), round((height - rows) * 0.5)
    if interpolation == "bilinear":
        picture = _bilinear(rgb, (columns, rows), (0, 0, rgb.width, rgb.height))
    else:
        picture = rgb.resize((columns, rows), _FILTERS[interpolation])
    result[y : y + rows, x : x + columns] = np.asarray(picture)
    return result


def _bilinear(picture: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    return _by_simd(picture, size, box) if SIMD else picture.resize(size, Image.Resampling.BILINEAR, box=box)


def _by_simd(picture: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    """Resize in a quarter of the time; as in Pillow first across and then down, for each pass rounds.

    In one call the resizer takes the passes the other way round: a sixth of the values then differ by 1, and so one of
    a thousand.
    """
    left, top, right, bottom = box
    # The rows that the second pass looks at: the filter reaches as far as one row of the result, and at least one row.
    reach = math.ceil(max(1.0, (bottom - top) / size[1])) + 1
    first, last = max(0, math.floor(top) - reach), min(picture.height, math.ceil(bottom) + reach)
    across = _one_pass(picture, (size[0], last - first), (left, first, right, last))
    return _one_pass(across, size, (0, top - first, size[0], bottom - first))


def _one_pass(picture: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    left, top, right, bottom = box
    options = cykooz_resizer.ResizeOptions(
        cykooz_resizer.ResizeAlg.convolution(cykooz_resizer.FilterType.bilinear),
        use_alpha=False,
        crop_box=cykooz_resizer.CropBox(left, top, right - left, bottom - top),
    )
    result = Image.new("RGB", size)
    # A resizer is for one thread at a time, and costs nothing to make.
    cykooz_resizer.Resizer().resize_pil(picture, result, options)
    return result


def _odd_part(number: int) -> int:
    return number // (number & -number)
