"""Compute a float graph in half precision, between a float input and a float output."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from scripts.graph.naming import Names
from scripts.graph.walk import graphs, images_of, names, set_nodes, subgraphs
from scripts.host.errors import TaskFailure, first_line

# What most of the time goes into: half precision begins at the first of them, so that what stands before, which brings
# pixels to the scale of the network, stays as it is.
_HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"})
# All of whose float inputs and outputs are of one type, which may be half. Softmax and what is not named here stay in
# float.
_LIGHT = frozenset(
    {
        *("Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "Gelu", "Mish"),
        *("Softplus", "Elu", "Selu", "Add", "Sub", "Mul", "Div", "Neg", "Abs", "Sqrt", "Pow", "Min", "Max", "Sum"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceSum", "ReduceMax"),
        *("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization"),
        *("Concat", "Split", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather", "Pad"),
        *("Identity", "Dropout", "Expand", "Where", "DepthToSpace", "SpaceToDepth", "Tile"),
    }
)
# The oldest file format in which a weight need not be an input.
_IR_VERSION = 4
_LARGEST = float(np.finfo(np.float16).max)


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return *model* with its convolutions, its products of matrices and what is between them in half precision.

    Raises:
        TaskFailure: If the types in the graph cannot be found out, or nothing in it can be computed so.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.ir_version = max(result.ir_version, _IR_VERSION)
    if not _Half(result).change():
        raise TaskFailure(
            "The graph has no float convolution or product of matrices: half precision would change nothing. Leave "
            "--gpu-precision fp16 out."
        )
    return result


class _Half:
    """Goes through a graph once, in order.

    Args:
        model: The model, which is changed.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._new = Names(names(model.graph))
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._float = _floats(model)
        # The name of the same value in the other precision, by its name in the graph.
        self._halves: dict[str, str] = {}
        self._only_half: dict[str, str] = {}
        self._nodes: list[onnx.NodeProto] = []

    def change(self) -> bool:
        """Change the graph; say whether there was anything to change."""
        behind: set[str] = set()
        images = images_of(self._graph)
        outputs = {value.name for value in self._graph.output}
        for node in list(self._graph.node):
            heavy = node.op_type in _HEAVY
            if heavy or behind.intersection(node.input):
                behind.update(node.output)
            fits = (heavy or node.op_type in _LIGHT) and node.domain in ("", "ai.onnx") and not any(subgraphs(node))
            floats = [name for name in (*node.input, *node.output) if name in self._float]
            if fits and floats and (heavy or behind.intersection(node.input)):
                self._take(node)
            else:
                self._leave(node)
        changed = bool(self._halves)
        for name in sorted(outputs & self._only_half.keys()):
            self._as_float(name)
        set_nodes(self._graph, self._nodes)
        used = {name for inner in graphs(self._graph) for node in inner.node for name in node.input}
        weights = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.input[:], self._graph.initializer[:], self._graph.value_info[:]
        self._graph.input.extend(images)
        self._graph.initializer.extend(weights)
        return changed

    def _take(self, node: onnx.NodeProto) -> None:
        """Let *node* compute in half precision."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [self._as_half(name) if name in self._float else name for name in node.input]
        for index, name in enumerate(node.output):
            if name in self._float:
                self._halves[name] = self._only_half[name] = copy.output[index] = self._new()
        self._nodes.append(copy)

    def _leave(self, node: onnx.NodeProto) -> None:
        """Let *node* compute as it did."""
        read = [*node.input]
        for graph in subgraphs(node):
            read += names(graph)
        for name in read:
            if name in self._only_half:
                self._as_float(name)
        self._nodes.append(node)

    def _as_half(self, name: str) -> str:
        if name not in self._halves:
            self._halves[name] = self._new()
            if name in self._weights:
                values = numpy_helper.to_array(self._weights[name])
                near = np.clip(values, -_LARGEST, _LARGEST).astype(np.float16)
                self._graph.initializer.append(numpy_helper.from_array(near, self._halves[name]))
            else:
                self._cast(name, self._halves[name], TensorProto.FLOAT16)
        return self._halves[name]

    def _as_float(self, name: str) -> None:
        self._cast(self._only_half.pop(name), name, TensorProto.FLOAT)

    def _cast(self, source: str, target: str, to: int) -> None:
        self._nodes.append(helper.make_node("Cast", [source], [target], to=to))


def is_half(model: onnx.ModelProto) -> bool:
    """Return whether *model* has weights in half precision."""
    return any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)


def _floats(model: onnx.ModelProto) -> set[str]:
    """Return the names of the float values of the outer graph."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception as error:  # onnx raises several kinds
        raise TaskFailure(f"The types in the graph cannot be inferred: {first_line(error)}.") from error
    values = (*graph.input, *graph.value_info, *graph.output)
    found = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
