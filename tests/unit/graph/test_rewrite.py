import os
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from scripts.graph.compare import batch_difference, fused_difference
from scripts.graph.inspect import inspect
from scripts.graph.load import load
from scripts.graph.pixels import Pixels
from scripts.graph.rewrite import free_batch, fuse, give_probabilities
from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from scripts.repository import golden
from tests.doubles.tiny_models import CLASSES, classifier, constant, softmax, value
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD

PIXELS = Pixels(mean=IMAGENET_MEAN, std=IMAGENET_STD)
IMAGES = golden.images(4, height=8, width=8)


def fused(tiny: onnx.ModelProto) -> onnx.ModelProto:
    """Fuse a model with ImageNet's normalisation."""
    return fuse(tiny, inspect(tiny, size=(8, 8)), pixels=PIXELS)


def difference(tiny: onnx.ModelProto, result: onnx.ModelProto) -> float:
    """Compare a fused model with the reference."""
    return fused_difference(tiny, result, inspect(tiny, size=(8, 8)), images=IMAGES, pixels=PIXELS)


def signature(tiny: onnx.ModelProto) -> list[str]:
    """Return the real input and the output as text."""
    weights = {tensor.name for tensor in tiny.graph.initializer}
    return [
        f"{v.name} {v.type.tensor_type.elem_type} {[d.dim_value or d.dim_param for d in v.type.tensor_type.shape.dim]}"
        for v in (*tiny.graph.input, *tiny.graph.output)
        if v.name not in weights
    ]


AXES = constant("axes", [2, 3])


@pytest.mark.parametrize(
    ("tiny", "limit"),
    [
        (classifier(), 1e-6),
        (classifier(dims=("n", 8, 8, 3)), 1e-6),
        (classifier(dims=("n", 3, "h", "w")), 1e-6),
        (classifier(tail=[softmax()]), 1e-6),
        (classifier(dtype=TensorProto.UINT8, dims=("n", 8, 8, 3), tail=[softmax()]), 1e-6),
        (classifier(dtype=TensorProto.UINT8, dims=("n", 3, 8, 8)), 1e-6),
        # On a CPU onnxruntime computes in FP32 and drops the casts to half and back that stand between: the fused model
        # rounds neither image nor scores, as the original on its own must (1.8e-4 here, 8e-8 from exact arithmetic).
        (classifier(dtype=TensorProto.FLOAT16), 1e-3),
        (classifier(opset=7, ir_version=3, weights_are_inputs=True), 1e-6),
        (classifier(opset=12, ir_version=7, tail=[softmax()]), 1e-6),
        (classifier(opset=13), 1e-6),
        (classifier(opset=21, ir_version=10), 1e-6),
        # Names that the result needs, taken by values inside, by the input, or by the output.
        (classifier(inner="image", tail=[softmax(target="probabilities"), softmax("raw", "scores")]), 1e-6),
        (classifier(names=("image", "probabilities")), 1e-6),
        (classifier(names=("image", "probabilities"), tail=[softmax("raw", "probabilities")]), 1e-6),
        (classifier(names=("probabilities", "image")), 1e-6),
        (classifier(inner="constant"), 1e-6),
    ],
    ids=[
        "float-nchw",
        "float-nhwc",
        "open-size",
        "probabilities",
        "uint8-nhwc",
        "uint8-nchw",
        "half",
        "opset-7",
        "opset-12",
        "opset-13",
        "opset-21",
        "inner-names",
        "outer-names",
        "nothing-behind",
        "crossed-names",
        "constant",
    ],
)
def test_a_fused_model_takes_pixels_and_gives_the_same_probabilities(tiny: onnx.ModelProto, limit: float) -> None:
    """Whatever the original takes and gives, the wire contract is one, and the numbers are the reference's."""
    before = tiny.SerializeToString()
    result = fused(tiny)
    assert signature(result) == ["image 2 ['n', 8, 8, 3]", "probabilities 1 ['n', 5]"]
    assert difference(tiny, result) <= limit
    together = Session(result).scores(IMAGES)
    np.testing.assert_allclose(together, Session(result).alone(IMAGES), atol=1e-6)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)
    assert len({row.tobytes() for row in together}) == len(IMAGES)
    assert tiny.SerializeToString() == before


def test_the_difference_sees_a_wrong_mean() -> None:
    """The proof of equality fails where the graph normalises otherwise than the reference."""
    tiny = classifier()
    wrong = fuse(tiny, inspect(tiny), pixels=attrs.evolve(PIXELS, mean=(0.5, 0.5, 0.5)))
    assert difference(tiny, wrong) > 1e-2


