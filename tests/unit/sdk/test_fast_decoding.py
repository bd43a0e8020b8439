"""What `decode="fast"` changes, and what it must not."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.photographs import photograph
from tests.doubles.pictures import encoded, jpeg, png
from triton_sdk._wire import cores
from triton_sdk.config import ClientConfig
from triton_sdk.errors import ConfigurationError
from triton_sdk.images import Decode, to_pixels


def difference(image: Any, *, orient: bool = False) -> tuple[int, float]:
    """Return the greatest and the mean difference between both ways to decode, in levels of 255."""
    exact, fast = (
        to_pixels(image, resize=256, height=224, width=224, orient=orient, decode=decode).astype(int)
        for decode in ("exact", "fast")
    )
    return int(np.abs(exact - fast).max()), float(np.abs(exact - fast).mean())


@pytest.mark.parametrize("size", [(1100, 1050), (1025, 1201), (2049, 2047), (1601, 2403)])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_the_difference_is_what_the_documentation_says(size: tuple[int, int], subsampling: int) -> None:
    """Large JPEGs change, by less than half a level on average and 24 at a hard coloured edge."""
    greatest, mean = difference(encoded(photograph(*size), "JPEG", subsampling=subsampling))
    assert 0 < greatest <= 24
    assert 0 < mean < 0.5


@pytest.mark.data
@pytest.mark.parametrize("name", ["goldfish", "horse-cart", "kimono", "wolves"])
def test_photographs_hardly_change(name: str) -> None:
    """Photographs from cameras, as they are and as a telephone's, differ by at most 6 levels, 0.5 on average."""
    folder = os.environ.get("TRITON_TEST_DATA")
    if not folder:
        pytest.skip("TRITON_TEST_DATA does not name the folder of real photographs")
    path = Path(folder, "images", f"{name}.jpg")
    with Image.open(path) as picture:
        large = picture.convert("RGB").resize((3000, 3000 * picture.height // picture.width))
    for image in (path, encoded(large, "JPEG")):
        greatest, mean = difference(image)
        assert greatest <= 6
        assert mean < 0.5


@pytest.mark.parametrize("image", [jpeg(500, 375), jpeg(1023, 1023), png(1100, 1050), photograph(1100, 1050)])
def test_what_is_not_a_large_jpeg_stays_exact(image: Any) -> None:
    """Below four times the resized side, and in other formats, fast is exact bit by bit."""
    assert difference(image) == (0, 0.0)


def test_the_callers_picture_is_not_drafted() -> None:
    """A JPEG that the caller opened keeps its size and its pixels, read or not."""
    picture = Image.open(io.BytesIO(jpeg(1100, 1050)))
    assert difference(picture) == (0, 0.0)
    assert picture.size == (1100, 1050)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_turned_pictures_are_cropped_where_exact_ones_are(orientation: int) -> None:
    """Turned before the crop, a scaled picture differs no more; one that cannot be halved evenly stays exact."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    even = encoded(photograph(1504, 1032), "JPEG", exif=exif)
    assert 0 < difference(even, orient=True)[1] < 0.4
    assert difference(encoded(photograph(1501, 1030), "JPEG", exif=exif), orient=True) == (0, 0.0)


@pytest.mark.parametrize("decode", ["draft", "", None])
def test_other_ways_are_refused(decode: Any) -> None:
    """A misspelt way is told, by the function and by the configuration."""
    with pytest.raises(ConfigurationError, match="'exact' or 'fast' was expected"):
        to_pixels(b"", resize=256, height=224, width=224, decode=decode)
    with pytest.raises(ConfigurationError, match="'exact' or 'fast' was expected"):
        ClientConfig(url="localhost:8001", decode=decode)


def test_exact_is_what_happens_by_itself() -> None:
    """Nobody gets other pixels without asking for them."""
    content = jpeg(1100, 1050)
    chosen: Decode = "exact"
    by_itself = to_pixels(content, resize=256, height=224, width=224)
    assert (by_itself == to_pixels(content, resize=256, height=224, width=224, decode=chosen)).all()
    assert ClientConfig(url="localhost:8001").decode == "exact"


# ---------------------------------------------------------------------------------------------------- how many workers


@pytest.mark.parametrize(
    ("allowed", "quota", "expected"),
    [
        (1, None, 1),
        (4, None, 4),
        (64, None, 8),
        (64, "150000 100000\n", 2),
        (64, "50000 100000\n", 1),
        (4, "max 100000\n", 4),
    ],
)
def test_workers_follow_the_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, allowed: int, quota: str | None, expected: int
) -> None:
    """As many as the process may use, the container's limit rounded up, and never more than 8."""
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(quota)
    monkeypatch.setattr(cores, "_QUOTA_V2", file)
    monkeypatch.setattr(cores, "_QUOTA_V1", (tmp_path / "none", tmp_path / "none"))
    monkeypatch.setattr(cores, "_allowed", lambda: allowed)
    assert cores.workers() == expected


def test_workers_follow_the_older_kind_of_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A quota in two files counts as well, and -1 means none."""
    quota, period = tmp_path / "quota", tmp_path / "period"
    period.write_text("100000\n")
    monkeypatch.setattr(cores, "_QUOTA_V2", tmp_path / "none")
    monkeypatch.setattr(cores, "_QUOTA_V1", (quota, period))
    monkeypatch.setattr(cores, "_allowed", lambda: 6)
    quota.write_text("300000\n")
    assert cores.workers() == 3
    quota.write_text("-1\n")
    assert cores.workers() == 6
