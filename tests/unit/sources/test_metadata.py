"""What ONNX files say of their pictures by their own metadata."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.host.errors import TaskFailure
from scripts.repository.preprocessing import Scaling
from scripts.sources import image_metadata, timm, ultralytics
from scripts.sources.claims import Claim, Place, Share

PLACE = Place("file metadata", "the ONNX file")
UNIT = Scaling(scale=1 / 255, mean=(0.0,), std=(1.0,))


def told(claims: Any) -> dict[str, Any]:
    """Return the values of claims by field, where each field is claimed once and none is unusable."""
    found: dict[str, Any] = {}
    for claim in claims:
        assert not claim.problem
        assert claim.field not in found
        found[claim.field] = claim.value
    return found


def problems(claims: Any) -> list[Claim]:
    """Return the claims that cannot be followed."""
    return [claim for claim in claims if claim.problem]


IMAGE_CASES: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "BGR, 0 to 255": (
        {
            "Image.BitmapPixelFormat": "Bgr8",
            "Image.ColorSpaceGamma": "SRGB",
            "Image.NominalPixelRange": "NominalRange_0_255",
        },
        {"colour": "bgr", "scaling": Scaling(scale=1.0, mean=(0.0,), std=(1.0,))},
    ),
    "RGB, 0 to 1": (
        {"Image.BitmapPixelFormat": "Rgb8", "Image.NominalPixelRange": "Normalized_0_1"},
        {"colour": "rgb", "scaling": UNIT},
    ),
    "gray, -1 to 1": (
        {"Image.BitmapPixelFormat": "Gray8", "Image.NominalPixelRange": "Normalized_1_1"},
        {"colour": "gray", "scaling": Scaling(scale=1 / 127.5, mean=(1.0,), std=(1.0,))},
    ),
    "video levels": (
        {"Image.NominalPixelRange": "NominalRange_16_235"},
        {"scaling": Scaling(scale=219 / 255, mean=(-16.0,), std=(1.0,))},
    ),
    "other spelling": ({"image.bitmapPixelFormat": " bgr8 "}, {"colour": "bgr"}),
    "nothing": ({"author": "somebody"}, {}),
    "Custom Vision that stretches": (
        {
            "CustomVision.Preprocess.ResizeMethod": "Stretch",
            "CustomVision.Preprocess.TargetHeight": "300",
            "CustomVision.Preprocess.TargetWidth": "320",
            "CustomVision.Preprocess.NormalizeMean": "[0.0, 0.0, 0.0]",
            "CustomVision.Preprocess.NormalizeStd": "[1.0, 1.0, 1.0]",
            "CustomVision.Postprocess.Method": "ClassificationMultiLabel",
            "Image.NominalPixelRange": "Normalized_0_1",
        },
        {"fit": "squash", "size": (300, 320), "scaling": UNIT, "scores": "multi-label"},
    ),
    "Custom Vision that crops": (
        {
            "CustomVision.Preprocess.ResizeMethod": "ByShorterSide",
            "CustomVision.Preprocess.CropMethod": "OneCropCenter",
            "CustomVision.Preprocess.TargetHeight": "256",
            "CustomVision.Preprocess.TargetWidth": "256",
            "CustomVision.Preprocess.CropHeight": "224",
            "CustomVision.Preprocess.CropWidth": "224",
        },
        {"fit": "crop", "size": (224, 224), "resize": 256},
    ),
    "Custom Vision that normalises": (
        {
            "Image.NominalPixelRange": "NominalRange_0_255",
            "CustomVision.Preprocess.NormalizeMean": "[123.0, 117.0, 104.0]",
            "CustomVision.Preprocess.NormalizeStd": "[58.0, 57.0, 57.0]",
        },
        {"scaling": Scaling(scale=1.0, mean=(123.0, 117.0, 104.0), std=(58.0, 57.0, 57.0))},
    ),
}


@pytest.mark.parametrize("case", IMAGE_CASES)
def test_image_metadata_is_followed(case: str) -> None:
    """ONNX's own keys, and Custom Vision's, become fields of the record."""
    metadata, expected = IMAGE_CASES[case]
    assert told(image_metadata.claims(metadata, PLACE)) == expected


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"Image.BitmapPixelFormat": "Bgra8"}, "none of Gray8, Rgb8 and Bgr8"),
        ({"Image.BitmapPixelFormat": ""}, "none of Gray8"),
        ({"Image.NominalPixelRange": "0..255"}, "none of NominalRange_0_255"),
        ({"Image.ColorSpaceGamma": "Linear"}, "other light"),
        ({"CustomVision.Preprocess.NormalizeMean": "[1, 2"}, "no numbers"),
        ({"CustomVision.Preprocess.NormalizeStd": "[0, 0, 0]"}, "no numbers"),
    ],
)
def test_odd_image_metadata_is_told_and_not_followed(metadata: dict[str, str], words: str) -> None:
    """A value that has no meaning here becomes a claim with a problem, which asks for the flag."""
    (claim,) = problems(image_metadata.claims(metadata, PLACE))
    assert words in claim.problem


def test_an_ultralytics_classifier_is_read_whole() -> None:
    """Task, names and size say all: x/255, the shorter side to imgsz, RGB."""
    metadata = {"task": "classify", "imgsz": "[32, 48]", "names": "{0: 'red', 1: 'green', 2: 'blue'}", "channels": "3"}
    found = told(ultralytics.claims(metadata, PLACE))
    assert found == {
        "colour": "rgb",
        "scaling": UNIT,
        "interpolation": "bilinear",
        "fit": "crop",
        "size": (32, 48),
        "resize": 48,
        "labels": ("red", "green", "blue"),
    }


def test_an_ultralytics_detector_is_refused() -> None:
    """A detector has the same keys, and is no classifier."""
    with pytest.raises(TaskFailure, match="task 'detect'"):
        list(ultralytics.claims({"task": "detect", "imgsz": "[640, 640]", "names": "{0: 'a'}"}, PLACE))


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"names": "{0: 'red', 2: 'blue'}"}, "labels", "leaves indices of classes out"),
        ({"names": "['red'"}, "labels", "no list of names"),
        ({"names": "[" * 5000}, "labels", "no list of names"),
        ({"names": "{'a': 'b'}"}, "labels", "indices of classes were expected"),
        ({"names": "{0: '', 1: 'b'}"}, "labels", "blank name"),
        ({"imgsz": "large"}, "size", "no height and width"),
        ({"imgsz": "[0, 32]"}, "size", "no height and width"),
    ],
)
def test_damaged_ultralytics_metadata_is_told(changes: dict[str, str], field: str, words: str) -> None:
    """Names and sizes that cannot be read are claims with a problem."""
    metadata = {"task": "classify", "imgsz": "224", "names": "['a', 'b']"} | changes
    (claim,) = problems(ultralytics.claims(metadata, PLACE))
    assert (claim.field, words in claim.problem) == (field, True)


TIMM = {
    "architecture": "resnet18",
    "num_classes": 2,
    "pretrained_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "input_size": [3, 288, 288],
        "crop_pct": 0.95,
        "interpolation": "bicubic",
        "crop_mode": "squash",
    },
    "label_names": ["n01", "n02"],
    "label_descriptions": {"n01": "tench, Tinca tinca", "n02": "goldfish"},
}


def test_timm_s_configuration_is_read_whole() -> None:
    """Numbers, size, crop, filter, fit and names; x/255 and RGB are what timm always does."""
    assert told(timm.claims(TIMM, PLACE)) == {
        "scaling": Scaling(scale=1 / 255, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        "colour": "rgb",
        "size": (288, 288),
        "resize": Share(part=0.95),
        "interpolation": "bicubic",
        "fit": "squash",
        "labels": ("tench, Tinca tinca", "goldfish"),
    }


def test_timm_s_older_flat_form_and_metadata_say_the_same() -> None:
    """Older files hold the settings without a level between, and a file's metadata holds them as words of JSON."""
    flat = {"architecture": "x", "mean": "[0.1]", "std": "[0.2]", "input_size": "[1, 28, 28]", "crop_pct": "0.875"}
    found = told(timm.from_metadata(flat, PLACE))
    assert found["colour"] == "gray"
    assert (found["size"], found["resize"].resize(28), found["fit"]) == ((28, 28), 32, "crop")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mean": "half"}, "scaling"),
        ({"std": [0, 0, 0]}, "scaling"),
        ({"input_size": [3]}, "size"),
        ({"crop_pct": 1.5}, "resize"),
        ({"interpolation": "lanczos"}, "interpolation"),
        ({"crop_mode": "random"}, "fit"),
        ({"label_names": 7}, "labels"),
    ],
)
def test_odd_timm_values_are_told(changes: dict[str, Any], field: str) -> None:
    """What clients cannot follow is a claim with a problem, for the field that it is about."""
    config = TIMM | {"pretrained_cfg": TIMM["pretrained_cfg"] | changes}  # type: ignore[operator]
    assert [claim.field for claim in problems(timm.claims(config, PLACE))] == [field]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["mean", "std", "input_size", "crop_pct", "crop_mode", "label_names"]), ANYTHING)
)
def test_no_timm_value_escapes_as_another_error(config: dict[str, Any]) -> None:
    """Whatever stands in the file, it is a claim or a problem."""
    for claim in timm.claims({"architecture": "x"} | config, PLACE):
        assert claim.field


@given(st.dictionaries(st.sampled_from(["imgsz", "names", "channels"]), st.text(max_size=20)))
def test_no_ultralytics_value_escapes_as_another_error(metadata: dict[str, str]) -> None:
    """Whatever stands in the metadata, it is a claim or a problem."""
    for claim in ultralytics.claims({"task": "classify", "imgsz": "1", "names": "['a']"} | metadata, PLACE):
        assert claim.field