def test_scores_with_axes_of_one_become_flat() -> None:
    """(n, classes, 1, 1) is served as (n, classes)."""
    tail = [helper.make_node("Unsqueeze", ["raw", "axes"], ["scores"])]
    tiny = classifier(tail=tail, out_dims=("n", CLASSES, 1, 1))
    tiny.graph.initializer.append(AXES)
    result = fused(tiny)
    assert signature(result)[1] == "probabilities 1 ['n', 5]"
    assert difference(tiny, result) <= 1e-6


def test_a_name_used_inside_a_branch_is_renamed_there_too() -> None:
    """A value called "image" that an If's branches read keeps feeding them."""
    branches = {
        key: helper.make_graph(
            [helper.make_node("Mul", ["image", factor], [f"{key}_out"])],
            key,
            [],
            [onnx.ValueInfoProto(name=f"{key}_out")],
        )
        for key, factor in (("then_branch", "two"), ("else_branch", "three"))
    }
    tail = [
        helper.make_node("Identity", ["raw"], ["image"]),
        helper.make_node("If", ["choice"], ["scores"]),
    ]
    tail[1].attribute.extend(helper.make_attribute(key, branch) for key, branch in branches.items())
    tiny = classifier(tail=tail)
    tiny.graph.initializer.extend(
        [constant("two", [2], np.float32), constant("three", [3], np.float32), constant("choice", [1], np.bool_)]
    )
    assert difference(tiny, fused(tiny)) <= 1e-6


def test_metadata_and_functions_survive() -> None:
    """Who made a model, its notes and its local functions stay; the opset and the IR version as well."""
    tiny = classifier(tail=[helper.make_node("Double", ["raw"], ["scores"], domain="local")])
    tiny.functions.append(
        helper.make_function(
            "local",
            "Double",
            ["image"],
            ["twice"],
            [helper.make_node("Add", ["image", "image"], ["twice"])],
            [helper.make_opsetid("", 17)],
        )
    )
    tiny.opset_import.append(helper.make_opsetid("local", 1))
    tiny.producer_name = "someone"
    helper.set_model_props(tiny, {"licence": "theirs"})
    result = fused(tiny)
    assert difference(tiny, result) <= 1e-6
    for field in ("producer_name", "metadata_props", "functions", "opset_import", "ir_version"):
        assert getattr(result, field) == getattr(tiny, field)


def test_a_fixed_batch_stays_fixed() -> None:
    """Fusing alone never claims that a model takes batches."""
    result = fused(classifier(dims=(1, 3, 8, 8), out_dims=(1, CLASSES)))
    assert signature(result) == ["image 2 [1, 8, 8, 3]", "probabilities 1 [1, 5]"]


@pytest.mark.parametrize("tail", [[], [softmax()]], ids=["logits", "probabilities"])
def test_the_input_may_be_kept(tail: Sequence[onnx.NodeProto]) -> None:
    """With the softmax alone the input is untouched and the output has the contract's name."""
    tiny = classifier(tail=tail)
    result = give_probabilities(tiny, inspect(tiny))
    assert signature(result) == ["data 1 ['n', 3, 8, 8]", "probabilities 1 ['n', 5]"]
    np.testing.assert_allclose(Session(result).scores(np.ones((2, 3, 8, 8), np.float32)).sum(axis=1), 1, atol=1e-5)


def reshaping(shape: Sequence[int], *, as_node: bool = False) -> onnx.ModelProto:
    """Return a model with a batch of 1 that flattens by a Reshape to a constant shape."""
    tail = [helper.make_node("Reshape", ["raw", "shape"], ["scores"])]
    tiny = classifier(dims=(1, 3, 8, 8), out_dims=(1, CLASSES), tail=tail)
    target = constant("shape", shape)
    if as_node:
        tiny.graph.node.insert(0, helper.make_node("Constant", [], ["shape"], value=target))
    else:
        tiny.graph.initializer.append(target)
    tiny.graph.value_info.append(value("raw", [1, CLASSES]))
    return tiny


