"""What an owner chooses of a graph."""

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from scripts.graph.choose import choose_output, freeze
from scripts.graph.inspect import inspect
from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from tests.doubles.score_heads import node
from tests.doubles.tiny_models import CLASSES, classifier, constant, softmax, value

IMAGES = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)


def two_outputs() -> onnx.ModelProto:
    """Return a classifier that gives its logits and, as its first output, their features."""
    model = classifier(tail=[node("Mul", "raw two")])
    model.graph.initializer.append(constant("two", [2.0], np.float32))
    model.graph.output.insert(0, value("flat", ["n", 3]))
    return model


def test_the_refusal_of_two_outputs_names_the_flags_that_choose() -> None:
    """Each of the two is then packaged for what it is, and what only the other one needs is left out."""
    model = two_outputs()
    with pytest.raises(TaskFailure, match="Choose it") as refusal:
        inspect(model)
    names = re.findall(r"--output (\w+)", str(refusal.value))
    assert names == ["flat", "scores"]
    chosen = {name: choose_output(model, name) for name in names}
    assert {name: inspect(part).classes for name, part in chosen.items()} == {"flat": 3, "scores": CLASSES}
    both = Session(model).outputs({"data": IMAGES})
    for name, expected in zip(names, both, strict=True):
        np.testing.assert_array_equal(Session(chosen[name]).scores(IMAGES), expected)
    assert [n.op_type for n in chosen["flat"].graph.node] == ["Cast", "GlobalAveragePool", "Flatten"]
    assert len(model.graph.output) == 2


def test_a_value_inside_can_be_chosen() -> None:
    """What a softmax was made of is an output as good as any; a name that is none is refused with those that are."""
    model = classifier(tail=[softmax()])
    logits = choose_output(model, "raw")
    assert inspect(logits).scores == "logits"
    with pytest.raises(TaskFailure, match=r"outputs are 'scores'; .*'raw'"):
        choose_output(model, "rwa")


def test_a_value_that_a_branch_reads_keeps_its_maker() -> None:
    """An If's branches read values of the graph around them without naming them as inputs."""
    branches = {
        key: helper.make_graph([node("Neg", "raw", f"{key}_out")], key, [], [onnx.ValueInfoProto(name=f"{key}_out")])
        for key in ("then_branch", "else_branch")
    }
    chosen = node("If", "choice", "turned")
    chosen.attribute.extend(helper.make_attribute(key, branch) for key, branch in branches.items())
    model = classifier(tail=[chosen, softmax("turned")])
    model.graph.initializer.append(constant("choice", [1], np.bool_))
    assert inspect(choose_output(model, "turned")).scores == "logits"


