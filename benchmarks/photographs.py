"""Generated pictures that cost what photographs do: the same for the same seed."""

import numpy as np
from PIL import Image, ImageDraw


def photograph(width: int = 500, height: int = 375, *, seed: int = 0) -> Image.Image:
    """Return an RGB picture with what photographs have: shades, texture at all scales, hard edges and some noise."""
    rng = np.random.default_rng([width, height, seed])
    levels = np.zeros((height, width, 3), np.float32)
    for cells, strength in ((3, 70), (9, 35), (40, 20)):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        levels += (np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) / 127.5 - 1) * strength
    levels += rng.normal(128, 4, levels.shape)
    picture = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(4):
        (left, right), (top, bottom) = np.sort(rng.integers(0, (width, height), (2, 2)).T)
        colour = tuple(int(level) for level in rng.integers(0, 256, 3))
        draw.ellipse((int(left), int(top), int(right), int(bottom)), fill=colour, outline=(255, 255, 255))
    return picture
