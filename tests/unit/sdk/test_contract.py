"""What a model takes and gives is read from its Triton configuration, and a model that is no classifier is told."""

from typing import Any

import pytest

from triton_sdk import ContractError, ModelContract, TensorSpec
from triton_sdk.contract import Framing


def config(**changes: Any) -> dict[str, Any]:
    """Return the configuration of a packaged ResNet50, as Triton answers it."""
    return {
        "name": "resnet50",
        "max_batch_size": 32,
        "input": [{"name": "image", "data_type": "TYPE_UINT8", "dims": ["224", "224", "3"]}],
        "output": [
            {"name": "probabilities", "data_type": "TYPE_FP32", "dims": ["1000"], "label_filename": "labels.txt"}
        ],
        "parameters": {
            "image.resize": {"string_value": "256"},
            "image.resize.2": {"string_value": "232"},
            "image.scores": {"string_value": "probabilities"},
        },
        **changes,
    }


def image(**changes: Any) -> list[dict[str, Any]]:
    """Return the input of the original ResNet50."""
    return [{"name": "data", "data_type": "TYPE_FP32", "dims": [3, 224, 224], **changes}]


def test_a_packaged_model_is_read_whole() -> None:
    """Names, types, sizes, batch and the image parameters all come from the configuration."""
    contract = ModelContract.from_config(config())
    assert contract == ModelContract(
        model="resnet50",
        input=TensorSpec(name="image", dtype="UINT8", shape=(224, 224, 3)),
        output=TensorSpec(name="probabilities", dtype="FP32", shape=(1000,)),
        layout="NHWC",
        max_batch=32,
        resize=256,
        framing_by_version={2: Framing(resize=232)},
        scores="probabilities",
        labelled=True,
    )
    assert (contract.height, contract.width, contract.classes) == (224, 224, 1000)
    assert [contract.framing_for(version).resize for version in (None, 1, 2)] == [256, 256, 232]


def test_a_model_of_somebody_else_is_read_with_the_usual_defaults() -> None:
    """Without image parameters: ImageNet's mean and deviation, and the reference's ratio of resize to crop."""
    contract = ModelContract.from_config(config(input=image(), parameters={}))
    assert (contract.layout, contract.resize, contract.scores) == ("NCHW", 256, "unknown")
    assert contract.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("dims", "scores", "told"),
    [
        ([1, 3, 224, 224], [1, 1000], "data FP32 (1, 3, 224, 224)"),
        ([-1, 3, 224, 224], [-1, 1000], "data FP32 (n, 3, 224, 224)"),
        ([1, 3, 224, 224], [1, 1000, 1, 1], "data FP32 (1, 3, 224, 224)"),
        ([3, 224, 224], [1000], "data FP32 (3, 224, 224)"),
        ([3, 224, 224], [1000, 1, 1], "data FP32 (3, 224, 224)"),
    ],
)
def test_a_server_that_batches_nothing_is_read(dims: list[int], scores: list[int], told: str) -> None:
    """With max_batch_size 0 the batch axis may stand among the dimensions, and no n is told that is not there."""
    output = [{"name": "fc6_1", "data_type": "TYPE_FP32", "dims": scores}]
    contract = ModelContract.from_config(config(max_batch_size=0, input=image(dims=dims), output=output))
    assert str(contract.input) == told
    assert (contract.max_batch, contract.layout, contract.classes) == (0, "NCHW", 1000)
    assert contract.input.shape == (3, 224, 224)


@pytest.mark.parametrize(
    ("dims", "wanted", "layout", "size"),
    [
        ([3, 192, 224], "FORMAT_NONE", "NCHW", (192, 224)),
        ([192, 224, 3], "FORMAT_NONE", "NHWC", (192, 224)),
        ([3, 224, 3], "FORMAT_NHWC", "NHWC", (3, 224)),
        ([3, 224, 3], "FORMAT_NCHW", "NCHW", (224, 3)),
    ],
)
def test_the_layout_follows_the_format_where_the_shape_leaves_it_open(
    dims: list[int], wanted: str, layout: str, size: tuple[int, int]
) -> None:
    """The channels are where the 3 is; the configuration's format decides between two."""
    contract = ModelContract.from_config(config(input=image(dims=dims, format=wanted)))
    assert contract.layout == layout
    assert (contract.height, contract.width) == size


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": []}, "0 inputs and 1 outputs"),
        ({"input": image() * 2}, "2 inputs"),
        ({"input": image(data_type="TYPE_STRING", dims=[1])}, r"its input is data STRING \(n, 1\)"),
        ({"input": image(data_type="TYPE_FP16")}, "FP16"),
        ({"input": image(dims=[3, -1, -1])}, r"\(n, 3, -1, -1\)"),
        ({"input": image(dims=[1, 28, 28])}, r"\(n, 1, 28, 28\)"),
        ({"output": [{"name": "boxes", "data_type": "TYPE_FP32", "dims": [100, 4]}]}, r"boxes FP32 \(n, 100, 4\)"),
        ({"output": [{"name": "label", "data_type": "TYPE_INT64", "dims": [1]}]}, "INT64"),
        ({"parameters": {"image.resize": {"string_value": "big"}}}, r"'image\.\*' parameter"),
        ({"parameters": {"image.fit": {"string_value": "stretch"}}}, "none of crop, squash, pad"),
        ({"parameters": {"image.interpolation.3": {"string_value": "lanczos"}}}, "none of bilinear, bicubic, nearest"),
        ({"parameters": {"image.mean": {"string_value": "0.5"}}}, r"'image\.\*' parameter"),
        ({"parameters": {"image.scores": {"string_value": "softmax"}}}, "softmax"),
        ({"input": image(dims=[1, 3, 224, 224])}, r"\(n, 1, 3, 224, 224\)"),
    ],
)
def test_a_model_that_is_no_classifier_is_told_by_what_it_is(changes: dict[str, Any], words: str) -> None:
    """The error names the model and says what was found."""
    with pytest.raises(ContractError, match=words) as caught:
        ModelContract.from_config(config(**changes))
    assert "'resnet50'" in str(caught.value)
