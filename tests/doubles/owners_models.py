"""Small classifiers of the kinds that people's own files are; all take FP32 ``x`` (n, 3, 32, 32) but the gray one."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.doubles.score_heads import node

SIDE = 32


def sigmoid_heads() -> onnx.ModelProto:
    """Return three sigmoids of their own, joined: several may be true."""
    heads = [node("Sigmoid", f"l{index}", f"s{index}") for index in range(3)]
    nodes = [
        *_mean_of_channels(),
        node("MatMul", "mean four", "l"),
        node("Split", "l parts", "l0 l1 l2", axis=1),
        *heads,
        node("Concat", "s0 s1 s2", "y", axis=1),
    ]
    return _model(nodes, {"four": np.eye(3, dtype=np.float32) * 4, "parts": np.array([1, 1, 1])})


def qlinear_softmax(classes: int, *, spread: float) -> onnx.ModelProto:
    """Return probabilities by a softmax that quantisation renamed."""
    nodes = [
        *_logits(),
        node("QuantizeLinear", "l ls lz", "ql"),
        node("QLinearSoftmax", "ql ls lz s z", "q", domain="com.microsoft", axis=1, opset=13),
        node("DequantizeLinear", "q s z", "y"),
    ]
    scales = {"ls": np.float32(0.1), "lz": np.uint8(128), "s": np.float32(1 / 256), "z": np.uint8(0)}
    return _model(nodes, {"w": _weights(classes, spread), **scales}, classes=classes)


def clipped_softmax(classes: int = 100) -> onnx.ModelProto:
    """Return a softmax behind which a Clip, a Q and a DQ stand."""
    nodes = [
        *_logits(),
        node("Softmax", "l", "p", axis=1),
        node("Clip", "p low high", "k"),
        node("QuantizeLinear", "k s z", "q"),
        node("DequantizeLinear", "q s z", "y"),
    ]
    limits = {"low": np.float32(1e-7), "high": np.float32(1), "s": np.float32(1 / 256), "z": np.uint8(0)}
    return _model(nodes, {"w": _weights(classes, 0.4), **limits}, classes=classes)


def rounded_softmax(classes: int = 100) -> onnx.ModelProto:
    """Return a softmax that is rounded to two digits."""
    nodes = [
        *_logits(),
        node("Softmax", "l", "p", axis=1),
        node("Mul", "p hundred", "percent"),
        node("Round", "percent", "whole"),
        node("Div", "whole hundred", "y"),
    ]
    return _model(nodes, {"w": _weights(classes, 0.4), "hundred": np.float32(100)}, classes=classes)


def batch_statistics() -> onnx.ModelProto:
    """Return a model with a normalisation that was left in training mode."""
    nodes = [
        *_mean_of_channels(),
        helper.make_node("ReduceMean", ["mean"], ["mu"], axes=[0], keepdims=1),
        node("Sub", "mean mu", "d"),
        node("Mul", "d twenty", "dk"),
        node("Add", "mean dk", "y"),
    ]
    return _model(nodes, {"twenty": np.float32(20)})


def two_outputs() -> onnx.ModelProto:
    """Return a model that gives its logits ``y`` and its features ``mean``."""
    model = _model([*_mean_of_channels(), node("Mul", "mean two", "y")], {"two": np.float32(2)})
    model.graph.output.append(helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["n", 3]))
    return model


def gray() -> onnx.ModelProto:
    """Return a model of one channel, 28 x 28, as those for digits are: its logits are the mean and minus it."""
    nodes = [*_mean_of_channels(), node("MatMul", "mean sides", "y")]
    return _model(nodes, {"sides": np.array([[1, -1]], np.float32)}, classes=2, dims=("n", 1, 28, 28))


def keep_prob() -> onnx.ModelProto:
    """Return a model with an input ``keep_prob`` beside the image that its logits are multiplied by."""
    model = _model([*_mean_of_channels(), node("Mul", "mean keep_prob", "y")], {})
    model.graph.input.append(helper.make_tensor_value_info("keep_prob", TensorProto.FLOAT, []))
    return model


def cat_or_dog() -> onnx.ModelProto:
    """Return one sigmoid: how likely the picture shows the second of two classes."""
    nodes = [*_mean_of_channels(), node("MatMul", "mean w", "l"), node("Sigmoid", "l", "y")]
    return _model(nodes, {"w": np.array([[4], [0], [-4]], np.float32)}, classes=1)


def unsorted() -> onnx.ModelProto:
    """Return a model whose nodes stand in the order of the last to the first."""
    model = _model([*_mean_of_channels(), node("Mul", "mean two", "y")], {"two": np.float32(2)})
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _mean_of_channels() -> list[onnx.NodeProto]:
    return [node("GlobalAveragePool", "x", "pooled"), node("Flatten", "pooled", "mean", axis=1)]


def _logits() -> list[onnx.NodeProto]:
    return [
        helper.make_node("AveragePool", ["x"], ["a"], kernel_shape=[4, 4], strides=[4, 4]),
        node("Flatten", "a", "f", axis=1),
        node("MatMul", "f w", "l"),
    ]


def _weights(classes: int, spread: float) -> Any:
    return (np.random.default_rng(0).normal(size=(192, classes)) * spread).astype(np.float32)


def _model(
    nodes: list[onnx.NodeProto],
    weights: dict[str, Any],
    *,
    classes: int = 3,
    dims: tuple[int | str, ...] = ("n", 3, SIDE, SIDE),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "owners",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)
