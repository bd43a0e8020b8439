"""Put the nodes of a graph in an order in which each comes after what it needs."""

import heapq

import onnx

from scripts.graph.walk import subgraphs


def sort_nodes(graph: onnx.GraphProto | onnx.FunctionProto) -> None:
    """Sort the nodes of *graph* and of all graphs inside it; a graph that is in order, or has a cycle, stays as it is.

    ONNX asks for this order. ONNX Runtime, and so Triton, takes any, and its own converter to half precision writes
    files in another.
    """
    for node in graph.node:
        for inner in subgraphs(node):
            sort_nodes(inner)
    makers = {output: place for place, node in enumerate(graph.node) for output in node.output if output}
    missing = [{makers[name] for name in needs(node) if name in makers} for node in graph.node]
    followers: dict[int, list[int]] = {}
    for place, needed in enumerate(missing):
        for other in needed:
            followers.setdefault(other, []).append(place)
    ready = [place for place, needed in enumerate(missing) if not needed]
    order = list[int]()
    while ready:
        # The first in the file goes first, so that what is in order stays so.
        place = heapq.heappop(ready)
        order.append(place)
        for follower in followers.get(place, ()):
            missing[follower].discard(place)
            if not missing[follower]:
                heapq.heappush(ready, follower)
    if len(order) == len(graph.node) and order != sorted(order):
        nodes = [graph.node[place] for place in order]
        del graph.node[:]
        graph.node.extend(nodes)


def needs(node: onnx.NodeProto) -> set[str]:
    """Return the values that *node* reads, by itself or in the graphs inside it."""
    inside = {name for graph in subgraphs(node) for inner in graph.node for name in needs(inner)}
    given = {output.name for graph in subgraphs(node) for output in graph.output}
    return {*node.input, *inside, *given}
