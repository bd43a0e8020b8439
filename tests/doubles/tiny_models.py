"""Tiny ONNX classifiers, one for each thing that may differ."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 5
Dims = Sequence[int | str]


def classifier(
    *,
    opset: int = 17,
    ir_version: int = 8,
    dtype: int = TensorProto.FLOAT,
    dims: Dims = ("n", 3, 8, 8),
    out_dims: Dims = ("n", CLASSES),
    names: tuple[str, str] = ("data", "scores"),
    tail: Sequence[onnx.NodeProto] = (),
    weights_are_inputs: bool = False,
    inner: str = "pooled",
) -> onnx.ModelProto:
    """Return a mean over the pixels and a matrix behind it, which makes ``raw``; *tail* makes the output from that.

    Without a tail the output is ``raw`` itself. The mean tells channels apart, and so both layouts and means.
    """
    image, scores = names
    layout_nhwc = dims[3] == 3
    float_type = TensorProto.FLOAT if dtype == TensorProto.UINT8 else dtype
    raw = "raw" if tail else scores
    # Small enough for bytes up to 255, or the softmax of such a model would know only 0 and 1.
    weight = np.random.default_rng(7).normal(0, 0.02 if dtype == TensorProto.UINT8 else 2, (3, CLASSES))
    matrix = numpy_helper.from_array(weight.astype(helper.tensor_dtype_to_np_dtype(float_type)), "matrix")
    nodes = [helper.make_node("Cast", [image], ["as_float"], to=float_type)]
    source = "as_float"
    if layout_nhwc:
        nodes.append(helper.make_node("Transpose", [source], ["planes"], perm=[0, 3, 1, 2]))
        source = "planes"
    nodes += [
        helper.make_node("GlobalAveragePool", [source], [inner]),
        helper.make_node("Flatten", [inner], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "matrix"], [raw]),
        *tail,
    ]
    inputs = [helper.make_tensor_value_info(image, dtype, dims)]
    if weights_are_inputs:
        inputs.insert(0, helper.make_tensor_value_info("matrix", float_type, [3, CLASSES]))
    return model(
        nodes,
        inputs=inputs,
        outputs=[helper.make_tensor_value_info(scores, float_type, out_dims)],
        weights=[matrix],
        opset=opset,
        ir_version=ir_version,
    )


def model(
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Sequence[onnx.TensorProto] = (),
    opset: int = 17,
    ir_version: int = 8,
) -> onnx.ModelProto:
    """Return the parts as a model."""
    graph = helper.make_graph(list(nodes), "tiny", list(inputs), list(outputs), list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def value(name: str, dims: Dims, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """Return the declaration of a tensor."""
    return helper.make_tensor_value_info(name, dtype, dims)


def constant(name: str, values: Sequence[int] | Sequence[float], dtype: type = np.int64) -> onnx.TensorProto:
    """Return an initializer."""
    return numpy_helper.from_array(np.array(values, dtype), name)


def softmax(source: str = "raw", target: str = "scores", axis: int = 1) -> onnx.NodeProto:
    """Return a softmax node."""
    return helper.make_node("Softmax", [source], [target], axis=axis)
