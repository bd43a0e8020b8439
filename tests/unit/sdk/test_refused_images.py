"""Images that are too large, damaged, or none at all are refused, each with its reason."""

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile

from benchmarks.photographs import photograph
from tests.doubles.pictures import FORMATS, encoded, jpeg, png
from tests.properties import examples
from tests.unit.sdk.decoding import pixels, refusal
from triton_sdk.errors import ConfigurationError, InvalidImageError
from triton_sdk.images import to_pixels


def png_claiming(width: int, height: int) -> bytes:
    """Return a PNG whose header claims a size that its data does not have."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return start + png(8, 8)[33:]


def gif_claiming(screen: tuple[int, int], frame: tuple[int, int], *, extensions: bytes = b"") -> bytes:
    """Return a GIF whose first frame is larger than its screen."""
    palette = bytes((0, 0, 0, 255, 255, 255))
    image = b"," + struct.pack("<4HB", 0, 0, *frame, 0) + b"\x02\x02\x4c\x01\x00"
    return b"GIF89a" + struct.pack("<2H3B", *screen, 0x80, 0, 0) + palette + extensions + image + b";"


def test_a_size_is_refused_before_decoding() -> None:
    """A header that claims too many pixels, or a strip, is refused by its size alone, without a Pillow warning."""
    assert "9000 x 6000 pixels; at most 50 million" in refusal(png_claiming(9000, 6000))
    assert "20000 x 5000 pixels; at most 50 million" in refusal(png_claiming(20000, 5000))
    assert "60000 x 60000 pixels" in refusal(png_claiming(60000, 60000))
    assert "20000 x 1 pixels; sides of at most 50:1" in refusal(png_claiming(20000, 1))
    assert "1 x 51 pixels" in refusal(np.zeros((51, 1, 3), np.uint8))
    assert pixels(np.zeros((50, 1, 3), np.uint8)).shape == (224, 224, 3)
    assert "7100 x 7100 pixels" in refusal(Image.new("1", (7100, 7100)))


@pytest.mark.parametrize(
    "extensions",
    [
        b"",
        b"!\xf9\x04\x00\x00\x00\x00\x00",
        b"!\xfe\x03a,b\x02,,\x00!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00",
        b"\x01\x02",
    ],
    ids=["bare", "control", "comment-and-loop", "junk"],
)
def test_a_gif_frame_larger_than_its_screen_is_refused_first(extensions: bytes) -> None:
    """A GIF that would grow while it is opened is found out before, without a Pillow warning."""
    content = gif_claiming((1, 1), (10000, 9000), extensions=extensions)
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(content))
    assert "10000 x 9000 pixels" in refusal(content)


def test_pillows_globals_neither_matter_nor_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's own limit on pixels is not ours, and its settings and warning filters stay as they are."""
    # Below the pictures' 187,500 pixels: Image.open would warn of each.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150_000)
    filters = list(warnings.filters)
    for kind in FORMATS:
        assert pixels(encoded(photograph(), kind)).shape == (224, 224, 3)
    assert Image.MAX_IMAGE_PIXELS == 150_000
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert list(warnings.filters) == filters


def test_a_file_beyond_32_mib_is_refused() -> None:
    """Bytes are counted before any of them is looked at, and an endless file is not read to its end."""

    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            assert size > 0
            self.given += size
            return bytes(size)

    assert "the given bytes: it is larger than 32 MiB" in refusal(jpeg() + bytes(32 * 2**20))
    endless = Endless()
    assert "the given file: it is larger than 32 MiB" in refusal(endless)
    assert endless.given <= 48 * 2**20


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the given bytes: it is empty"),
        (b"a cat", "it starts with b'a cat'"),
        (b"<!DOCTYPE html><html>", "but a JPEG, PNG, WebP, BMP, GIF or TIFF was expected"),
        (b"8BPS" + bytes(100), "open it with Pillow and pass the image: predict(PIL.Image.open(path))"),
        (b"II*\x00" + bytes(100), "Cannot decode the given bytes"),
        (b"\xff\xd8\xff", "Cannot decode the given bytes"),
        (b"BM", "Cannot decode the given bytes"),
        (b"GIF89a", "Cannot decode the given bytes"),
        (b"RIFF\x00\x00\x00\x00WEBP", "Cannot decode the given bytes"),
    ],
)
def test_bytes_that_are_no_image_are_refused(content: bytes, reason: str) -> None:
    """The message says what was found and what was expected."""
    assert reason in refusal(content)


@pytest.mark.parametrize("kind", FORMATS)
def test_half_a_file_is_refused(tmp_path: Path, kind: str) -> None:
    """A file cut in the middle is refused by its path, with what Pillow said as the cause."""
    content = encoded(photograph(), kind)
    path = tmp_path / "half.img"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidImageError, match=r"Cannot decode '.*half\.img'") as caught:
        pixels(path)
    assert caught.value.__cause__ is not None


SMALL = {
    **{kind: encoded(photograph(40, 30), kind) for kind in FORMATS},
    "PNG-P": encoded(photograph(40, 30).quantize(8), "PNG", transparency=b"\x00\x01"),
    "JPEG-CMYK": encoded(photograph(40, 30).convert("CMYK"), "JPEG", progressive=True),
    "JPEG-EXIF": encoded(
        photograph(40, 30), "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03"
    ),
    "WEBP-RGBA": encoded(
        photograph(40, 30).convert("RGBA"), "WEBP", lossless=True, exif=b"Exif\x00\x00MM\x00*\x00\x00"
    ),
}


