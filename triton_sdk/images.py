"""Turn whatever holds an image into the pixels that a classifier was trained on.

The reference is torchvision's: ``Resize(shorter side, bilinear, antialiased)``, then ``CenterCrop``, on what
``Image.convert("RGB")`` gives. Here both are one resize over the part of the picture that the crop keeps; no value
differs from the reference by more than 1 of 255 (with the extra ``simd`` one or two values of an image of black and
white noise do, by 2). So it is where the picture is squashed, or padded as Pillow's ``ImageOps.pad`` does; the
filters ``"bicubic"`` and ``"nearest"`` are exact. Only ``decode="fast"`` goes further from it, see `to_pixels`.

What the reference decides, so that serving sees what training saw:

* Alpha is dropped, not blended: the colours stored under transparent pixels count. Blend first if they should not.
* EXIF orientation is not applied unless asked for: the ImageNet models were trained on pixels as they are stored.

16-bit grey is scaled to 8 bits, where Pillow's own conversion clips.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile

from triton_sdk._checks import choice
from triton_sdk._pixels import formats
from triton_sdk._pixels.exif import upright
from triton_sdk._pixels.resample import check_whole, resize_and_crop
from triton_sdk._pixels.sources import read
from triton_sdk.contract import RGB, Fit, Interpolation, Layout, ModelContract
from triton_sdk.errors import ConfigurationError, InvalidImageError

__all__ = ["MAX_ASPECT_RATIO", "MAX_PIXELS", "Decode", "ImageLike", "normalise", "to_pixels", "to_tensor"]

ImageLike: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.uint8]
)

Decode: TypeAlias = Literal["exact", "fast"]

# Room for any photograph, and a bound on what one hostile file costs: 50 Mpx are 150 MB as RGB.
MAX_PIXELS: Final = 50_000_000
# No classifier can see anything in a strip thinner than this.
MAX_ASPECT_RATIO: Final = 50

# How much larger than the resized picture a scaled JPEG stays at least: with 1 the greatest difference is 9 levels.
_MARGIN: Final = 2
_LARGEST_SHRINK: Final = 8


def to_pixels(
    image: ImageLike,
    *,
    resize: int,
    height: int,
    width: int,
    interpolation: Interpolation = "bilinear",
    fit: Fit = "crop",
    orient: bool = False,
    decode: Decode = "exact",
) -> NDArray[np.uint8]:
    """Resize and crop one image to what a model sees.

    Args:
        image: A path, the bytes or an open binary file of a JPEG, PNG, WebP, BMP, GIF, TIFF or AVIF (the first in it),
            of a HEIC where pillow-heif is installed, a PIL image, or a uint8 array ``(h, w, 3)`` in RGB. The content
            decides the format, not the name. What is passed in is neither changed nor closed; a file is read from where
            it stands.
        resize: Length of the shorter side before the crop, in pixels; ``"pad"`` does not look at it.
        height: Height of the centre crop, in pixels.
        width: Width of the centre crop, in pixels.
        interpolation: The filter, as Pillow has it.
        fit: ``"crop"`` keeps the proportions and cuts out the middle; ``"squash"`` changes them to those of the crop;
            ``"pad"`` keeps the whole picture, between black bars.
        orient: Turn the picture as its EXIF data says. Off by default, as when the ImageNet models were trained.
        decode: ``"fast"`` lets large JPEGs be decoded at a half, a quarter or an eighth of their size, though never
            below twice the resized one: a 12-megapixel photograph takes a third to a half of the time. Camera
            pictures differed from ``"exact"`` by at most 4 levels of 255, by 0.3 on average, and hard coloured edges
            by up to 20. Other pictures stay exact, and so do sizes that 8 does not divide where *orient* is set.

    Returns:
        RGB pixels, uint8 ``(height, width, 3)``, C-contiguous.

    Raises:
        ConfigurationError: If the crop is empty or does not fit into the resized image, or a word is unknown.
        InvalidImageError: If there is no image in *image*, or none of a sane size.
    """
    choice(interpolation, "interpolation", get_args(Interpolation))
    choice(fit, "fit", get_args(Fit))
    choice(decode, "decode", get_args(Decode))
    least = {"crop": max(height, width), "squash": min(height, width), "pad": 0}[fit]
    if min(height, width) < 1 or resize < least:
        raise ConfigurationError(
            f"An image whose shorter side is resized to {resize} has no centre crop of {height} x {width} (height x "
            f"width): a crop of at least 1 x 1 and a resize of at least its {'longer' if fit == 'crop' else 'shorter'} "
            "side were expected."
        )
    shrunk = 1
    if isinstance(image, np.ndarray):
        what, picture = "the given array", _from_array(image)
    elif isinstance(image, Image.Image):
        what, picture = "the given PIL image", image
    else:
        what, content = read(image)
        picture = _open(content, what)
    size = picture.size
    _check_size(size, what)
    with _decoding(what):
        # What the caller gave stays whole: only a picture opened here is drafted.
        # Turned, one whose size was rounded up would begin a part of a pixel off, unless nothing had to be rounded.
        whole = not any(side % _LARGEST_SHRINK for side in size)
        if decode == "fast" and isinstance(picture, JpegImageFile) and picture is not image and (whole or not orient):
            shrunk = _draft(picture, resize)
        picture.load()
    turned = upright(picture) if orient else picture
    if turned.size != picture.size:
        size = size[::-1]
    if fit == "crop" and interpolation != "bilinear":
        check_whole(size, resize, what)
    return resize_and_crop(
        _to_rgb(turned, what),
        size=size,
        shrunk=shrunk,
        resize=resize,
        height=height,
        width=width,
        interpolation=interpolation,
        fit=fit,
    )


def to_tensor(pixels: NDArray[np.uint8], contract: ModelContract) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Give pixels the type and the order of axes that a model takes.

    Args:
        pixels: uint8 ``(n, height, width, 3)``.
        contract: What the model takes: UINT8, which is the pixels as they are, or FP32, normalised as it says.

    Returns:
        ``(n, *contract.input.shape)``; C-contiguous where *pixels* is.
    """
    if contract.input.dtype == "FP32":
        return normalise(pixels, mean=contract.mean, std=contract.std, layout=contract.layout)
    return pixels if contract.layout == "NHWC" else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def normalise(pixels: NDArray[np.uint8], *, mean: RGB, std: RGB, layout: Layout) -> NDArray[np.float32]:
    """Compute ``(pixels / 255 - mean) / std`` in float32.

    Args:
        pixels: uint8 ``(n, height, width, 3)``.
        mean: Mean of each channel, for pixels in [0, 1].
        std: Standard deviation of each channel, likewise.
        layout: Order of the result's axes behind the batch axis.

    Returns:
        float32 ``(n, 3, height, width)`` for NCHW, ``(n, height, width, 3)`` for NHWC; C-contiguous.
    """
    n, height, width, channels = pixels.shape
    shape = (n, channels, height, width) if layout == "NCHW" else pixels.shape
    result = np.empty(shape, np.float32)
    planes = result if layout == "NCHW" else result.transpose(0, 3, 1, 2)
    means, stds = (np.array(values, np.float32)[:, np.newaxis, np.newaxis] for values in (mean, std))
    for image, scaled in zip(pixels, planes, strict=True):
        # One image at a time stays in the cache, and is worked on in place: 0.11 ms, where a table of the 256 values
        # takes 0.15. Each of the three steps gives the interpreter's lock away, so that they are not taken by channel.
        np.divide(image.transpose(2, 0, 1), np.float32(255), out=scaled, dtype=np.float32)
        scaled -= means
        scaled /= stds
    return result


