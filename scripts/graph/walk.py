"""Walk through the parts of an ONNX model, and exchange them."""

import itertools
from collections.abc import Iterator, Sequence

import onnx
from onnx import TensorProto


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operator set that *model* imports; 0 where it imports none."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def images_of(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that a caller must feed: old files list their weights as inputs too."""
    weights = {tensor.name for tensor in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in weights]


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs that *node* holds as attributes: the branches of an If, the body of a Loop."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_nodes(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield *nodes* and all nodes in their subgraphs."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from all_nodes(graph.node)


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield *graph* and all graphs inside it, whose nodes may use its values by name."""
    yield graph
    for node in all_nodes(graph.node):
        yield from subgraphs(node)


def names(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield the name of every value."""
    for inner in graphs(graph):
        yield from (value.name for value in (*inner.input, *inner.value_info))
        yield from (tensor.name for tensor in inner.initializer)
        yield from (tensor.values.name for tensor in inner.sparse_initializer)
        for node in inner.node:
            yield from (*node.input, *node.output)


def set_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Make *nodes*, of which some may be its own, the nodes of *graph*."""
    kept = list(nodes)
    del graph.node[:]
    graph.node.extend(kept)


def fresh(wish: str, taken: set[str]) -> str:
    """Return a name like *wish* that is not taken, and take it."""
    wishes = itertools.chain([wish], (f"{wish}_{number}" for number in itertools.count(1)))
    name = next(name for name in wishes if name not in taken)
    taken.add(name)
    return name


def tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Yield the weights and the constants of *model*."""
    functions = [node for function in model.functions for node in function.node]
    nodes = list(all_nodes([*model.graph.node, *functions]))
    for graph in (model.graph, *(graph for node in nodes for graph in subgraphs(node))):
        yield from graph.initializer
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
