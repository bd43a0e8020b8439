import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from benchmarks.photographs import photograph
from tests.doubles.pictures import FORMATS, difference, encoded, jpeg, png, reference
from tests.properties import examples
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD, Layout, ModelContract, TensorSpec
from triton_sdk.errors import ConfigurationError, InvalidImageError
from triton_sdk.images import ImageLike, normalise, to_pixels, to_tensor


def pixels(image: Any, *, orient: bool = False) -> NDArray[np.uint8]:
    """Return what a common classifier sees of *image*."""
    return to_pixels(image, resize=256, height=224, width=224, orient=orient)


def refusal(image: Any) -> str:
    """Return the message with which *image* is refused; a warning on the way is a failure."""
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        with pytest.raises(InvalidImageError) as caught:
            pixels(image)
    assert [str(warning.message) for warning in leaked] == []
    return str(caught.value)


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


# ------------------------------------------------------------------------------------------------------ what is refused


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


# ---------------------------------------------------------------------------------------------------------- normalising


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@examples(30)
@given(
    mean=st.tuples(*[st.floats(0, 1)] * 3) | st.just(IMAGENET_MEAN),
    std=st.tuples(*[st.floats(0.01, 1)] * 3) | st.just(IMAGENET_STD),
)
def test_normalising_is_bit_identical_to_the_formula(
    layout: Layout, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    """Looking up each of the 256 levels of each channel gives the very bits of the formula in float32."""
    levels = np.arange(2 * 16 * 24 * 3, dtype=np.uint32).reshape(2, 16, 24, 3)
    batch = ((levels * 7 + levels // 768) % 256).astype(np.uint8)
    assert all(len(np.unique(batch[..., channel])) == 256 for channel in range(3))
    expected = (batch.astype(np.float32) / np.float32(255) - np.array(mean, np.float32)) / np.array(std, np.float32)
    if layout == "NCHW":
        expected = expected.transpose(0, 3, 1, 2)
    found = normalise(batch, mean=mean, std=std, layout=layout)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["UINT8", "FP32"])
def test_pixels_become_what_a_model_takes(dtype: str, layout: Layout) -> None:
    """Its type, normalised where that is no type of pixels, and its order of axes."""
    batch = np.random.default_rng(1).integers(0, 256, (2, 5, 4, 3), np.uint8)
    shape = (5, 4, 3) if layout == "NHWC" else (3, 5, 4)
    contract = ModelContract(
        model="m",
        input=TensorSpec(name="x", dtype=dtype, shape=shape),
        output=TensorSpec(name="y", dtype="FP32", shape=(2,)),
        layout=layout,
        max_batch=2,
        resize=5,
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
    )
    found = to_tensor(batch, contract)
    assert found.dtype == {"UINT8": np.uint8, "FP32": np.float32}[dtype]
    assert found.shape == (2, *shape)
    assert found.flags.c_contiguous
    expected = batch if dtype == "UINT8" else (batch / 255 - contract.mean) / contract.std
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1) if layout == "NCHW" else found, expected, atol=1e-5)
