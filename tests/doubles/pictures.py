"""Pictures for the tests: generated, the same for the same seed, and as varied as photographs."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.photographs import photograph

# Each format that the client takes, with options that keep its quality near a camera's.
FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 90},
    "PNG": {},
    "WEBP": {"quality": 90},
    "GIF": {},
    "BMP": {},
}


def noise(width: int, height: int, *, seed: int = 0) -> Image.Image:
    """Return an RGB picture of black, white and fully coloured pixels: the hardest case for every rounding."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 2, (height, width, 3), dtype=np.uint8) * 255)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """Return *picture* as a file of the format *kind*."""
    file = io.BytesIO()
    picture.save(file, kind, **FORMATS[kind] | options)
    return file.getvalue()


def jpeg(width: int = 500, height: int = 375, *, seed: int = 0) -> bytes:
    """Return a generated photograph as a JPEG."""
    return encoded(photograph(width, height, seed=seed), "JPEG")


def png(width: int = 500, height: int = 375, *, seed: int = 0) -> bytes:
    """Return a generated photograph as a PNG."""
    return encoded(photograph(width, height, seed=seed), "PNG")


def reference(
    picture: Image.Image,
    resize: int = 256,
    height: int = 224,
    width: int = 224,
    *,
    filtered: Image.Resampling = Image.Resampling.BILINEAR,
    squash: bool = False,
) -> NDArray[np.uint8]:
    """Resize and crop in torchvision's two steps; *squash* gives the resized picture the crop's proportions."""
    rgb = picture.convert("RGB")
    if squash:
        size = (resize * width // min(width, height), resize * height // min(width, height))
    elif rgb.width <= rgb.height:
        size = (resize, int(resize * rgb.height / rgb.width))
    else:
        size = (int(resize * rgb.width / rgb.height), resize)
    resized = rgb.resize(size, filtered)
    left, top = round((size[0] - width) / 2.0), round((size[1] - height) / 2.0)
    return np.asarray(resized.crop((left, top, left + width, top + height)))


def difference(found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> int:
    """Return the greatest difference in levels, once the two are arrays of the same kind."""
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    return int(np.abs(found.astype(np.int16) - expected).max())
