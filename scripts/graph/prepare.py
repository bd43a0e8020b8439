"""Bring a graph into the form from which branches for batch sizes are made."""

import onnx
from onnx import inliner

from scripts.graph.naming import hoist_constants, shortened
from scripts.graph.walk import graphs, images_of, opset_of, subgraphs
from scripts.host.errors import TaskFailure, first_line

# Min of whole numbers and LessOrEqual came with this one; what is older is converted.
_OPSET = 12
# The file format of that set.
_IR_VERSION = 7
# onnxruntime looks for them right before what they feed.
_QUANTISING = frozenset({"QuantizeLinear", "DequantizeLinear"})


class UnbucketableError(TaskFailure):
    """A graph cannot have buckets."""


def prepared_for_branches(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return *model* in a form that is easy to copy: unique names, no functions, all constants in the outer graph."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if opset_of(result) < _OPSET:
        try:
            result = onnx.version_converter.convert_version(result, _OPSET)
        except Exception as error:  # onnx raises several kinds
            raise UnbucketableError(
                f"The graph cannot have a branch for each batch size: it is of operator set {opset_of(model)}, and it "
                f"cannot be converted to {_OPSET}, the oldest that can. Export it for a later one. {first_line(error)}."
            ) from error
    if result.functions:
        result = inliner.inline_local_functions(result)
    result.ir_version = max(result.ir_version, _IR_VERSION)
    graph = result.graph
    # Weights are not inputs any more.
    images = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in images_of(graph)]
    del graph.input[:]
    graph.input.extend(images)
    for inner in graphs(graph):
        del inner.value_info[:]
        # What an exporter said about the shapes need not be true.
        for value in (*inner.output, *(inner.input if inner is not graph else ())):
            value.type.tensor_type.ClearField("shape")
    result = shortened(result)
    hoist_constants(result.graph)
    return result


def independent(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Return the nodes that compute something from weights alone, by what they give."""
    known = {tensor.name for tensor in graph.initializer} | {sparse.values.name for sparse in graph.sparse_initializer}
    known.add("")
    outputs = {value.name for value in graph.output}
    found: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        apart = node.op_type in _QUANTISING or any(subgraphs(node)) or outputs.intersection(node.output)
        if known.issuperset(node.input) and not apart:
            found.update({name: node for name in node.output if name})
            known.update(node.output)
    return found


def is_batched(value: onnx.ValueInfoProto) -> bool:
    """Return whether the first axis of the input *value* is open."""
    dims = value.type.tensor_type.shape.dim
    return bool(dims) and dims[0].dim_value < 1
