"""Fold batch normalisations into the convolutions before them, as ONNX Runtime would for each branch by itself."""

from collections import Counter
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from scripts.graph.walk import graphs, set_nodes


def fold_normalisation(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return *model* with each BatchNormalization that directly follows a Conv made part of that Conv.

    What cannot be folded stays as it is: where a weight is computed, where a weight or the result of the convolution is
    used elsewhere too, and where a folded weight would not be finite.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    uses = Counter(name for inner in graphs(graph) for node in inner.node for name in node.input)
    uses.update(value.name for inner in graphs(graph) for value in inner.output)
    convolutions = {node.output[0]: node for node in graph.node if node.op_type == "Conv" and not node.domain}
    gone: set[str] = set()
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        before = convolutions.get(node.input[0]) if _normalises(node) else None
        given = [*before.input[1:], *node.input[1:]] if before is not None else []
        ours = all(name in weights and uses[name] == 1 for name in given)
        if before is None or not ours or uses[node.input[0]] != 1 or not _fold(before, node, weights):
            nodes.append(node)
            continue
        before.output[0] = node.output[0]
        gone.update(set(given) - set(before.input))
    set_nodes(graph, nodes)
    kept = [tensor for tensor in graph.initializer if tensor.name not in gone]
    inputs = [value for value in graph.input if value.name not in gone]
    del graph.initializer[:], graph.input[:]
    graph.initializer.extend(kept)
    graph.input.extend(inputs)
    return result


def _normalises(node: onnx.NodeProto) -> bool:
    """Return whether *node* is a BatchNormalization of inference over channels."""
    if node.op_type != "BatchNormalization" or node.domain or len([name for name in node.output if name]) != 1:
        return False
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    return not attributes.get("training_mode", 0) and bool(attributes.get("spatial", 1))


def _fold(convolution: onnx.NodeProto, node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    """Put what *node* does into the weights of *convolution*; say whether that was possible."""
    epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
    kernel = numpy_helper.to_array(weights[convolution.input[1]])
    # As onnxruntime computes it, so that the result is the same to the bit.
    precision: Any = np.float64 if kernel.dtype == np.float64 else np.float32
    scale, shift, mean, variance = (numpy_helper.to_array(weights[name]).astype(precision) for name in node.input[1:])
    if kernel.shape[:1] != scale.shape:
        return False
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        factor = scale / np.sqrt(variance + precision(epsilon))
        folded = (kernel * factor.reshape(-1, *[1] * (kernel.ndim - 1))).astype(kernel.dtype)
        if len(convolution.input) > 2:
            bias = numpy_helper.to_array(weights[convolution.input[2]]).astype(precision)
            moved = ((bias - mean) * factor + shift).astype(kernel.dtype)
        else:
            moved = (shift - mean * factor).astype(kernel.dtype)
    if not (np.isfinite(folded).all() and np.isfinite(moved).all()):
        return False
    # The shift has the length of a bias: under its name no weight is new, which old files would list as an input.
    place = node.input[2]
    weights[convolution.input[1]].CopyFrom(numpy_helper.from_array(folded, convolution.input[1]))
    weights[place].CopyFrom(numpy_helper.from_array(moved, place))
    convolution.input[:] = [*convolution.input[:2], place]
    return True