@examples(600)
@given(
    kind=st.sampled_from(sorted(SMALL)),
    # Damage to headers is the most telling.
    flips=st.lists(st.tuples(st.integers(0, 200) | st.integers(0, 4000), st.integers(0, 255)), max_size=6),
    keep=st.integers(1, 4000),
    orient=st.booleans(),
)
def test_damaged_files_give_pixels_or_our_error(
    kind: str, flips: list[tuple[int, int]], keep: int, orient: bool
) -> None:
    """Whatever bytes are changed or lost, the answer is an image or InvalidImageError."""
    content = bytearray(SMALL[kind])
    for position, value in flips:
        content[position % len(content)] = value
    try:
        found = to_pixels(bytes(content[:keep]), resize=32, height=16, width=24, orient=orient)
    except InvalidImageError:
        return
    assert found.shape == (16, 24, 3)


@examples(200)
@given(magic=st.sampled_from([content[:16] for content in SMALL.values()]), tail=st.binary(max_size=200))
def test_random_bytes_give_pixels_or_our_error(magic: bytes, tail: bytes) -> None:
    """Random bytes behind the first bytes of each format are refused as anything else is."""
    try:
        found = pixels(magic + tail)
    except InvalidImageError:
        return
    assert found.shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((30, 30, 3), np.float32), "float32 (scale it to 0..255 first)"),
        (np.full((30, 30, 3), np.nan), "float64 and holds NaN"),
        (np.zeros((30, 30, 3), np.int64), "int64"),
        (np.zeros((30, 30, 3), object), "object"),
        (np.zeros((3, 30, 30), np.uint8), "channels come last"),
        (np.zeros((30, 30), np.uint8), "(30, 30)"),
        (np.zeros((30, 30, 4), np.uint8), "(30, 30, 4)"),
        (np.zeros((2, 30, 30, 3), np.uint8), "one image at a time"),
        (np.zeros((), np.uint8), "()"),
        (np.zeros((0, 30, 3), np.uint8), "it is empty (30 x 0 pixels)"),
    ],
    ids=["float", "nan", "int64", "object", "channels-first", "grey", "rgba", "batch", "scalar", "empty"],
)
def test_arrays_of_another_kind_are_refused(array: NDArray[Any], reason: str) -> None:
    """An array that is no uint8 (height, width, 3) is refused, saying what it is."""
    message = refusal(array)
    assert message.startswith("Cannot use the given array: ")
    assert reason in message


@pytest.mark.parametrize("thing", [None, 3, ["cat.jpg"], object()])
def test_other_things_are_refused(thing: object) -> None:
    """What is no image of any kind is refused by its type."""
    assert f"from {type(thing).__name__}: a path, bytes, a binary file" in refusal(thing)


@pytest.mark.parametrize(
    "url",
    [
        "https://user:secret@example.com/cat.jpg?signature=secret",
        "S3://secret/cat.jpg",
        "data:image/png;base64,secret",
        "file:///secret",
        Path("https://example.com/secret.jpg"),
    ],
)
def test_urls_are_never_fetched(url: str | Path) -> None:
    """A URL is refused with what to do instead, and without what it may hide."""
    message = refusal(url)
    assert "URLs are never fetched" in message
    assert "secret" not in message


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A missing file, a folder, an impossible name and a misused file object are refused by name, with their cause."""
    assert f"{str(tmp_path / 'missing.jpg')!r}: No such file" in refusal(tmp_path / "missing.jpg")
    assert f"{str(tmp_path)!r}: Is a directory" in refusal(str(tmp_path))
    assert "null" in refusal("cat\0.jpg")
    assert len(refusal("x" * 100_000)) < 500
    text = tmp_path / "cat.jpg"
    text.write_text("a cat")
    with text.open() as file:
        assert f"the given file {str(text)!r}: " in refusal(file)
    assert "closed file" in refusal(file)
    with pytest.raises(InvalidImageError) as caught:
        pixels(tmp_path / "missing.jpg")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_running_out_of_memory_is_about_the_image() -> None:
    """An image that Pillow finds no memory for is refused like any other, though the error beneath says nothing."""

    class Huge(Image.Image):
        def load(self) -> None:
            raise MemoryError

    huge = Huge()
    huge._size = (300, 300)
    assert "Cannot decode the given PIL image: MemoryError" in refusal(huge)


def test_a_closed_pil_image_is_refused() -> None:
    """A PIL image that cannot give its pixels any more is refused like any damaged one."""
    picture = Image.open(io.BytesIO(jpeg()))
    picture.close()
    assert "the given PIL image" in refusal(picture)


@pytest.mark.parametrize(("resize", "height", "width"), [(223, 224, 224), (256, 224, 300), (256, 0, 224), (0, 0, 0)])
def test_a_crop_that_does_not_fit_is_a_configuration_error(resize: int, height: int, width: int) -> None:
    """A crop larger than the resized image is the configuration's fault, not the image's."""
    with pytest.raises(ConfigurationError, match=f"resized to {resize} has no centre crop of {height} x {width}"):
        to_pixels(photograph(), resize=resize, height=height, width=width)
