"""The configuration that tells Triton how to serve a model."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.host.errors import TaskFailure
from scripts.repository.config_pbtxt import parse_text, render, with_version_framing
from triton_sdk.contract import Framing, ModelContract, TensorSpec

PIXELS = ModelContract(
    model="resnet50",
    input=TensorSpec(name="image", dtype="UINT8", shape=(224, 224, 3)),
    output=TensorSpec(name="probabilities", dtype="FP32", shape=(1000,)),
    layout="NHWC",
    max_batch=32,
    resize=256,
    scores="probabilities",
    labelled=True,
)
FLOATS = attrs.evolve(
    PIXELS,
    input=TensorSpec(name="data", dtype="FP32", shape=(3, 299, 299)),
    layout="NCHW",
    mean=(0.5, 0.25, 1 / 3),
    std=(0.1, 0.2, 0.3),
    scores="logits",
    labelled=False,
    resize=342,
    framing_by_version={2: Framing(resize=320), 11: Framing(resize=299, interpolation="bicubic", fit="squash")},
)


def parsed(contract: ModelContract = PIXELS) -> dict[str, Any]:
    """Return what Triton reads for *contract*."""
    return parse_text(render(contract), where="here")


@pytest.mark.parametrize("contract", [PIXELS, FLOATS, attrs.evolve(PIXELS, scores="unknown")], ids=str)
def test_what_is_written_is_what_the_client_reads(contract: ModelContract) -> None:
    """The client reads the very contract out of the file that was written for it."""
    assert ModelContract.from_config(parsed(contract)) == contract


def test_nothing_is_left_for_triton_to_guess() -> None:
    """Every field that auto-completion would fill in stands in the file."""
    config = parsed()
    assert config["name"] == "resnet50"
    assert config["backend"] == "onnxruntime"
    assert config["max_batch_size"] == 32
    assert config["input"] == [{"name": "image", "data_type": "TYPE_UINT8", "dims": ["224", "224", "3"]}]
    assert config["output"] == [
        {"name": "probabilities", "data_type": "TYPE_FP32", "dims": ["1000"], "label_filename": "labels.txt"}
    ]
    assert config["version_policy"] == {"all": {}}


def test_one_model_fits_machines_with_and_without_a_gpu() -> None:
    """No kind is named, so Triton takes a GPU where there is one."""
    assert parsed()["instance_group"] == [{"count": 1}]


def test_nobody_waits_for_company_or_for_the_batcher() -> None:
    """Requests are joined without delay, and no bound on the queue keeps a batch from being made ready in time."""
    batching = parsed()["dynamic_batching"]
    assert "max_queue_delay_microseconds" not in batching  # 0 is the proto's default
    assert "preferred_batch_size" not in batching
    assert "default_queue_policy" not in batching


def test_ready_means_warm_for_the_smallest_and_the_largest_batch() -> None:
    """Warmup covers batch 1 and the largest batch, with the input as it is sent."""
    samples = parsed(attrs.evolve(PIXELS, max_batch=8))["model_warmup"]
    assert [sample["batch_size"] for sample in samples] == [1, 8]
    for sample in samples:
        assert sample["inputs"]["image"]["dims"] == ["224", "224", "3"]
        assert sample["inputs"]["image"]["data_type"] == "TYPE_UINT8"


def test_a_mistake_is_named_with_its_line() -> None:
    """An unknown field is refused like Triton does, with the line it stands on."""
    with pytest.raises(TaskFailure, match=r"config\.pbtxt, line 3: .*batch_size_max"):
        parse_text('name: "a"\n\nbatch_size_max: 3\n', where="config.pbtxt")


@given(st.text(max_size=60))
def test_any_text_is_a_configuration_or_a_clear_refusal(text: str) -> None:
    """Whatever stands in the file, parsing gives data or our error."""
    try:
        assert isinstance(parse_text(text, where="here"), dict)
    except TaskFailure as error:
        message = str(error)
    else:
        return
    assert message.startswith("here")


def test_a_version_with_its_own_resize_leaves_every_edit_alone() -> None:
    """Setting how a version's pictures are made adds three lines and keeps comments, order and odd spacing."""
    edited = "# mine\r\n" + render(PIXELS).replace("max_batch_size: 32", "max_batch_size :   7 # measured")
    changed = with_version_framing(edited, version=3, framing=Framing(resize=232, fit="squash"))
    assert changed.startswith(edited)
    assert changed.count("\n") == edited.count("\n") + 3
    contract = ModelContract.from_config(parse_text(changed, where="here"))
    assert (contract.framing_for(3).fit, contract.framing_for(1).resize, contract.max_batch) == ("squash", 256, 7)


def test_a_version_s_resize_can_be_set_again() -> None:
    """Setting it again replaces the line of before, also where a user wrote one of their own."""
    own = render(PIXELS) + 'parameters [ { key: "image.resize.3"\n value { string_value: "300" } } ]'
    twice = with_version_framing(
        with_version_framing(own, version=3, framing=Framing(resize=232)), version=3, framing=Framing(resize=240)
    )
    assert twice.count('"image.resize.3"') == 2
    assert ModelContract.from_config(parse_text(twice, where="here")).framing_for(3) == Framing(resize=240)


def test_one_image_at_a_time_is_not_batched() -> None:
    """With max_batch 1 there is no dynamic batching and one sample for warmup; with more there are both."""
    alone = parse_text(render(attrs.evolve(PIXELS, max_batch=1)), where="alone")
    assert (alone["max_batch_size"], "dynamic_batching" in alone) == (1, False)
    assert [sample["name"] for sample in alone["model_warmup"]] == ["one image"]
    batched = parse_text(render(attrs.evolve(PIXELS, max_batch=2)), where="batched")
    assert "dynamic_batching" in batched
    assert [sample["batch_size"] for sample in batched["model_warmup"]] == [1, 2]
