"""What Hugging Face's image processors say, each form with what its own code does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.repository.preprocessing import Scaling
from scripts.sources import hugging_face
from scripts.sources.claims import Place, Share
from tests.unit.sources.test_metadata import ANYTHING, problems, told

PLACE = Place("beside the file", "preprocessor_config.json")
HALF = {"do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
HALVES = Scaling(scale=1 / 255, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ViT squashes": (
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}, "resample": 2, **HALF},
        {
            "scaling": HALVES,
            "interpolation": "bilinear",
            "fit": "squash",
            "size": (224, 224),
            "resize": 224,
        },
    ),
    "an older ViT has a bare number, and no rescaling": (
        {"feature_extractor_type": "ViTFeatureExtractor", "size": 384, "do_resize": True, **HALF},
        {"scaling": HALVES, "fit": "squash", "size": (384, 384), "resize": 384},
    ),
    "DeiT squashes to 256 and crops": (
        {
            "image_processor_type": "DeiTImageProcessor",
            "size": {"height": 256, "width": 256},
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            "resample": 3,
            **HALF,
        },
        {
            "scaling": HALVES,
            "interpolation": "bicubic",
            "fit": "squash",
            "size": (224, 224),
            "resize": 256,
        },
    ),
    "MobileNet keeps proportions": (
        {
            "image_processor_type": "MobileNetV2ImageProcessor",
            "size": {"shortest_edge": 256},
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            "rescale_factor": 1 / 255,
            **HALF,
        },
        {"scaling": HALVES, "fit": "crop", "size": (224, 224), "resize": 256},
    ),
    "CLIP's bare numbers": (
        {
            "feature_extractor_type": "CLIPFeatureExtractor",
            "size": 224,
            "crop_size": 224,
            "do_center_crop": True,
            **HALF,
        },
        {"scaling": HALVES, "fit": "crop", "size": (224, 224), "resize": 224},
    ),
    "ConvNeXt crops to a share": (
        {
            "image_processor_type": "ConvNextImageProcessor",
            "size": {"shortest_edge": 224},
            "crop_pct": 0.875,
            **HALF,
        },
        {"scaling": HALVES, "fit": "crop", "size": (224, 224), "resize": Share(part=0.875)},
    ),
    "a large ConvNeXt squashes": (
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}, "crop_pct": 1.0, **HALF},
        {"scaling": HALVES, "fit": "squash", "size": (384, 384), "resize": 384},
    ),
    "EfficientNet has an offset": (
        {
            "image_processor_type": "EfficientNetImageProcessor",
            "size": {"height": 260, "width": 260},
            "rescale_factor": 1 / 127.5,
            "rescale_offset": True,
            "do_normalize": False,
            "resample": 0,
        },
        {
            "scaling": Scaling(scale=1 / 127.5, mean=(1.0,), std=(1.0,)),
            "interpolation": "nearest",
            "fit": "squash",
            "size": (260, 260),
            "resize": 260,
        },
    ),
    "numbers on the scale of bytes": (
        {"do_rescale": False, "image_mean": [124, 116, 104], "image_std": [58, 57, 57], "do_resize": False},
        {"scaling": Scaling(scale=1.0, mean=(124.0, 116.0, 104.0), std=(58.0, 57.0, 57.0))},
    ),
    "neither rescaled nor normalised": (
        {"do_rescale": False, "do_normalize": False},
        {"scaling": Scaling(scale=1.0, mean=(0.0,), std=(1.0,))},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_form_is_followed(case: str) -> None:
    """The record says what the processor's own code does with these settings."""
    config, expected = CASES[case]
    assert told(hugging_face.preprocessor(config, PLACE)) == {"colour": "rgb", **expected}


def test_a_processor_that_flips_channels_takes_bgr() -> None:
    """MobileViT flips the channels and does not normalise, also where its file does not say so."""
    for config in ({"do_flip_channel_order": True}, {"image_processor_type": "MobileViTImageProcessor"}):
        found = told(hugging_face.preprocessor({**config, "do_normalize": False}, PLACE))
        assert found == {"colour": "bgr", "scaling": Scaling(scale=1 / 255, mean=(0.0,), std=(1.0,))}


def test_a_mean_that_the_file_leaves_to_its_class_is_not_made_up() -> None:
    """A file that normalises and names no numbers tells none."""
    assert "scaling" not in told(hugging_face.preprocessor({"do_normalize": True}, PLACE))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"resample": 1}, "interpolation"),
        ({"resample": "bicubic"}, "interpolation"),
        ({"image_mean": ["a", "b", "c"]}, "scaling"),
        ({"image_std": [0, 1, 1]}, "scaling"),
        ({"rescale_factor": "none"}, "scaling"),
        ({"size": {"longest_edge": 300}}, "size"),
        ({"size": [1, 2, 3]}, "size"),
    ],
)
def test_odd_values_are_told(changes: dict[str, Any], field: str) -> None:
    """What cannot be followed is a claim with a problem, for the field that it is about."""
    config = {"size": {"height": 8, "width": 8}, **HALF, **changes}
    assert [claim.field for claim in problems(hugging_face.preprocessor(config, PLACE))] == [field]


def test_names_and_the_kind_of_problem_come_from_the_model() -> None:
    """Names by index become a list; "several may be true" becomes multi-label."""
    config = {"id2label": {"1": "dog", "0": "cat"}, "problem_type": "multi_label_classification"}
    assert told(hugging_face.model(config, PLACE)) == {"labels": ("cat", "dog"), "scores": "multi-label"}


def test_names_that_are_none_are_not_taken() -> None:
    """What transformers writes where nobody gave names is no name."""
    assert told(hugging_face.model({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, PLACE)) == {}
    (claim,) = problems(hugging_face.model({"id2label": {"0": "cat", "5": "dog"}}, PLACE))
    assert claim.field == "labels"


KEYS = [key for config, _ in CASES.values() for key in config] + ["do_flip_channel_order"]


@given(st.dictionaries(st.sampled_from(sorted(set(KEYS))), ANYTHING))
def test_no_value_escapes_as_another_error(config: dict[str, Any]) -> None:
    """Whatever stands in the file, it is a claim or a problem."""
    for claim in hugging_face.preprocessor(config, PLACE):
        assert claim.field