def _from_array(array: NDArray[Any]) -> Image.Image:
    problem = ""
    if array.dtype != np.uint8:
        problem = f"its dtype is {array.dtype}"
        if array.dtype.kind == "f":
            problem += " and holds NaN" if np.isnan(array).any() else " (scale it to 0..255 first)"
    elif array.ndim == 4:
        problem = f"its shape is {array.shape}: one image at a time, and several by predict_many()"
    elif array.ndim == 3 and array.shape[0] == 3 != array.shape[2]:
        problem = f"its shape is {array.shape}: channels come last: transpose it with (1, 2, 0)"
    elif array.ndim != 3 or array.shape[2] != 3:
        problem = f"its shape is {array.shape}"
    if problem:
        raise InvalidImageError(f"Cannot use the given array: {problem}; uint8 (height, width, 3) in RGB was expected.")
    # Before fromarray, which cannot hold every shape that numpy can.
    _check_size((array.shape[1], array.shape[0]), "the given array")
    return Image.fromarray(np.ascontiguousarray(array))


def _open(content: bytes, what: str) -> Image.Image:
    """Read the header only."""
    plugin = formats.plugin_for(content)
    if plugin is None and (name := formats.name_of(content)) is not None:
        raise InvalidImageError(f"Cannot read {what}: it is a picture in {name}. {formats.missing(name)}.")
    if plugin is None:
        raise InvalidImageError(
            f"Cannot read {what}: it starts with {content[:12]!r}, but {formats.EXPECTED} was expected. "
            f"{formats.WAY_ON}."
        )
    if plugin is GifImageFile:
        _check_first_frame(content, what)
    with _decoding(what):
        return plugin(io.BytesIO(content))