def forest(*, zipmap: bool) -> onnx.ModelProto:
    """Return a linear classifier as scikit-learn's converter writes it: the best class, and a map or its scores."""
    nodes = [
        node("GlobalAveragePool", "data", "pooled"),
        node("Flatten", "pooled", "flat", axis=1),
        helper.make_node(
            "LinearClassifier",
            ["flat"],
            ["label", "raw"],
            domain="ai.onnx.ml",
            coefficients=np.random.default_rng(0).normal(size=9).astype(np.float32).tolist(),
            intercepts=[0.0, 0.1, 0.2],
            classlabels_ints=[0, 1, 2],
            post_transform="SOFTMAX",
        ),
    ]
    maps = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    output = value("raw", ["n", 3])
    if zipmap:
        nodes.append(node("ZipMap", "raw", "output_probability", domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]))
        output = helper.make_value_info("output_probability", helper.make_sequence_type_proto(maps))
    graph = helper.make_graph(
        nodes,
        "forest",
        [value("data", ["n", 3, 8, 8])],
        [value("label", ["n"], TensorProto.INT64), output],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


@pytest.mark.parametrize("zipmap", [True, False], ids=["zipmap", "tensor"])
def test_scikit_learn_s_label_and_probabilities(*, zipmap: bool) -> None:
    """The refusal offers the probabilities alone; behind a map the scores that go into it are meant."""
    model = forest(zipmap=zipmap)
    with pytest.raises(TaskFailure, match="Choose it") as refusal:
        inspect(model)
    (name,) = re.findall(r"--output (\w+)", str(refusal.value))
    found = inspect(choose_output(model, name))
    assert (found.scores, found.classes) == ("probabilities", 3)
    with pytest.raises(TaskFailure, match="float scores"):
        inspect(choose_output(model, "label"))


def test_a_detector_is_not_told_to_choose() -> None:
    """Boxes and maps of features are no scores, whichever of them is taken."""
    model = classifier(out_dims=("n", 4, CLASSES))
    model.graph.output.append(value("flat", ["n", 3, 8, 8]))
    with pytest.raises(TaskFailure, match="no image classifier") as refusal:
        inspect(model)
    assert "--output" not in str(refusal.value)


def test_only_values_that_may_be_scores_are_offered() -> None:
    """A map of features has no scores behind it; a stack of two heads is offered each of them, and each is one."""
    tail = [node("Unsqueeze", "raw axes", "wide"), node("Expand", "wide shape")]
    stacked = classifier(tail=tail, out_dims=("n", 2, CLASSES))
    stacked.graph.initializer.extend([constant("axes", [1], np.int64), constant("shape", [1, 2, 1], np.int64)])
    with pytest.raises(TaskFailure, match="earlier value") as refusal:
        inspect(stacked)
    offered = re.findall(r"--output (\w+)", str(refusal.value))
    assert offered == ["wide", "raw"]
    assert [inspect(choose_output(stacked, name)).classes for name in offered] == [CLASSES, CLASSES]
    features = classifier(out_dims=("n", 3, 8, 8))
    del features.graph.node[:]
    features.graph.node.extend([node("Neg", "data", "turned"), node("Abs", "turned", "scores")])
    with pytest.raises(TaskFailure, match="float scores") as refusal:
        inspect(features)
    assert "--output" not in str(refusal.value)


def test_a_map_alone_is_refused_with_the_flag_that_opens_it() -> None:
    """Where the map is the only output, the refusal says what takes its tensor."""
    model = forest(zipmap=True)
    del model.graph.output[0]
    with pytest.raises(TaskFailure, match="--output output_probability"):
        inspect(model)


def with_input(dtype: int, dims: list[int | str]) -> onnx.ModelProto:
    """Return a classifier with an input beside the image that the scores are multiplied by."""
    model = classifier(tail=[node("Cast", "extra", "number", to=TensorProto.FLOAT), node("Mul", "raw number")])
    model.graph.input.append(value("extra", dims, dtype))
    return model


@pytest.mark.parametrize(
    ("dtype", "dims", "numbers"),
    [
        (TensorProto.FLOAT, [], [0.5]),
        (TensorProto.FLOAT, [1], [2.0]),
        (TensorProto.FLOAT16, ["n", 1], [2.0]),
        (TensorProto.BOOL, [], [1.0]),
        (TensorProto.INT64, [CLASSES], [3.0]),
        (TensorProto.FLOAT, [1, CLASSES], [1.0, 2.0, 3.0, 4.0, 5.0]),
    ],
    ids=["scalar", "one", "open", "bool", "filled", "listed"],
)
def test_an_input_beside_the_image_becomes_a_constant(dtype: int, dims: list[int | str], numbers: list[float]) -> None:
    """The refusal names the flag; with it the model is asked for an image alone and answers as it was told."""
    model = with_input(dtype, dims)
    with pytest.raises(TaskFailure, match="--freeze extra=VALUE"):
        inspect(model)
    frozen = freeze(model, {"extra": numbers})
    assert inspect(frozen).input.name == "data"
    shape = [dim if isinstance(dim, int) else 1 for dim in dims]
    extra = np.full(shape, numbers[0]) if len(numbers) == 1 else np.array(numbers).reshape(shape)
    feeds = {"data": IMAGES, "extra": extra.astype(helper.tensor_dtype_to_np_dtype(dtype))}
    np.testing.assert_allclose(Session(frozen).scores(IMAGES), Session(model).outputs(feeds)[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"keep_prob": [1.0]}, "no input of this name. Its inputs are 'data', 'extra'"),
        ({"extra": [1.0, 2.0]}, "takes 1 number or 5"),
        ({"extra": [0.5]}, "numbers of type int64, not 0.5"),
    ],
    ids=["name", "count", "type"],
)
def test_what_cannot_be_frozen_is_refused(values: dict[str, list[float]], message: str) -> None:
    """The refusal says what the input takes."""
    with pytest.raises(TaskFailure, match=message):
        freeze(with_input(TensorProto.INT64, [CLASSES]), values)
