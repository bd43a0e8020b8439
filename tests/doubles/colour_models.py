"""Tiny classifiers of colours, as other people's exporters leave them: the answer shows how a picture was prepared."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 32
ULTRALYTICS = {
    "task": "classify",
    "imgsz": f"[{SIDE}, {SIDE}]",
    "names": "{0: 'red', 1: 'green', 2: 'blue'}",
    "channels": "3",
    "batch": "1",
}
BGR_BYTES = {
    "Image.BitmapPixelFormat": "Bgr8",
    "Image.ColorSpaceGamma": "SRGB",
    "Image.NominalPixelRange": "NominalRange_0_255",
}


def strongest_colour(
    *,
    gain: float,
    metadata: Mapping[str, str] | None = None,
    softmax: bool = False,
    dims: Sequence[int | str] = ("n", 3, SIDE, SIDE),
) -> onnx.ModelProto:
    """Return a classifier of three classes, one for each channel: its mean times *gain*, maybe through a softmax."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"], axis=1),
        helper.make_node("Mul", ["means", "gain"], ["logits"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["y"], axis=1))
    else:
        nodes.append(helper.make_node("Identity", ["logits"], ["y"]))
    return _model(nodes, {"gain": np.float32(gain)}, dims=dims, classes=3, metadata=metadata)


def light_or_dark(*, dims: Sequence[int | str] = ("n", 1, 28, 28)) -> onnx.ModelProto:
    """Return a classifier of one channel into two classes: the brighter, the surer of the first."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["mean"], axis=1),
        helper.make_node("MatMul", ["mean", "matrix"], ["y"]),
    ]
    return _model(nodes, {"matrix": np.array([[1, -1]], np.float32)}, dims=dims, classes=2)


def _model(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, object],
    *,
    dims: Sequence[int | str],
    classes: int,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "colours",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(dims))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [dims[0], classes])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    return model


def with_more(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return *model* with a second output, its means, and with a second input that scales them: ``keep_prob``."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    scaled = helper.make_node("Mul", ["means", "keep_prob"], ["kept"])
    for node in result.graph.node:
        node.input[:] = ["kept" if name == "means" else name for name in node.input]
    result.graph.node.insert(2, scaled)
    result.graph.input.append(helper.make_tensor_value_info("keep_prob", TensorProto.FLOAT, []))
    result.graph.output.append(helper.make_tensor_value_info("means", TensorProto.FLOAT, ["n", 3]))
    onnx.checker.check_model(result)
    return result
