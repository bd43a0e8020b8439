"""Give every value of a graph a constant shape, for one size of the batch: what the size alone decides is done now."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from scripts.graph.session import Session
from scripts.graph.shapes import OpenShapeError, Shape, is_small, known_shapes, open_values
from scripts.graph.walk import all_nodes, graphs, set_nodes, subgraphs


def specialised(model: onnx.ModelProto, inputs: Mapping[str, Shape]) -> tuple[onnx.ModelProto, dict[str, Shape]]:
    """Return *model* for inputs of the shapes *inputs*, and the constant shape of every value in it.

    Args:
        model: A model whose values have names that are unique in all its graphs, and whose constants are initializers.
        inputs: The shape of each input that it leaves open.

    Raises:
        OpenShapeError: If the shape of a value is not known before the model runs.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for value in result.graph.input:
        if value.name in inputs:
            _declare(value, inputs[value.name])
    derived: set[str] = set()
    settled: set[str] = set()
    while True:
        shapes = known_shapes(result)
        # One after the other: each changes what the next one looks at.
        if not (
            _keep_sizes(result.graph, shapes, derived)
            or _keep_computed(result, derived)
            or any(_take_branches(graph, result.graph) for graph in list(graphs(result.graph)))
            or _settle_loop(result, shapes, settled)
            or _ask_runtime(result, shapes)
        ):
            break
    _remove_unused(result.graph)
    if unknown := sorted(set(open_values(result.graph, shapes))):
        others = f" and of {len(unknown) - 1} other values" if len(unknown) > 1 else ""
        raise OpenShapeError(f"the shape of {unknown[0]!r}{others} depends on more than the size of the batch")
    return result, shapes


def _declare(value: onnx.ValueInfoProto, shape: Shape) -> None:
    value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shape))


def _keep_sizes(graph: onnx.GraphProto, shapes: Mapping[str, Shape], derived: set[str]) -> bool:
    """Put the numbers that Shape and Size give in their place; say whether there were any."""
    sizes: dict[str, NDArray[Any]] = {}
    own = _given_by_subgraphs(graph)
    for node in all_nodes(graph.node):
        shape = shapes.get(node.input[0]) if _is_standard(node, "Shape", "Size") else None
        if shape is not None and node.output[0] not in own:
            ends = {attribute.name: attribute.i for attribute in node.attribute}
            part = np.array(shape[ends.get("start", 0) : ends.get("end", len(shape))], np.int64)
            sizes[node.output[0]] = part if node.op_type == "Shape" else np.array(part.prod(), np.int64)
    return _keep(graph, sizes, derived)


