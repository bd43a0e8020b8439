"""What leads a batch into its branch and out of it again, by itself: cheap enough to be tried with every batch size."""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from scripts.graph.buckets import is_branch
from scripts.graph.naming import Names
from scripts.graph.session import Session
from scripts.graph.walk import all_nodes, graphs, names, set_nodes

# A row's number stands in its first two values, each within what any kind of number holds.
_BASE = 100


def wiring(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return *model*, of `bucketed`, so that it answers each image of `numbered` with its number, in all columns.

    The choice of the branch, how it fills the batch up and how it takes its rows out of the result are the model's own
    nodes. What stands between them in each branch is gone, and with it the weights.
    """
    result = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = result.graph
    graph.name = model.graph.name
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.node.extend(model.graph.node)
    cut = _Shortcut(names(model.graph), model.graph.output)
    for inner in graphs(graph):
        if is_branch(inner):
            set_nodes(inner, cut.nodes(inner))
            del inner.value_info[:], inner.quantization_annotation[:]
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(name for each in all_nodes([node]) for name in each.input)
            kept.append(node)
    set_nodes(graph, kept[::-1])
    graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in needed)
    graph.initializer.extend(cut.constants)
    return result


def numbered(like: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return images of the same shape and type as *like*, which say their numbers, from 1 on."""
    result = np.zeros_like(like)
    rows, numbers = result.reshape(len(like), -1), np.arange(1, len(like) + 1)
    rows[:, 0], rows[:, 1] = numbers % _BASE, numbers // _BASE
    return result


def astray(session: Session, images: NDArray[np.generic]) -> int:
    """Return the smallest number of images that are led astray; 0 where none is.

    Args:
        session: A graph of `wiring`.
        images: Images of `numbered`, ``(n, ...)``; n is the largest batch.

    Raises:
        TaskFailure: If it fails on a batch.
    """
    for count in range(1, len(images) + 1):
        scores = session.scores(images[:count])
        if len(scores) != count or not (scores == np.arange(1, count + 1)[:, None]).all():
            return count
    return 0


class _Shortcut:
    """Makes branches that give the number of each row.

    Args:
        taken: Names of values that are taken.
        outputs: What the graph gives.
    """

    def __init__(self, taken: Iterator[str], outputs: Sequence[onnx.ValueInfoProto]) -> None:
        self._new, self._outputs = Names(taken), outputs
        self._columns, self._worth = self._new(), self._new()
        self.constants = [
            numpy_helper.from_array(np.array([0, 1], np.int64), self._columns),
            numpy_helper.from_array(np.array([[1], [_BASE]], np.float32), self._worth),
        ]

    def nodes(self, branch: onnx.GraphProto) -> list[onnx.NodeProto]:
        """Return the first and the last nodes of *branch*, changed, and between them what gives the numbers."""
        fill, image = branch.node[0], branch.node[1]
        rows, two, number, column = self._new(), self._new(), self._new(), self._new()
        nodes = [
            fill,
            image,
            helper.make_node("Flatten", [image.output[0]], [rows], axis=1),
            helper.make_node("Gather", [rows, self._columns], [two], axis=1),
            helper.make_node("Cast", [two], [number], to=TensorProto.FLOAT),
            helper.make_node("MatMul", [number, self._worth], [column]),
        ]
        ends = list(branch.node)[-len(self._outputs) :]
        for end, output in zip(ends, self._outputs, strict=True):
            whole, cast = self._new(), self._new()
            shape = self._new()
            # As many dimensions as the result has, which is widened to all columns at the end.
            dims = [-1, *[1] * (len(output.type.tensor_type.shape.dim) - 1)]
            self.constants.append(numpy_helper.from_array(np.array(dims, np.int64), shape))
            nodes.append(helper.make_node("Reshape", [column, shape], [whole]))
            nodes.append(helper.make_node("Cast", [whole], [cast], to=output.type.tensor_type.elem_type))
            end.input[0] = cast
            nodes.append(end)
        return nodes
