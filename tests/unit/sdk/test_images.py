"""An image in any form, mode and orientation gives the pixels that a training pipeline sees."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from benchmarks.photographs import photograph
from tests.doubles.pictures import FORMATS, difference, encoded, jpeg, png, reference
from tests.properties import examples
from tests.unit.sdk.decoding import pixels, refusal
from triton_sdk.images import ImageLike, to_pixels


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_are_told_by_content(tmp_path: Path, kind: str) -> None:
    """Each format decodes to what Pillow decodes, under a name that says another format."""
    path = tmp_path / "picture.jpeg.txt"
    path.write_bytes(encoded(photograph(), kind))
    with Image.open(path) as picture:
        assert picture.format == kind
        assert difference(pixels(path), reference(picture)) <= 1


# ------------------------------------------------------------------------------------------------ ways to pass an image


def test_every_way_to_pass_an_image_gives_the_same_pixels(tmp_path: Path) -> None:
    """A path, bytes, a file, a PIL image and an array of one picture are one picture."""
    content = png()
    path = tmp_path / "cat.png"
    path.write_bytes(content)
    decoded = Image.open(io.BytesIO(content))
    with path.open("rb") as file, path.open("rb", buffering=0) as raw:
        ways: list[ImageLike] = [
            str(path),
            path,
            content,
            bytearray(content),
            memoryview(content),
            memoryview(b"-" + content)[1:],
            io.BytesIO(content),
            file,
            raw,
            decoded,
            np.asarray(decoded),
            np.asarray(decoded)[::-1][::-1],
        ]
        found = [pixels(way).tobytes() for way in ways]
    assert set(found) == {pixels(content).tobytes()}


def test_a_file_is_read_from_where_it_stands_and_left_open() -> None:
    """A file object may hold more than the image in front of its position, and stays usable."""
    content = png()
    file = io.BytesIO(b"header" + content)
    file.seek(6)
    assert (pixels(file) == pixels(content)).all()
    assert not file.closed
    assert "seek(0) first" in refusal(file)


def test_a_slow_file_is_read_to_its_end() -> None:
    """A raw file that gives a few bytes at a time gives the whole image."""

    class Dripping(io.RawIOBase):
        def __init__(self, content: bytes) -> None:
            self.source = io.BytesIO(content)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return self.source.readinto(memoryview(buffer)[:1000])

    content = jpeg()
    assert (pixels(Dripping(content)) == pixels(content)).all()


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA", "L", "CMYK"])
def test_the_callers_pil_image_is_neither_changed_nor_closed(mode: str) -> None:
    """A PIL image has the same pixels, palette and info afterwards, and can be used again."""
    picture = photograph(300, 300).convert(mode)
    if mode == "P":
        picture.info["transparency"] = bytes(range(256))
    before = picture.copy()
    info = dict(picture.info)
    palette = picture.getpalette("RGBA") if mode == "P" else None
    first = pixels(picture, orient=True)
    assert picture == before
    assert picture.info == info
    assert (picture.getpalette("RGBA") if mode == "P" else None) == palette
    assert (pixels(picture, orient=True) == first).all()


def test_the_callers_array_is_not_changed() -> None:
    """An array, read-only or not, has the same values afterwards, and the result is no view of it."""
    array = np.array(photograph(224, 224))
    before = array.copy()
    found = to_pixels(array, resize=224, height=224, width=224)
    assert not np.shares_memory(found, array)
    assert (array == before).all()
    array.flags.writeable = False
    assert (to_pixels(array, resize=224, height=224, width=224) == found).all()


# --------------------------------------------------------------------------------------------------------- colour modes


@examples(80)
@given(
    mode=st.sampled_from(["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV"]),
    width=st.integers(5, 300),
    height=st.integers(5, 300),
    seed=st.integers(0, 2**16),
)
def test_every_8_bit_mode_equals_the_reference(mode: str, width: int, height: int, seed: int) -> None:
    """A picture in any of Pillow's 8-bit modes is what the reference makes of it, palettes and alpha included.

    This is noise, in which the roundings of the extra `simd` add up to a second level here and there.
    """
    assume(max(width, height) <= 50 * min(width, height))
    bands = len(Image.new(mode, (1, 1)).getbands())
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, bands), dtype=np.uint8)
    size = (width + 7) // 8 * height if mode == "1" else levels.size
    picture = Image.frombytes(mode, (width, height), levels.tobytes()[:size])
    if mode.startswith("P"):
        picture.putpalette(np.random.default_rng(seed).integers(0, 256, 768, dtype=np.uint8).tobytes())
    apart = np.abs(pixels(picture).astype(int) - reference(picture))
    assert apart.max() <= 2
    assert np.count_nonzero(apart > 1) <= 10


@pytest.mark.parametrize("value", [0, 1, 128, 129, 255, 256, 385, 386, 32767, 40000, 65406, 65407, 65535])
def test_16_bit_grey_is_scaled(value: int) -> None:
    """A 16-bit level becomes the nearest 8-bit one: in a PNG, in Pillow's 16-bit modes, and in its 32-bit one."""
    grey = np.full((30, 40), value, np.uint16)
    expected = round(value / 257)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    assert set(pixels(file.getvalue()).ravel()) == {expected}
    for picture in (
        Image.fromarray(grey),
        Image.frombytes("I;16B", (40, 30), grey.astype(">u2").tobytes()),
        Image.fromarray(grey.astype(np.int32)),
    ):
        assert picture.mode.startswith("I")
        assert set(pixels(picture).ravel()) == {expected}


