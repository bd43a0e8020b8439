"""Small real classifiers, for tests about files and not about answers."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 16
CLASSES = 5


def classifier(
    *,
    classes: int = CLASSES,
    batch: int | str = "n",
    seed: int = 0,
    input_name: str = "input",
    opset: int = 13,
    ir_version: int = 8,
    side: int = SIDE,
) -> onnx.ModelProto:
    """Return a convolution, a mean and a matrix: FP32 ``(n, 3, side, side)`` to logits ``(n, classes)``."""
    random = np.random.default_rng(seed)
    weights = {
        "kernel": random.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "matrix": (3 * random.normal(size=(8, classes))).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", [input_name, "kernel"], ["felt"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["felt"], ["kept"]),
        helper.make_node("GlobalAveragePool", ["kept"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "matrix"], ["logits"]),
    ]
    return _model(nodes, weights, input_name, batch, classes, opset=opset, ir_version=ir_version, side=side)


def dynamically_quantised() -> onnx.ModelProto:
    """Return a classifier whose scale of activations is taken from the whole batch."""
    random = np.random.default_rng(0)
    weights = {
        "matrix": random.integers(-127, 128, (3, CLASSES)).astype(np.int8),
        "weight_scale": np.array(0.05, np.float32),
    }
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"], axis=1),
        helper.make_node("DynamicQuantizeLinear", ["flat"], ["bytes", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["bytes", "matrix", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["scale", "weight_scale"], ["both"]),
        helper.make_node("Mul", ["floats", "both"], ["logits"]),
    ]
    return _model(nodes, weights, "input", "n", CLASSES, opset=13, ir_version=8, side=SIDE)


def packaged(**changes: Any) -> onnx.ModelProto:
    """Return a classifier of the packaged form: ``image`` UINT8 ``(n, side, side, 3)`` to ``probabilities``."""
    model = classifier(**changes)
    graph = model.graph
    graph.node.insert(0, helper.make_node("Cast", ["turned"], ["input"], to=TensorProto.FLOAT))
    graph.node.insert(0, helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 3, 1, 2]))
    graph.node.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    dims = graph.input[0].type.tensor_type.shape.dim
    batch = dims[0].dim_value or dims[0].dim_param
    side = dims[2].dim_value
    graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, side, side, 3]))
    graph.output[0].name = "probabilities"
    return model


def _model(
    nodes: list[onnx.NodeProto],
    weights: dict[str, Any],
    input_name: str,
    batch: int | str,
    classes: int,
    *,
    opset: int,
    ir_version: int,
    side: int,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
