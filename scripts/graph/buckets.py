"""Give a batched graph a branch of constant shapes for each of several batch sizes, so that GPUs plan each only once.

ONNX Runtime plans every convolution anew on a GPU when the size of the batch differs from the call before. In a graph
with buckets a batch takes the branch of the next size that holds it: the branch repeats the last image up to its size,
runs its own copy of the nodes, and gives the first rows of what it gets. The weights stand outside the branches, once.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from scripts.graph.naming import Names, rename_details, renamed
from scripts.graph.prepare import UnbucketableError, independent, is_batched, prepared_for_branches
from scripts.graph.shapes import OpenShapeError, Shape, known_shapes, open_values, without_weights
from scripts.graph.specialise import specialised
from scripts.graph.walk import graphs, names, set_nodes
from scripts.host.errors import TaskFailure, first_line

_BRANCH = "bucket_"


def sizes_up_to(largest: int) -> tuple[int, ...]:
    """Return the powers of two below *largest*, and *largest*."""
    return (*(2**power for power in range(largest.bit_length()) if 2**power < largest), largest)


def bucketed(model: onnx.ModelProto, sizes: Sequence[int]) -> onnx.ModelProto:
    """Return *model* with a branch for each batch size of *sizes*; it fails on a batch larger than all of them.

    Args:
        model: A graph whose inputs with an open first axis share the batch; weights included.
        sizes: Batch sizes, from 1 on.

    Raises:
        UnbucketableError: If a shape in the graph depends on more than the size of the batch, or nothing is batched.
    """
    if len(set(sizes)) < 2:
        raise UnbucketableError(f"Branches are for two batch sizes or more, not for {', '.join(map(str, sizes))}.")
    try:
        prepared = prepared_for_branches(model)
        light = without_weights(prepared)
        fixed = {size: specialised(light, _inputs(prepared.graph, size)) for size in sorted(set(sizes))}
        return _Join(prepared, fixed, model.graph.output).model()
    except UnbucketableError:
        raise
    except TaskFailure as error:  # an open shape, or a part that onnxruntime does not run by itself
        raise UnbucketableError(
            f"The graph cannot have a branch for each batch size: {str(error).rstrip('.')}."
        ) from error


def open_shapes(model: onnx.ModelProto) -> list[str]:
    """Return the values with an open dimension in the branches that `bucketed` made, but for their last cut.

    Raises:
        UnbucketableError: If *model* has no buckets.
    """
    branches = list(_branches(model.graph))
    if not branches:
        raise UnbucketableError(f"The graph {model.graph.name!r} has no branches for batch sizes.")
    light, found = without_weights(model), []
    before = list(itertools.takewhile(lambda node: node.op_type != "LessOrEqual", model.graph.node))
    for branch in branches:
        # By itself, since onnx does not see the values of constants outside of a branch.
        set_nodes(light.graph, [*before, *branch.node])
        del light.graph.value_info[:], light.graph.output[:]
        light.graph.value_info.extend(branch.value_info)
        shapes = known_shapes(light)
        cut = {value.name for value in branch.output}
        found += [name for name in open_values(branch, shapes) if name not in cut]
    return found


def sizes_of(model: onnx.ModelProto) -> tuple[int, ...]:
    """Return the batch sizes that *model* has branches for; none where it is plain."""
    return tuple(int(branch.name.removeprefix(_BRANCH)) for branch in _branches(model.graph))


def is_branch(graph: onnx.GraphProto) -> bool:
    """Say whether `bucketed` made this graph as the branch for a batch size."""
    return graph.name.startswith(_BRANCH)


def _branches(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield the branches that `bucketed` made, from the smallest size on."""
    if is_branch(graph):
        yield graph
        return
    for node in graph.node:
        sides = {attribute.name: attribute.g for attribute in node.attribute}
        if node.op_type == "If" and is_branch(sides["then_branch"]):
            yield sides["then_branch"]
            yield from _branches(sides["else_branch"])


