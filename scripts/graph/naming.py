"""Give every value of an ONNX graph a short name of its own, so that graphs can be put together and into each other."""

import hashlib
import string
from collections.abc import Iterable, Sequence, Set

import onnx
from onnx import TensorProto, helper

from scripts.graph.walk import graphs, names, set_nodes, subgraphs

_DIGITS = string.digits + string.ascii_letters


class Names:
    """A source of names: short ones, since a graph holds each of them several times.

    Args:
        taken: Names that it must not give.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._count = 0

    def __call__(self) -> str:
        """Return a name that is neither taken nor given before."""
        while True:
            self._count += 1
            number, name = self._count, ""
            while number:
                number, digit = divmod(number, len(_DIGITS))
                name = _DIGITS[digit] + name
            if name not in self._taken:
                return name


def shortened(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return *model* with unique short names inside: its inputs, outputs and old files' weights keep theirs."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    new = Names(names(graph))
    scope = {value.name: value.name for value in graph.input}
    for tensor in (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)):
        scope[tensor.name] = tensor.name if tensor.name in scope else new()
        tensor.name = scope[tensor.name]
    set_nodes(graph, renamed(graph.node, scope, new, keep={value.name for value in graph.output}))
    rename_details(graph, scope)
    return result


def renamed(
    nodes: Iterable[onnx.NodeProto], scope: dict[str, str], new: Names, *, keep: Set[str] = frozenset()
) -> list[onnx.NodeProto]:
    """Return copies of *nodes* without names of their own, whose values, in subgraphs too, have new names.

    Args:
        nodes: The nodes of a graph, in their order.
        scope: The new name of each value from outside; those of the results are added.
        new: Where the names come from.
        keep: Results that keep their names.
    """
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.ClearField("name")
        copy.ClearField("doc_string")
        copy.ClearField("metadata_props")
        copy.input[:] = [scope[name] if name else "" for name in node.input]
        for inner in subgraphs(copy):
            _rename_graph(inner, dict(scope), new)
        scope.update({name: name if name in keep else new() for name in node.output if name})
        copy.output[:] = [scope[name] if name else "" for name in node.output]
        copies.append(copy)
    return copies


def rename_details(graph: onnx.GraphProto, scope: dict[str, str]) -> None:
    """Give what *graph* says about its values the new names of *scope*; what is about others is taken out."""
    known = [value for value in graph.value_info if value.name in scope]
    for value in known:
        value.name = scope[value.name]
    annotations = [note for note in graph.quantization_annotation if note.tensor_name in scope]
    for note in annotations:
        note.tensor_name = scope[note.tensor_name]
        for entry in note.quant_parameter_tensor_names:
            entry.value = scope.get(entry.value, entry.value)
    del graph.value_info[:], graph.quantization_annotation[:]
    graph.value_info.extend(known)
    graph.quantization_annotation.extend(annotations)


def _rename_graph(graph: onnx.GraphProto, scope: dict[str, str], new: Names) -> None:
    graph.name = new()
    graph.ClearField("doc_string")
    for value in graph.input:
        scope[value.name] = new()
        value.name = scope[value.name]
    for tensor in (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)):
        scope[tensor.name] = new()
        tensor.name = scope[tensor.name]
    set_nodes(graph, renamed(graph.node, scope, new))
    for value in graph.output:
        value.name = scope[value.name]
    rename_details(graph, scope)


def hoist_constants(graph: onnx.GraphProto) -> None:
    """Make initializers of *graph* of the constants in it and in the graphs inside it, all of whose names differ."""
    new = Names(names(graph))
    inside = list(graphs(graph))[1:]
    for inner in inside:
        graph.initializer.extend(inner.initializer)
        graph.sparse_initializer.extend(inner.sparse_initializer)
        outside = {tensor.name for tensor in inner.initializer} | {s.values.name for s in inner.sparse_initializer}
        del inner.initializer[:], inner.sparse_initializer[:]
        # A subgraph must make what it gives.
        for value in inner.output:
            if value.name in outside:
                source, value.name = value.name, new()
                inner.node.append(helper.make_node("Identity", [source], [value.name]))
    given = {value.name for inner in (graph, *inside) for value in inner.output}
    for inner in (graph, *inside):
        kept = []
        for node in inner.node:
            tensor = None if given.intersection(node.output) else _constant(node)
            if tensor is None:
                kept.append(node)
            else:
                tensor.name = node.output[0]
                graph.initializer.append(tensor)
        set_nodes(inner, kept)


def _constant(node: onnx.NodeProto) -> TensorProto | None:
    """Return what a Constant holds; None where *node* is none, or holds a sparse tensor."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return None
    attribute = node.attribute[0]
    if attribute.name == "sparse_value":
        return None
    value = helper.get_attribute_value(attribute)
    if isinstance(value, TensorProto):
        tensor = TensorProto()
        tensor.CopyFrom(value)
        return tensor
    dtype = {"value_f": "FLOAT", "value_i": "INT64", "value_s": "STRING"}[attribute.name[:7]]
    many = isinstance(value, Sequence) and not isinstance(value, bytes)
    return helper.make_tensor("", getattr(TensorProto, dtype), [len(value)] if many else [], value if many else [value])


def named(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return *model* with a graph name of its own: TensorRT finds its engines by that name, and not by the weights."""
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    model.graph.name = f"{name}-{digest[:16]}"
    return model