@pytest.mark.parametrize(
    "fixed",
    [
        classifier(dims=(1, 3, 8, 8), out_dims=(1, CLASSES)),
        reshaping([1, CLASSES]),
        reshaping([1, -1]),
        reshaping([-1, CLASSES]),
        reshaping([0, -1]),
        reshaping([1, -1], as_node=True),
    ],
    ids=["plain", "1-classes", "1-rest", "rest-classes", "copy-rest", "constant-node"],
)
def test_a_fixed_batch_is_freed_where_that_is_the_same_function(fixed: onnx.ModelProto) -> None:
    """A batch of 3 gives what 3 single images gave, and the declared shapes say so."""
    freed = free_batch(fixed, inspect(fixed))
    assert inspect(freed).batch is None
    assert signature(freed) == ["data 1 ['batch', 3, 8, 8]", "scores 1 ['batch', 5]"]
    # What was noted of values inside says that there is one image.
    assert not freed.graph.value_info
    batch = np.random.default_rng(1).normal(size=(4, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(Session(freed).scores(batch), Session(fixed).alone(batch), rtol=1e-5)
    assert inspect(fixed).batch == 1


def test_a_reshape_of_a_weight_is_left_alone() -> None:
    """What is made from weights alone and reshaped to (1, classes) has no batch axis."""
    tail = [
        helper.make_node("Neg", ["bias"], ["negative"]),
        helper.make_node("Reshape", ["negative", "shape"], ["row"]),
        helper.make_node("Add", ["raw", "row"], ["scores"]),
    ]
    tiny = classifier(dims=(1, 3, 8, 8), out_dims=(1, CLASSES), tail=tail)
    tiny.graph.initializer.extend([constant("bias", [1, 2, 3, 4, 5], np.float32), constant("shape", [1, -1])])
    freed = free_batch(tiny, inspect(tiny))
    assert next(node for node in freed.graph.node if node.op_type == "Reshape").input[1] == "shape"


def test_a_dynamic_batch_is_returned_as_it_is() -> None:
    """There is nothing to free."""
    tiny = classifier()
    assert free_batch(tiny, inspect(tiny)) is tiny


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        # Normalising over the batch axis is another function for more than one image.
        (
            [
                helper.make_node("ReduceMean", ["raw"], ["mean"], axes=[0], keepdims=1),
                helper.make_node("Mul", ["raw", "mean"], ["scores"]),
            ],
            "with what shares its batch",
        ),
        # The shape is not a Reshape's, and is not found.
        (
            [
                helper.make_node("Reshape", ["raw", "long"], ["line"]),
                helper.make_node("Add", ["line", "bias"], ["sum"]),
                helper.make_node("Reshape", ["sum", "shape"], ["scores"]),
            ],
            "cannot be made dynamic: onnxruntime cannot run the model",
        ),
    ],
    ids=["other-numbers", "does-not-run"],
)
def test_a_batch_that_cannot_be_freed_is_refused_with_the_reason(tail: list[onnx.NodeProto], message: str) -> None:
    """Nothing is called dynamic that onnxruntime does not show to be."""
    tiny = classifier(dims=(1, 3, 8, 8), out_dims=(1, CLASSES), tail=tail)
    tiny.graph.initializer.extend(
        [constant("long", [-1]), constant("bias", [1, 2, 3, 4, 5], np.float32), constant("shape", [1, CLASSES])]
    )
    with pytest.raises(TaskFailure, match=message):
        free_batch(tiny, inspect(tiny))


def test_batch_mates_matter_only_to_a_dynamically_quantised_model() -> None:
    """The measure is nothing for a float model, and something where the batch sets the scale."""
    tail = [
        helper.make_node("DynamicQuantizeLinear", ["raw"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["scores"]),
    ]
    assert batch_difference(fused(classifier()), IMAGES) <= 1e-6
    assert batch_difference(fused(classifier(tail=tail)), IMAGES) > 1e-4


def test_the_batch_of_all_is_not_the_only_one_that_counts() -> None:
    """Rounding may move an image more beside one neighbour than among all; the larger figure is given."""
    tail = [
        helper.make_node("DynamicQuantizeLinear", ["raw"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["scores"]),
    ]
    session, together, pairs = Session(quantised := classifier(tail=tail)), 0, 0
    for seed in range(8):
        images = np.random.default_rng(seed).normal(size=(4, 3, 8, 8)).astype(np.float32)
        alone = session.alone(images)
        among_all = np.abs(session.scores(images) - alone).max()
        in_pairs = max(np.abs(session.scores(images[i : i + 2]) - alone[i : i + 2]).max() for i in range(3))
        assert batch_difference(quantised, images) == pytest.approx(max(among_all, in_pairs))
        together += among_all > in_pairs
        pairs += in_pairs > among_all
    assert together
    assert pairs


def test_a_model_that_fails_on_its_input_says_on_what() -> None:
    """The message names the tensor and its shape."""
    with pytest.raises(TaskFailure, match=r"data float32 \(1, 4, 8, 8\)"):
        Session(classifier()).scores(np.zeros((1, 4, 8, 8), np.float32))


@pytest.mark.data
@pytest.mark.skipif("TRITON_TEST_DATA" not in os.environ, reason="TRITON_TEST_DATA is not set")
def test_the_real_int8_mobilenetv2_is_fused_without_loss() -> None:
    """Even the rounding of a quantised model does not see the difference; what shares its batch it does see."""
    original = load(Path(os.environ["TRITON_TEST_DATA"]) / "models" / "mobilenetv2-int8.onnx")
    found = inspect(original)
    result = fuse(original, found, pixels=PIXELS)
    images = golden.images(4, height=224, width=224)
    assert fused_difference(original, result, found, images=images, pixels=PIXELS) <= 1e-6
    assert 1e-3 < batch_difference(result, images) < 0.5