def _check_first_frame(content: bytes, what: str) -> None:
    """Check where the first frame of a GIF ends: Pillow grows the picture to it while opening, and warns by itself."""
    at = 13 + (3 << (content[10] & 7) + 1 if len(content) > 10 and content[10] & 0x80 else 0)
    while content[at : at + 1] not in (b"", b";", b","):
        if content[at : at + 1] != b"!":
            at += 1
            continue
        at += 2
        while at < len(content) and content[at]:
            at += 1 + content[at]
        at += 1
    left, top, width, height = (int.from_bytes(content[at + i : at + i + 2], "little") for i in (1, 3, 5, 7))
    if width and height:
        _check_size((left + width, top + height), what)


def _check_size(size: tuple[int, int], what: str) -> None:
    width, height = size
    if min(size) < 1:
        raise InvalidImageError(f"Cannot use {what}: it is empty ({width} x {height} pixels).")
    if width * height > MAX_PIXELS:
        raise InvalidImageError(
            f"Cannot use {what}: it has {width} x {height} pixels; at most {MAX_PIXELS // 10**6} million were expected."
        )
    if max(size) > MAX_ASPECT_RATIO * min(size):
        raise InvalidImageError(
            f"Cannot use {what}: it has {width} x {height} pixels; sides of at most {MAX_ASPECT_RATIO}:1 were expected."
        )


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    """Turn all that Pillow raises over damaged data, from struct.error to MemoryError, into our error.

    So it goes for its warnings (of damaged EXIF data, say) where the application's filters make errors of them.
    """
    try:
        yield
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise InvalidImageError(
            f"Cannot decode {what}: {reason}; an undamaged image that converts to RGB was expected."
        ) from error


def _to_rgb(picture: Image.Image, what: str) -> Image.Image:
    if picture.mode == "RGB":
        return picture
    if picture.mode.startswith("I"):
        return Image.fromarray(_grey(np.asarray(picture), what)).convert("RGB")
    if picture.mode == "F":
        raise InvalidImageError(
            f"Cannot use {what}: its mode is F (floats); 8 or 16 bits for each value were expected."
        )
    if "transparency" in picture.info:
        # Alpha is dropped anyway; with this entry Pillow would warn, or write into the palette of the caller's image.
        picture = picture.copy()
        del picture.info["transparency"]
    with _decoding(what):
        return picture.convert("RGB")


def _grey(values: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """Scale 16-bit grey to 8 bits: ``round(v / 257)``."""
    if values.dtype.itemsize > 2 and (values.min() < 0 or values.max() > 0xFFFF):
        raise InvalidImageError(
            f"Cannot use {what}: its mode is I and it holds values outside 0..65535; 16 bits for each were expected."
        )
    # All in 16 bits: the largest values all become 255, so holding them back keeps the sum from overflowing.
    wide = np.minimum(values.astype(np.uint16), 0xFFFF - 128)
    return ((wide + 128) // 257).astype(np.uint8)


def _draft(picture: JpegImageFile, resize: int) -> int:
    """Have a large JPEG decoded smaller, and return how many times."""
    (width, height), shorter = picture.size, min(picture.size)
    drafted = picture.draft(None, (width * _MARGIN * resize // shorter, height * _MARGIN * resize // shorter))
    return 1 if drafted is None else round(width / drafted[1][2])
