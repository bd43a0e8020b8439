import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from scripts.graph.inspect import inspect
from scripts.graph.load import load
from scripts.host.errors import TaskFailure
from tests.doubles.tiny_models import CLASSES, classifier, constant, model, softmax, value


def saved(path: Path, content: onnx.ModelProto) -> Path:
    """Write a model."""
    path.write_bytes(content.SerializeToString())
    return path


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    """What was written comes back, field for field."""
    written = classifier()
    assert load(saved(tmp_path / "model.onnx", written)) == written


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    """Each of the two is named for what it is."""
    with pytest.raises(TaskFailure, match=r"absent\.onnx does not exist"):
        load(tmp_path / "absent.onnx")
    with pytest.raises(TaskFailure, match="is a folder"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<html>404 Not Found</html>" * 20, "is not an ONNX model"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "is not an ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "is not an ONNX model"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "truncated or damaged"),
    ],
    ids=["empty", "html", "png", "lfs-pointer", "header-only"],
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """Files that hold something else are refused, each with its reason."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(TaskFailure, match=message):
        load(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    """No prefix of a model passes for a model, even where it is valid protobuf."""
    content = classifier().SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(TaskFailure, match=r"model\.onnx"):
            load(path)


def test_weights_shorter_than_their_shape_are_refused(tmp_path: Path) -> None:
    """A damaged weight is found when the file is read, not when it is served."""
    damaged = classifier()
    damaged.graph.initializer[0].raw_data = damaged.graph.initializer[0].raw_data[:8]
    with pytest.raises(TaskFailure, match="not a valid ONNX model"):
        load(saved(tmp_path / "model.onnx", damaged))


def test_a_node_fed_by_nothing_is_refused(tmp_path: Path) -> None:
    """A graph that lacks a weight is not valid."""
    lacking = classifier()
    del lacking.graph.initializer[:]
    with pytest.raises(TaskFailure, match="matrix"):
        load(saved(tmp_path / "model.onnx", lacking))


def test_weights_in_a_file_beside_are_read(tmp_path: Path) -> None:
    """The loaded model holds its weights itself, so that it can be written as one file."""
    whole = classifier()
    path = tmp_path / "model.onnx"
    onnx.save_model(classifier(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").is_file()
    found = load(path)
    assert not onnx.external_data_helper.uses_external_data(found.graph.initializer[0])
    np.testing.assert_array_equal(
        numpy_helper.to_array(found.graph.initializer[0]), numpy_helper.to_array(whole.graph.initializer[0])
    )


def test_missing_and_short_weights_beside_are_named(tmp_path: Path) -> None:
    """The file that is missing is named, and one that is too short is noticed."""
    path = tmp_path / "model.onnx"
    onnx.save_model(classifier(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").write_bytes(b"1234")
    with pytest.raises(TaskFailure, match="exceeds available data"):
        load(path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(TaskFailure, match=r"weights\.bin is missing"):
        load(path)


def test_a_plain_classifier_is_described() -> None:
    """Names, layout, batch, scores, quantisation and versions are all found."""
    found = inspect(classifier())
    assert str(found.input) == "data FP32 (n, 3, 8, 8)"
    assert str(found.output) == "scores FP32 (n, 5)"
    assert (found.layout, found.batch, found.scores, found.quantisation) == ("NCHW", None, "logits", "none")
    assert (found.opset, found.ir_version) == (17, 8)
    assert (found.height, found.width, found.classes) == (8, 8, CLASSES)


@pytest.mark.parametrize(
    ("dims", "dtype", "expected"),
    [
        (("n", 8, 9, 3), TensorProto.FLOAT, ("NHWC", "FP32", (8, 9, 3), None)),
        (("n", 8, 9, 3), TensorProto.UINT8, ("NHWC", "UINT8", (8, 9, 3), None)),
        (("n", 3, 8, 9), TensorProto.FLOAT16, ("NCHW", "FP16", (3, 8, 9), None)),
        (("n", 3, "h", "w"), TensorProto.FLOAT, ("NCHW", "FP32", (3, 32, 32), None)),
        ((1, 3, 8, 9), TensorProto.FLOAT, ("NCHW", "FP32", (3, 8, 9), 1)),
        ((-1, 3, 8, 9), TensorProto.FLOAT, ("NCHW", "FP32", (3, 8, 9), None)),
    ],
    ids=["nhwc", "uint8", "fp16", "open-size", "fixed-batch", "minus-one"],
)
def test_inputs_are_told_apart(dims: Sequence[int | str], dtype: int, expected: tuple[object, ...]) -> None:
    """Layout, element type, size and batch follow the declared input; an open size is the one asked for."""
    found = inspect(classifier(dims=dims, dtype=dtype, out_dims=(dims[0], CLASSES)), size=(32, 32))
    assert (found.layout, found.input.dtype, found.input.shape, found.batch) == expected


def test_weights_listed_as_inputs_are_no_inputs() -> None:
    """Files of IR version 3 list their weights among the inputs."""
    found = inspect(classifier(ir_version=3, opset=8, weights_are_inputs=True))
    assert found.input.name == "data"


@pytest.mark.parametrize(
    ("tail", "scores"),
    [
        ([softmax()], "probabilities"),
        ([softmax(axis=-1)], "probabilities"),
        ([softmax(target="p"), helper.make_node("Identity", ["p"], ["scores"])], "probabilities"),
        ([softmax(target="p"), helper.make_node("Flatten", ["p"], ["scores"], axis=1)], "probabilities"),
        # No softmax by name, but what is computed is one.
        (
            [
                helper.make_node("Exp", ["raw"], ["e"]),
                helper.make_node("ReduceSum", ["e"], ["total"]),
                helper.make_node("ReduceSum", ["e", "axes"], ["sum"]),
                helper.make_node("Div", ["e", "sum"], ["scores"]),
            ],
            "probabilities",
        ),
        ([helper.make_node("LogSoftmax", ["raw"], ["scores"], axis=1)], "log-probabilities"),
        ([helper.make_node("Relu", ["raw"], ["scores"])], "logits"),
        # Rows whose sum is 1, with something negative in them.
        (
            [
                helper.make_node("ReduceMean", ["raw"], ["mean"], axes=[1]),
                helper.make_node("Sub", ["raw", "mean"], ["centred"]),
                helper.make_node("Add", ["centred", "fifth"], ["scores"]),
            ],
            "logits",
        ),
    ],
    ids=[
        "softmax",
        "last-axis",
        "identity",
        "flatten",
        "by-numbers",
        "log-softmax",
        "relu",
        "sum-of-one",
    ],
)
def test_logits_and_probabilities_are_told_apart(tail: list[onnx.NodeProto], scores: str) -> None:
    """The last operator and the numbers decide what the scores are."""
    tiny = classifier(tail=tail)
    tiny.graph.initializer.extend([constant("axes", [1]), constant("fifth", [0.2], np.float32)])
    assert inspect(tiny).scores == scores


def test_probabilities_rounded_to_8_bits_are_still_probabilities() -> None:
    """A softmax counts through the quantisation behind it, though its sum is off by more than rounding."""
    tail = [
        softmax(target="p"),
        helper.make_node("QuantizeLinear", ["p", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["scores"]),
    ]
    tiny = classifier(tail=tail)
    tiny.graph.initializer.extend([constant("scale", 0.03, np.float32), constant("zero", 0, np.uint8)])  # type: ignore[arg-type]
    found = inspect(tiny)
    assert (found.scores, found.quantisation) == ("probabilities", "static")


def test_weights_that_are_unpacked_before_use_leave_a_float_model() -> None:
    """Quantised weights alone do not make answers depend on the batch or on levels."""
    tiny = classifier(tail=[helper.make_node("Mul", ["raw", "factor"], ["scores"])])
    tiny.graph.initializer.extend([constant("q", [3], np.uint8), constant("scale", 0.5, np.float32)])  # type: ignore[arg-type]
    tiny.graph.node.insert(0, helper.make_node("DequantizeLinear", ["q", "scale"], ["factor"]))
    assert inspect(tiny).quantisation == "none"


def test_dynamic_quantisation_is_found() -> None:
    """One node that takes its scale from the batch is enough."""
    tail = [
        helper.make_node("DynamicQuantizeLinear", ["raw"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["scores"]),
    ]
    assert inspect(classifier(tail=tail)).quantisation == "dynamic"


def test_scores_with_axes_of_one_behind_them_are_scores() -> None:
    """(n, classes, 1, 1), which fully convolutional networks give, counts as (n, classes)."""
    tail = [helper.make_node("Unsqueeze", ["raw", "axes"], ["scores"])]
    tiny = classifier(tail=tail, out_dims=("n", CLASSES, 1, 1))
    tiny.graph.initializer.append(constant("axes", [2, 3]))
    found = inspect(tiny)
    assert (found.output.shape, found.classes) == ((CLASSES, 1, 1), CLASSES)


ADD = helper.make_node("Add", ["a", "b"], ["y"])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            model([ADD], inputs=[value("a", ["n", 3]), value("b", ["n", 3])], outputs=[value("y", ["n", 3])]),
            r"takes 'a' FLOAT \(n, 3\), 'b' FLOAT \(n, 3\)",
        ),
        (
            model([helper.make_node("Relu", ["a"], ["y"])], inputs=[value("a", [1, 128])], outputs=[value("y", [])]),
            r"its input is 'a' FLOAT \(1, 128\)",
        ),
        (classifier(dims=("n", 4, 8, 8)), r"'data' FLOAT \(n, 4, 8, 8\)"),
        (classifier(dims=(4, 3, 8, 8), out_dims=(4, CLASSES)), "takes exactly 4 images at once"),
        (
            model(
                [helper.make_node("Relu", ["a"], ["y"])],
                inputs=[value("a", ["n", 3, 8, 8])],
                outputs=[value("y", ["n", 3, 8, 8])],
            ),
            r"output 'y' is float32 \(3, 3, 8, 8\)",
        ),
        (classifier(tail=[helper.make_node("Log", ["raw"], ["scores"])]), "NaN or infinity"),
        (classifier(opset=6, ir_version=3), "operator set 6"),
        (classifier(opset=99), "cannot load the model"),
    ],
    ids=["two-inputs", "no-image", "four-channels", "batch-of-4", "segmentation", "nan", "old", "too-new"],
)
def test_what_is_no_classifier_is_refused_with_what_was_found(other: onnx.ModelProto, message: str) -> None:
    """The message says what the model takes or gives instead."""
    with pytest.raises(TaskFailure, match=message):
        inspect(other)


@pytest.mark.data
@pytest.mark.skipif("TRITON_TEST_DATA" not in os.environ, reason="TRITON_TEST_DATA is not set")
def test_the_real_int8_mobilenetv2_is_dynamically_quantised() -> None:
    """A trained and quantised MobileNetV2 is described as it is."""
    found = inspect(load(Path(os.environ["TRITON_TEST_DATA"]) / "models" / "mobilenetv2-int8.onnx"))
    assert (str(found.input), str(found.output)) == ("input FP32 (n, 3, 224, 224)", "output FP32 (n, 1000)")
    assert (found.scores, found.quantisation, found.batch) == ("logits", "dynamic", None)