def test_values_without_a_known_scale_are_refused() -> None:
    """Floats, and integers beyond 16 bits, are refused rather than guessed at."""
    assert "floats" in refusal(Image.new("F", (300, 300), 0.5))
    assert "outside 0..65535" in refusal(Image.new("I", (300, 300), 65536))
    assert "outside 0..65535" in refusal(Image.new("I", (300, 300), -1))


def test_alpha_is_dropped() -> None:
    """Colours under transparent pixels count, as in training: in RGBA, in palettes and in PNG's transparent colour."""
    red = (250, 10, 20)
    rgba = Image.new("RGBA", (300, 300), (*red, 0))
    palette = Image.new("RGB", (300, 300), red).quantize(2)
    for picture, options in (
        (rgba, {}),
        (palette, {"transparency": b"\x00\x80"}),
        (rgba.convert("RGB"), {"transparency": red}),
    ):
        found = pixels(encoded(picture, "PNG", **options))
        assert {tuple(pixel) for pixel in found.reshape(-1, 3)} == {red}


# ----------------------------------------------------------------------------------------------------- EXIF orientation


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_only_when_asked(orientation: int) -> None:
    """Pixels are taken as stored, and turned as EXIF says with orient=True."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(photograph(320, 280), "JPEG", exif=exif)
    with Image.open(io.BytesIO(content)) as picture:
        stored, upright = reference(picture), reference(ImageOps.exif_transpose(picture))
    assert difference(pixels(content), stored) <= 1
    assert difference(pixels(content, orient=True), upright) <= 1
    assert (orientation == 1) == (difference(stored, upright) == 0)


@pytest.mark.parametrize("exif", [b"Exif\x00\x00garbage", b"Exif\x00\x00II*\x00\xff\xff\xff\xff", b"Exif\x00\x00"])
def test_damaged_exif_data_does_not_spoil_the_picture(exif: bytes) -> None:
    """A picture whose EXIF data cannot be read is taken as it is stored."""
    content = encoded(photograph(), "JPEG", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own, of the damaged data
        found = pixels(content, orient=True)
    assert (found == pixels(jpeg())).all()


def test_an_animation_is_its_first_frame() -> None:
    """Of a moving GIF or WebP the first frame is taken."""
    first, second = photograph(300, 300), photograph(300, 300, seed=1)
    for kind in ("GIF", "WEBP"):
        moving = encoded(first, kind, save_all=True, append_images=[second])
        with Image.open(io.BytesIO(moving)) as picture:
            assert getattr(picture, "n_frames", 1) == 2
            assert difference(pixels(moving), reference(picture)) <= 1
