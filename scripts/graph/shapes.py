"""Find the shapes of the values in a graph without running it."""

import math
from collections.abc import Iterator, Mapping

import onnx
from onnx import TensorProto, helper

from scripts.graph.walk import all_nodes, graphs
from scripts.host.errors import TaskFailure, first_line

Shape = tuple[int, ...]

# Shapes, axes and indices have a few elements; what has more is data.
_SMALL = 1024


class OpenShapeError(TaskFailure):
    """The shapes of a graph cannot all be known before it runs."""


def is_small(tensor: TensorProto) -> bool:
    """Return whether *tensor* may be a shape, an axis or an index, and lies in the model itself."""
    return math.prod(tensor.dims) <= _SMALL and tensor.data_location != TensorProto.EXTERNAL


def known_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Return the shape of every value, in all graphs of *model*, that is constant.

    Args:
        model: A model whose values have names that are unique in all its graphs.

    Raises:
        OpenShapeError: If the graph contradicts itself.
    """
    try:
        found = onnx.shape_inference.infer_shapes(without_weights(model), check_type=True, data_prop=True)
    except Exception as error:  # onnx raises several kinds
        raise OpenShapeError(f"The shapes in the graph cannot be inferred: {first_line(error)}.") from error
    shapes: dict[str, Shape] = {}
    for graph in graphs(found.graph):
        for value in (*graph.input, *graph.value_info, *graph.output):
            tensor = value.type.tensor_type
            if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
                shapes[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
        shapes.update((weight.name, tuple(weight.dims)) for weight in graph.initializer)
    return shapes


def open_values(graph: onnx.GraphProto, shapes: Mapping[str, Shape]) -> Iterator[str]:
    """Yield the values that are made in *graph*, and in the graphs inside it, and have no constant shape."""
    for node in all_nodes(graph.node):
        yield from (name for name in node.output if name and name not in shapes)


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return *model* with its large initializers turned into inputs, since inference copies a model several times."""
    graph = model.graph
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.name = graph.name
    light.graph.node.extend(graph.node)
    light.graph.input.extend(graph.input)
    light.graph.output.extend(graph.output)
    light.graph.value_info.extend(graph.value_info)
    for weight in graph.initializer:
        if is_small(weight):
            light.graph.initializer.append(weight)
        else:
            light.graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    for sparse in graph.sparse_initializer:
        name, data_type = sparse.values.name, sparse.values.data_type
        light.graph.input.append(helper.make_tensor_value_info(name, data_type, sparse.dims))
    return light