def _keep_computed(model: onnx.ModelProto, derived: set[str]) -> bool:
    """Put the small results that follow from sizes and constants in their place; say whether there were any."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer if is_small(tensor)}
    follows, steps, own = set(derived), [], _given_by_subgraphs(model.graph)
    for node in all_nodes(model.graph.node):
        given = set(filter(None, node.input))
        computable = given & follows and not given - follows - constants.keys() and not any(subgraphs(node))
        if computable and not own & set(node.output):
            steps.append(node)
            follows.update(filter(None, node.output))
    made = [name for node in steps for name in node.output if name]
    if not made:
        return False
    needed = [constants[name] for name in {name for node in steps for name in node.input} & constants.keys()]
    probe = helper.make_model(
        helper.make_graph(steps, "sizes", [], [onnx.ValueInfoProto(name=name) for name in made], needed),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    results = dict(zip(made, Session(probe, optimise=False).outputs({}), strict=True))
    small = {
        name: results[name]
        for node in steps
        if all(is_small(numpy_helper.from_array(results[name])) for name in node.output if name)
        for name in node.output
        if name
    }
    return _keep(model.graph, small, derived)


def _given_by_subgraphs(graph: onnx.GraphProto) -> set[str]:
    """Return the outputs of the graphs inside *graph*: a node in them must make each, not an initializer outside."""
    return {value.name for node in all_nodes(graph.node) for inner in subgraphs(node) for value in inner.output}


def _keep(graph: onnx.GraphProto, values: Mapping[str, NDArray[Any]], derived: set[str]) -> bool:
    """Make initializers of *values*, in the place of the nodes that give them."""
    derived.update(values)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    for inner in graphs(graph) if values else ():
        set_nodes(inner, [node for node in inner.node if not values.keys() & set(node.output)])
    return bool(values)


def _take_branches(graph: onnx.GraphProto, outer: onnx.GraphProto) -> bool:
    """Put the branch that is always taken in the place of each If in *graph*; say whether there was any."""
    constants = {tensor.name: tensor for tensor in outer.initializer if is_small(tensor)}
    decided = [node for node in graph.node if _is_standard(node, "If") and node.input[0] in constants]
    nodes: list[onnx.NodeProto] = []
    for node in graph.node if decided else ():
        if node not in decided:
            nodes.append(node)
            continue
        taken = "then_branch" if _is_true(constants[node.input[0]]) else "else_branch"
        branch = next(attribute.g for attribute in node.attribute if attribute.name == taken)
        nodes += branch.node
        results = zip(branch.output, node.output, strict=True)
        nodes += [helper.make_node("Identity", [value.name], [name]) for value, name in results if name]
    if decided:
        set_nodes(graph, nodes)
    return bool(decided)


def _is_standard(node: onnx.NodeProto, *operators: str) -> bool:
    return node.op_type in operators and node.domain in ("", "ai.onnx")


def _settle_loop(model: onnx.ModelProto, shapes: Mapping[str, Shape], settled: set[str]) -> bool:
    """Find a Loop whose values keep their shapes from one turn to the next, and say so in the graph.

    Inference by itself believes that the shapes may change. They do not where a turn that begins with the shapes of the
    Loop's own inputs ends with the same ones.
    """
    for graph in graphs(model.graph):
        for node in graph.node:
            if not _is_standard(node, "Loop") or not all(name in shapes for name in node.input[2:]):
                continue
            body = next(subgraphs(node))
            if body.name in settled:
                continue
            settled.add(body.name)
            before = [shapes[name] for name in node.input[2:]]
            for value, shape in zip(body.input, [(), (), *before], strict=True):
                _declare(value, shape)
            ends = known_shapes(model)
            after = [ends.get(value.name) for value in body.output[1:]]
            if after[: len(before)] != before:
                for value in body.input[2:]:
                    value.type.tensor_type.ClearField("shape")
                continue
            constants = {tensor.name: tensor for tensor in model.graph.initializer if is_small(tensor)}
            turns = _turns(node, body, constants)
            gathered = [None if turns is None or shape is None else (turns, *shape) for shape in after[len(before) :]]
            for name, value, kept in zip(node.output, body.output[1:], [*before, *gathered], strict=False):
                if name and kept is not None:
                    dtype = value.type.tensor_type.elem_type
                    graph.value_info.append(helper.make_tensor_value_info(name, dtype, kept))
            return True
    return False


def _turns(node: onnx.NodeProto, body: onnx.GraphProto, constants: Mapping[str, onnx.TensorProto]) -> int | None:
    """Return how often the Loop *node* turns, where nothing can end it earlier."""
    limit = constants.get(node.input[0])
    if limit is None or (node.input[1] and not _is_true(constants.get(node.input[1]))):
        return None
    makers = {name: inner for inner in body.node for name in inner.output}
    name = body.output[0].name
    while name in makers and makers[name].op_type == "Identity":
        name = makers[name].input[0]
    last = makers.get(name)
    stated = constants.get(name) if last is None or last.op_type != "Constant" else last.attribute[0].t
    return int(numpy_helper.to_array(limit).item()) if name == body.input[1].name or _is_true(stated) else None


def _is_true(tensor: onnx.TensorProto | None) -> bool:
    return tensor is not None and bool(numpy_helper.to_array(tensor).item())


def _ask_runtime(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> bool:
    """Say in the graph what onnxruntime infers of its own operators' results; say whether there was anything new."""
    graph = model.graph
    foreign = [node for node in graph.node if node.domain not in ("", "ai.onnx")]
    open_ones = {name for node in graph.node for name in node.output if name and name not in shapes}
    if not open_ones.intersection(name for node in foreign for name in node.output):
        return False
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(open_ones))
    found = False
    for name, (kind, shape) in Session(probe, optimise=False).declared().items():
        if all(isinstance(length, int) for length in shape):
            graph.value_info.append(helper.make_tensor_value_info(name, kind, shape))
            found = True
    return found


def _remove_unused(graph: onnx.GraphProto) -> None:
    """Remove the nodes and initializers that no output needs."""
    wanted = {value.name for value in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(_read(node))
    set_nodes(graph, kept[::-1])
    weights = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.initializer[:]
    graph.initializer.extend(weights)


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names that *node*, or a graph inside it, reads."""
    for inner in all_nodes([node]):
        yield from inner.input
        for graph in subgraphs(inner):
            yield from (value.name for value in graph.output)
