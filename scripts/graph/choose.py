"""Choose what a graph gives, and fix what it need not be asked: its owner's answers to what cannot be decided."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

from scripts.graph.order import needs
from scripts.graph.walk import images_of
from scripts.host.errors import TaskFailure

# How many names a message lists: of all values, and of those near the output.
_SHOWN, _NEAREST = 12, 4
_WEIGHTED = frozenset({"MatMul", "Gemm", "Conv", "QLinearMatMul", "QLinearConv", "QGemm", "MatMulInteger"})
_NO_SCORES = frozenset({"QuantizeLinear", "Greater", "Less", "Equal", "ArgMax", "Shape", "Reshape", "Cast"})


def choose_output(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return *model* with the one output *name*: one of its outputs, or any value inside.

    Where it is the list of maps that scikit-learn's ZipMap makes, the tensor that goes into the map is meant.

    Raises:
        TaskFailure: If there is no such value.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    makers = {output: node for node in graph.node for output in node.output if output}
    declared = {value.name: value for value in graph.output}
    if name not in makers and name not in declared:
        outputs = ", ".join(map(repr, declared))
        inner = ", ".join(repr(key) for key in list(makers)[-_SHOWN:])
        raise TaskFailure(
            f"--output {name}: the model has no value of this name. Its outputs are {outputs}; the last values inside "
            f"are {inner}."
        )
    if name in makers and makers[name].op_type == "ZipMap":
        name = makers[name].input[0]
    chosen = declared.get(name) or _described(result, name)
    del graph.output[:]
    graph.output.append(chosen)
    _prune(graph, name)
    return result


def earlier_values(model: onnx.ModelProto, name: str) -> dict[str, str]:
    """Return what the value *name* was made from, the nearest first: the flag that chooses each, and its operator.

    What stands before a layer with weights are no scores yet, and whole numbers and decisions are no longer any.
    """
    makers = {output: node for node in model.graph.node for output in node.output if output}
    found, waiting = dict[str, str](), [name]
    while waiting and len(found) < _NEAREST:
        node = makers.get(waiting.pop(0))
        if node is None or node.op_type in _WEIGHTED:
            continue
        made = [value for value in node.input if value in makers and makers[value].op_type != "Constant"]
        waiting += made
        found |= {
            value: f"--output {value} ({makers[value].op_type})"
            for value in made
            if makers[value].op_type not in _NO_SCORES
        }
    return dict(list(found.items())[:_NEAREST])


def freeze(model: onnx.ModelProto, values: Mapping[str, Sequence[float]]) -> onnx.ModelProto:
    """Return *model* with constants in the place of some of its inputs.

    Args:
        model: The model.
        values: For the name of each input one number, which fills it, or as many as it has; an open dimension is 1.

    Raises:
        TaskFailure: If an input is not there, or the numbers do not fit it.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for name, numbers in values.items():
        value = next((value for value in images_of(graph) if value.name == name), None)
        if value is None:
            inputs = ", ".join(repr(value.name) for value in images_of(graph))
            raise TaskFailure(f"--freeze {name}: the model has no input of this name. Its inputs are {inputs}.")
        tensor = numpy_helper.from_array(_filled(value, numbers), name)
        graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
        graph.input.remove(value)
    return result


def _filled(value: onnx.ValueInfoProto, numbers: Sequence[float]) -> NDArray[np.generic]:
    """Return *numbers* in the type and the shape of the input *value*."""
    kind = value.type.tensor_type
    shape = [dim.dim_value if dim.dim_value > 0 else 1 for dim in kind.shape.dim]
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
    size = int(np.prod(shape))
    if len(numbers) not in (1, size):
        raise TaskFailure(
            f"--freeze {value.name} takes 1 number or {size}, separated by commas, because the input has the shape "
            f"{tuple(shape)}; {len(numbers)} were given."
        )
    given = np.asarray(numbers, np.float64)
    filled = given.astype(dtype)
    if dtype.kind in "iub" and not np.array_equal(filled.astype(np.float64), given):
        raise TaskFailure(f"--freeze {value.name} takes numbers of type {dtype}, not {', '.join(map(str, numbers))}.")
    return np.full(shape, filled[0]) if len(numbers) == 1 else filled.reshape(shape)


def _described(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    """Return the type of the inner value *name*, of which ONNX's own inference may know nothing: then FP32 is taken."""
    inferred = shape_inference.infer_shapes(model)
    found = next((value for value in inferred.graph.value_info if value.name == name), None)
    if found is not None and found.type.tensor_type.elem_type:
        return found
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)


def _prune(graph: onnx.GraphProto, name: str) -> None:
    """Remove the nodes on which the value *name* does not rest."""
    wanted, kept = {name}, list[onnx.NodeProto]()
    for node in reversed(graph.node):
        if wanted.isdisjoint(node.output):
            continue
        kept.append(node)
        wanted.update(needs(node))
    kept.reverse()
    del graph.node[:]
    graph.node.extend(kept)
