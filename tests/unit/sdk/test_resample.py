"""Resizing and cropping in one step equals torchvision's two, by Pillow and by the extra `simd`."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from benchmarks.photographs import photograph
from tests.doubles.pictures import difference, noise, reference
from tests.properties import examples
from triton_sdk._pixels import resample
from triton_sdk.contract import Fit, Interpolation
from triton_sdk.images import to_pixels


@pytest.fixture(scope="module", params=["pillow", "simd"], autouse=True)
def simd(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Run every test of this module with each way to resize."""
    wanted = request.param == "simd"
    if wanted and not resample.SIMD:
        assert not os.environ.get("CI"), "the extra `simd` is missing, or does not know this Pillow"
        pytest.skip("the extra `simd` is not installed, or does not know this Pillow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resample, "SIMD", wanted)
        yield wanted


# Most roundings meet if a picture grows by just 1.5: 79 of 150,528 values, the most of 3,800 random cases.
SIMD_SHARE = 0.001


@examples(150)
@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    resize=st.sampled_from([224, 232, 256, 257, 299, 342]),
    crop=st.tuples(st.integers(1, 224), st.integers(1, 224)) | st.just((224, 224)),
    seed=st.integers(0, 3),
    make=st.sampled_from([photograph, noise]),
)
@example(width=156, height=156, resize=342, crop=(224, 224), seed=0, make=photograph)
@example(width=280, height=280, resize=224, crop=(224, 224), seed=3, make=photograph)
@example(width=228, height=228, resize=342, crop=(224, 224), seed=2, make=photograph)
def test_any_size_equals_the_reference(
    simd: bool,
    width: int,
    height: int,
    resize: int,
    crop: tuple[int, int],
    seed: int,
    make: Callable[..., Image.Image],
) -> None:
    """One resize over the crop's box differs from resize and crop by at most 1 of 255, whatever the sizes.

    With `simd` one value of a thousand, at which two roundings meet, may differ by 2.
    """
    assume(max(width, height) <= 50 * min(width, height))
    picture = make(width, height, seed=seed)
    found = to_pixels(picture, resize=resize, height=crop[0], width=crop[1])
    expected = reference(picture, resize, *crop)
    assert difference(found, expected) <= (2 if simd else 1)
    assert np.mean(np.abs(found.astype(int) - expected) > 1) <= SIMD_SHARE


@pytest.mark.parametrize(("width", "height"), [(276, 278), (276, 280), (290, 264)])
def test_roundings_hardly_add_up(simd: bool, width: int, height: int) -> None:
    """Sizes at which a box rounded on both axes tips two roundings of the same pixel: none by Pillow, 4 by `simd`."""
    for seed in range(10):
        picture = noise(width, height, seed=seed)
        found = to_pixels(picture, resize=228, height=224, width=224)
        assert np.count_nonzero(np.abs(found.astype(int) - reference(picture, 228)) > 1) <= (4 if simd else 0)


@examples(60)
@given(
    size=st.tuples(st.integers(1, 500), st.integers(1, 500)),
    resize=st.sampled_from([96, 110, 128]),
    crop=st.tuples(st.integers(1, 96), st.integers(1, 96)) | st.just((96, 96)),
    interpolation=st.sampled_from(["bilinear", "bicubic", "nearest"]),
    fit=st.sampled_from(["crop", "squash"]),
)
def test_each_filter_and_fit_equals_the_reference(
    simd: bool, size: tuple[int, int], resize: int, crop: tuple[int, int], interpolation: Interpolation, fit: Fit
) -> None:
    """With the other filters, and squashed, pixels still are those of Pillow's resize and then its crop.

    The extra `simd` resizes with the filter `bilinear` alone; what holds above of its roundings holds here.
    """
    assume(max(size) <= 50 * min(size) and max(crop) <= 50 * min(crop))
    picture = photograph(*size)
    found = to_pixels(picture, resize=resize, height=crop[0], width=crop[1], interpolation=interpolation, fit=fit)
    filtered = Image.Resampling[interpolation.upper()]
    expected = reference(picture, resize, *crop, filtered=filtered, squash=fit == "squash")
    assert difference(found, expected) <= ((2 if simd else 1) if interpolation == "bilinear" else 0)
    assert np.mean(np.abs(found.astype(int) - expected) > 1) <= SIMD_SHARE


@pytest.mark.parametrize("size", [(300, 100), (100, 300), (120, 120), (500, 11), (7, 300), (96, 64), (33, 22)])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 96)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_padding_equals_the_reference(
    size: tuple[int, int], height: int, width: int, interpolation: Interpolation
) -> None:
    """The whole picture between black bars is what Pillow's ImageOps.pad makes."""
    picture = photograph(*size)
    found = to_pixels(picture, resize=1, height=height, width=width, interpolation=interpolation, fit="pad")
    expected = ImageOps.pad(picture, (width, height), Image.Resampling[interpolation.upper()], "black")
    assert difference(found, np.asarray(expected)) <= (1 if interpolation == "bilinear" else 0)


def test_a_picture_of_the_cropped_size_is_left_alone() -> None:
    """A picture that needs neither resize nor crop keeps every pixel."""
    picture = photograph(224, 224)
    assert difference(to_pixels(picture, resize=224, height=224, width=224), np.asarray(picture)) == 0


@pytest.mark.parametrize("size", [(500, 375), (90, 130), (1999, 1500)])
def test_one_colour_stays_that_colour(size: tuple[int, int]) -> None:
    """Weights that do not sum to one would show in a picture of one level."""
    for level in range(0, 256, 15):
        picture = Image.new("RGB", size, (level, 255 - level, 128))
        found = to_pixels(picture, resize=256, height=224, width=224)
        assert (found == (level, 255 - level, 128)).all()


@pytest.mark.data
@pytest.mark.parametrize("name", ["goldfish", "horse-cart", "kimono", "wolves"])
@pytest.mark.parametrize("resize", [256, 232])
def test_real_photographs_equal_the_reference(name: str, resize: int) -> None:
    """Photographs from cameras differ from the reference by at most 1 of 255, and hardly anywhere."""
    folder = os.environ.get("TRITON_TEST_DATA")
    if not folder:
        pytest.skip("TRITON_TEST_DATA does not name the folder of real photographs")
    path = Path(folder, "images", f"{name}.jpg")
    with Image.open(path) as picture:
        expected = reference(picture, resize)
    found = to_pixels(path, resize=resize, height=224, width=224)
    assert difference(found, expected) <= 1
    assert np.mean(found != expected) < 0.005


@pytest.mark.parametrize(("version", "known"), [("10.4.0", False), ("13.0.0", True), ("14.0.0.dev0", False)])
def test_only_pictures_of_a_known_pillow_are_read_directly(
    monkeypatch: pytest.MonkeyPatch, version: str, known: bool
) -> None:
    """The resizer reads Pillow's memory, whose layout may change with a major version."""
    monkeypatch.setattr(PIL, "__version__", version)
    assert resample.knows_pillow() is known