def _inputs(graph: onnx.GraphProto, size: int) -> dict[str, Shape]:
    """Return the shapes of the inputs for a batch of *size*."""
    if not any(map(is_batched, graph.input)):
        raise OpenShapeError("none of its inputs has an open first axis")
    shapes = {}
    for value in graph.input:
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        shapes[value.name] = (size, *dims[1:]) if is_batched(value) else tuple(dims)
        if not all(length > 0 for length in shapes[value.name]) or not value.type.tensor_type.HasField("shape"):
            raise OpenShapeError(f"its input {value.name!r} leaves more open than the size of the batch")
    return shapes


class _Join:
    """Puts the graphs for the batch sizes together.

    Args:
        prepared: The graph for any size.
        fixed: The graph for each size, in order, with the shapes of its values.
        outputs: What the result gives.
    """

    def __init__(
        self,
        prepared: onnx.ModelProto,
        fixed: Mapping[int, tuple[onnx.ModelProto, dict[str, Shape]]],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> None:
        self._prepared, self._fixed, self._outputs = prepared, fixed, outputs
        self._batched = [_rows(value.name, fixed) for value in prepared.graph.output]
        self._new = Names([*names(prepared.graph), *(value.name for value in outputs)])
        self._rows, self._last = self._new(), self._new()
        self._shared = {tensor.name for tensor in prepared.graph.initializer}
        self._shared |= {sparse.values.name for sparse in prepared.graph.sparse_initializer}
        # What no size changes is computed once, outside.
        made = [{name for node in model.graph.node for name in node.output} for model, _ in fixed.values()]
        once = {name: node for name, node in independent(prepared.graph).items() if all(name in each for each in made)}
        self._once = [node for node in prepared.graph.node if once.keys() & set(node.output)]
        self._shared |= once.keys()
        self._constants: list[TensorProto] = []
        self._names: dict[bytes, str] = {}

    def model(self) -> onnx.ModelProto:
        """Return the graph with its branches."""
        source = next(value.name for value in self._prepared.graph.input if is_batched(value))
        shape, zero, one = self._new(), self._constant([0]), self._constant([1])
        nodes = [
            *self._once,
            helper.make_node("Shape", [source], [shape]),
            helper.make_node("Slice", [shape, zero, one], [self._rows]),
            helper.make_node("Sub", [self._rows, one], [self._last]),
        ]
        chosen = [self._new() for _ in self._outputs]
        nodes += self._choice(list(self._fixed), chosen)
        shapes = next(iter(self._fixed.values()))[1]
        for batched, name, inner, value in zip(
            self._batched, chosen, self._prepared.graph.output, self._outputs, strict=True
        ):
            if batched:
                # Changes nothing, but fails where rows of a batch beyond the largest size are missing. A Reshape would
                # not: onnxruntime makes that one a -1.
                whole = self._new()
                nodes += [
                    helper.make_node("Concat", [self._rows, self._constant(shapes[inner.name][1:])], [whole], axis=0),
                    helper.make_node("Expand", [name, whole], [value.name]),
                ]
            else:
                nodes.append(helper.make_node("Identity", [name], [value.name]))
        return self._assembled(nodes)

    def _assembled(self, nodes: Sequence[onnx.NodeProto]) -> onnx.ModelProto:
        """Return the nodes as a model, with the weights that one of the branches needs."""
        result = onnx.ModelProto()
        result.CopyFrom(self._prepared)
        graph = result.graph
        set_nodes(graph, nodes)
        del graph.output[:], graph.value_info[:], graph.initializer[:]
        graph.output.extend(self._outputs)
        needed = {name for inner in graphs(graph) for node in inner.node for name in node.input}
        graph.initializer.extend(tensor for tensor in self._prepared.graph.initializer if tensor.name in needed)
        graph.initializer.extend(self._constants)
        try:
            onnx.checker.check_model(result)
        except Exception as error:  # the checker raises more than its ValidationError
            raise UnbucketableError(f"The graph with its branches is not valid ONNX: {first_line(error)}.") from error
        return result

    def _choice(self, sizes: Sequence[int], results: Sequence[str]) -> list[onnx.NodeProto]:
        """Return the nodes that choose among *sizes*, of which there are two or more."""
        fits = self._new()
        smallest, *others = sizes
        otherwise = self._branch(*others) if len(others) == 1 else self._next(others)
        return [
            helper.make_node("LessOrEqual", [self._rows, self._constant([smallest])], [fits]),
            helper.make_node("If", [fits], results, then_branch=self._branch(smallest), else_branch=otherwise),
        ]

    def _next(self, sizes: Sequence[int]) -> onnx.GraphProto:
        results = [self._new() for _ in self._outputs]
        return helper.make_graph(self._choice(sizes, results), f"above_{sizes[0]}", [], self._values(results))

    def _branch(self, size: int) -> onnx.GraphProto:
        """Return the branch for batches of up to *size*."""
        model, _ = self._fixed[size]
        scope = {name: name for name in self._shared}
        places = self._new()
        nodes = [helper.make_node("Min", [self._constant(range(size)), self._last], [places])]
        for value in self._prepared.graph.input:
            scope[value.name] = self._new() if is_batched(value) else value.name
            if is_batched(value):
                nodes.append(helper.make_node("Gather", [value.name, places], [scope[value.name]], axis=0))
        for tensor in model.graph.initializer:
            if tensor.name not in self._shared:
                scope[tensor.name] = self._add(tensor)
        own = [node for node in model.graph.node if not self._shared.intersection(node.output)]
        nodes += renamed(own, scope, self._new)
        results = [self._new() for _ in self._outputs]
        for batched, value, name in zip(self._batched, model.graph.output, results, strict=True):
            if batched:
                zero = self._constant([0])
                nodes.append(helper.make_node("Slice", [scope[value.name], zero, self._rows, zero], [name]))
            else:
                nodes.append(helper.make_node("Identity", [scope[value.name]], [name]))
        graph = helper.make_graph(nodes, f"{_BRANCH}{size}", [], self._values(results))
        graph.value_info.extend(model.graph.value_info)
        graph.quantization_annotation.extend(model.graph.quantization_annotation)
        rename_details(graph, scope)
        return graph

    def _values(self, results: Sequence[str]) -> list[onnx.ValueInfoProto]:
        types = [value.type.tensor_type.elem_type for value in self._outputs]
        return [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(results, types, strict=True)]

    def _constant(self, values: Sequence[int]) -> str:
        return self._add(numpy_helper.from_array(np.array(values, np.int64)))

    def _add(self, tensor: TensorProto) -> str:
        """Add a copy of *tensor* to the weights and return its name; equal ones are one."""
        copy = TensorProto()
        copy.CopyFrom(tensor)
        copy.ClearField("name")
        key = copy.SerializeToString()
        if key not in self._names:
            copy.name = self._names[key] = self._new()
            self._constants.append(copy)
        return self._names[key]


def _rows(output: str, fixed: Mapping[int, tuple[onnx.ModelProto, dict[str, Shape]]]) -> bool:
    """Return whether *output* has a row for each row of the batch.

    Raises:
        OpenShapeError: If it has some other number of rows that changes with the batch.
    """
    shapes = {size: known[output] for size, (_, known) in fixed.items()}
    if len(set(shapes.values())) == 1:
        return False
    if len({shape[1:] for shape in shapes.values()}) > 1 or any(shape[:1] != (n,) for n, shape in shapes.items()):
        raise OpenShapeError(
            f"an output has the shapes {', '.join(map(str, shapes.values()))} for {', '.join(map(str, shapes))} rows"
        )
    return True
