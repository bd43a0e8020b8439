"""TIFF, AVIF and HEIC, pictures that are turned, and what is said of formats that are not read."""

import io
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from tests.properties import examples
from triton_sdk import ClientConfig, ConfigurationError, InvalidImageError
from triton_sdk._flow import tensors
from triton_sdk._pixels import formats
from triton_sdk.contract import Framing, ModelContract, TensorSpec
from triton_sdk.images import to_pixels

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
READ_HERE = ["TIFF", *(["AVIF"] if "avif" in features.get_supported_modules() else [])]
HEIC = b"\x00\x00\x00\x1cftypheic\x00\x00\x00\x00mif1heicmiaf" + bytes(40)


def encoded(form: str, **options: Any) -> bytes:
    """Return the picture in a format of Pillow's."""
    Image.fromarray(PIXELS).save(content := io.BytesIO(), form, **options)
    return content.getvalue()


def pixels(content: bytes) -> Any:
    """Return the picture in *content*, squashed to its own size."""
    return to_pixels(content, resize=20, height=20, width=30, fit="squash")


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}, {"compression": "packbits"}, {"big_tiff": True}],
)
def test_a_tiff_is_read(options: dict[str, Any]) -> None:
    """Whatever its compression, pixel for pixel; of several pictures the first."""
    other = Image.fromarray(255 - PIXELS)
    several = encoded("TIFF", **options, save_all=True, append_images=[other])
    np.testing.assert_array_equal(pixels(several), PIXELS)


def test_a_tiff_of_another_byte_order_and_depth_is_read() -> None:
    """Scanners write 16 bits, and big-endian files."""
    values = (np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).astype(">u2")
    Image.frombytes("I;16B", (30, 20), values.tobytes()).save(content := io.BytesIO(), "TIFF")
    assert content.getvalue().startswith(b"MM")
    expected = np.round(values.astype(float) / 257)
    assert np.abs(pixels(content.getvalue())[..., 0] - expected).max() <= 1


@pytest.mark.skipif("AVIF" not in READ_HERE, reason="this Pillow cannot read AVIF")
def test_an_avif_is_read() -> None:
    """Close to what was encoded."""
    smooth = np.linspace(0, 255, 20 * 30 * 3).reshape(20, 30, 3).astype(np.uint8)
    Image.fromarray(smooth).save(content := io.BytesIO(), "AVIF", quality=95)
    assert np.abs(pixels(content.getvalue()).astype(int) - smooth).mean() < 4


def test_a_heic_is_read_by_pillow_heif() -> None:
    """Where that package is installed, to_pixels reads the pictures of phones."""
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    smooth = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    heif.from_pillow(Image.fromarray(smooth)).save(content := io.BytesIO(), quality=95)
    found = to_pixels(content.getvalue(), resize=64, height=64, width=64)
    assert np.abs(found.astype(int) - smooth).mean() < 4


@pytest.mark.parametrize(
    ("content", "module", "says"),
    [
        (HEIC, "pillow_heif", "pip install pillow-heif"),
        (HEIC.replace(b"heic", b"mif1", 1).replace(b"heic", b"heix"), "pillow_heif", "a picture in HEIC"),
        (HEIC.replace(b"heic", b"avif"), "PIL.AvifImagePlugin", "version 11.3"),
    ],
)
def test_without_its_plugin_a_picture_of_a_phone_is_named(
    content: bytes, module: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the format and the package that reads it."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InvalidImageError, match=says):
        pixels(content)


@pytest.mark.parametrize("content", [b"8BPS\x00\x01", b"\x00\x00\x00\x20ftypisom" + bytes(30), b"\x0aabc", b"%PDF-1.7"])
def test_what_is_not_read_may_be_opened_with_pillow(content: bytes) -> None:
    """The advice is a way on for whatever Pillow reads; a picture opened so is taken."""
    with pytest.raises(InvalidImageError, match="open it with Pillow and pass the image"):
        pixels(content)
    Image.fromarray(PIXELS).save(ppm := io.BytesIO(), "PPM")
    with pytest.raises(InvalidImageError, match="open it with Pillow"):
        pixels(ppm.getvalue())
    opened = Image.open(io.BytesIO(ppm.getvalue()))
    np.testing.assert_array_equal(to_pixels(opened, resize=20, height=20, width=30, fit="squash"), PIXELS)


@examples(60)
@given(form=st.sampled_from(READ_HERE), at=st.floats(0, 1), junk=st.binary(max_size=20), cut=st.booleans())
def test_a_damaged_picture_is_one_error(form: str, at: float, junk: bytes, cut: bool) -> None:
    """Whatever bytes stand in it, the picture is read or refused by the one error."""
    content = encoded(form)
    place = int(at * len(content))
    damaged = content[:place] + junk + (b"" if cut else content[place + len(junk) :])
    try:
        found = pixels(damaged)
    except InvalidImageError:
        return
    assert found.shape == (20, 30, 3)


def test_brands_beyond_their_box_are_not_looked_at() -> None:
    """The size of the box says where the list of brands ends."""
    assert formats.name_of(b"\x00\x00\x00\x14ftypisom\x00\x00\x00\x00isomavifavif") is None


@pytest.mark.parametrize("orient", [False, True])
def test_a_client_turns_the_pictures_of_phones(orient: bool) -> None:
    """`orient=True` of the configuration reaches the pixels that are sent; it is off unless asked for."""
    exif = Image.Exif()
    exif[0x0112] = 6
    config = ClientConfig(url="localhost:8001", orient=orient)
    contract = ModelContract(
        model="m",
        input=TensorSpec(name="image", dtype="UINT8", shape=(30, 20, 3)),
        output=TensorSpec(name="scores", dtype="FP32", shape=(2,)),
        layout="NHWC",
        max_batch=1,
        resize=20,
    )
    framing = Framing(resize=20, interpolation="bilinear", fit="squash")
    sent = tensors.prepare(
        [encoded("PNG", exif=exif)], contract=contract, framing=framing, first=None, orient=config.orient
    )[0]
    upright = np.rot90(PIXELS, k=-1)
    assert np.array_equal(sent, upright) is orient
    assert ClientConfig(url="localhost:8001").orient is False
    with pytest.raises(ConfigurationError, match="orient"):
        ClientConfig(url="localhost:8001", orient="yes")  # type: ignore[arg-type]
