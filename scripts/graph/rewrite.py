"""Change what an ONNX image classifier takes and gives, and leave what it computes alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from scripts.graph.inspect import Classifier
from scripts.graph.noise import random_batch
from scripts.graph.pixels import LUMA, LUMA_HALF, LUMA_ONE, Pixels
from scripts.graph.session import Session
from scripts.graph.walk import fresh, graphs, images_of, names, set_nodes
from scripts.host.errors import TaskFailure, first_line

IMAGE = "image"
PROBABILITIES = "probabilities"
# Largest relative difference between a batch and its images alone: kernels for one row and for three round differently.
BATCH_TOLERANCE = 1e-5
# From this operator set on, ReduceSum takes its axes as an input.
_AXES_ARE_AN_INPUT = 13


def fuse(model: onnx.ModelProto, classifier: Classifier, *, pixels: Pixels) -> onnx.ModelProto:
    """Make *model* take raw pixels and give probabilities.

    A model that takes UINT8 normalises by itself; only the order of its channels and of its axes is adapted.

    Args:
        model: What `inspect` described.
        classifier: Its description.
        pixels: What its input holds for a pixel.

    Returns:
        A new model: ``image`` UINT8 ``(n, height, width, 3)`` RGB to ``probabilities`` FP32 ``(n, classes)``.

    Raises:
        TaskFailure: If the result is not valid ONNX.
    """
    result = _copy(model)
    _take_pixels(result, classifier, pixels)
    _give_probabilities(result, classifier)
    return _checked(result)


def give_probabilities(model: onnx.ModelProto, classifier: Classifier) -> onnx.ModelProto:
    """Make *model* give ``probabilities`` FP32 ``(n, classes)``, and leave its input as it is.

    Raises:
        TaskFailure: If the result is not valid ONNX.
    """
    result = _copy(model)
    _give_probabilities(result, classifier)
    return _checked(result)


def declare_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return *model* with a batch dimension that has a name instead of a length, as Triton asks for any batch at all.

    Nothing else is changed: for what is asked one image at a time, that is the same function.
    """
    result = _copy(model)
    del result.graph.value_info[:]
    for value in (*images_of(result.graph), *result.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims:
            dims[0].dim_param = "batch"
    return result


def free_batch(model: onnx.ModelProto, classifier: Classifier) -> onnx.ModelProto:
    """Make a batch dimension of 1 dynamic, where that is the same function; return a dynamic one as it is.

    Args:
        model: What `inspect` described.
        classifier: Its description.

    Raises:
        TaskFailure: If the changed model does not give, for a batch of 3, what *model* gives for each of the 3 images
            alone.
    """
    if classifier.batch is None:
        return model
    result = declare_batch(model)
    _free_reshapes(result)
    images = random_batch(classifier.input, 3)
    expected = Session(model).alone(images)
    reason = "The model's batch dimension is fixed at 1 and cannot be made dynamic"
    advice = "Export it with a dynamic batch dimension, or package it with --max-batch 1, for one image at a time"
    try:
        got = Session(_checked(result)).scores(images)
    except TaskFailure as error:
        raise TaskFailure(f"{reason}: {error} {advice}.") from error
    if got.shape != expected.shape:
        raise TaskFailure(f"{reason}: for 3 images it gives scores {got.shape} instead of {expected.shape}. {advice}.")
    difference = float(np.abs(got.astype(np.float64) - expected).max() / np.abs(expected).max())
    if not difference <= BATCH_TOLERANCE:
        raise TaskFailure(
            f"{reason}: an image's scores then change by {difference:.1e} of the largest with what shares its batch, "
            f"but at most {BATCH_TOLERANCE:.0e} was expected. {advice}."
        )
    return result


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(model)
    return result


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # the checker raises more than its ValidationError
        raise TaskFailure(f"The changed model is not valid ONNX: {first_line(error)}.") from error
    return model


@attrs.frozen
class _Step:
    """One operator to add, with its second input where it takes one."""

    operator: str
    constant: NDArray[Any] | None = None
    attributes: Mapping[str, Any] = attrs.field(factory=dict)


def _take_pixels(model: onnx.ModelProto, classifier: Classifier, pixels: Pixels) -> None:
    """Put the input ``image`` and the nodes that make of it what the graph takes in front of the graph."""
    graph, steps = model.graph, list[_Step]()
    # Bytes are moved before they become floats, four times as long.
    if classifier.layout == "NCHW":
        steps.append(_Step("Transpose", attributes={"perm": [0, 3, 1, 2]}))
    axis = 1 if classifier.layout == "NCHW" else 3
    shape = (-1, 1, 1) if classifier.layout == "NCHW" else (-1,)
    if pixels.colour == "bgr":
        steps.append(_Step("Gather", np.array([2, 1, 0]), {"axis": axis}))
    if pixels.colour == "gray":
        steps += _gray(axis, shape, opset=classifier.opset)
    if classifier.input.dtype == "UINT8":
        steps += [_Step("Cast", attributes={"to": TensorProto.UINT8})] if pixels.colour == "gray" else []
    else:
        if pixels.colour != "gray":
            steps.append(_Step("Cast", attributes={"to": TensorProto.FLOAT}))
        scale = ("Mul", pixels.scale) if pixels.divisor is None else ("Div", pixels.divisor)
        steps += [
            # Not folded into one multiplication and addition: these three round as the client's normalise() does, bit
            # for bit, so that even a quantised model, where one bit may tip a level, gives equal answers.
            _Step(scale[0], np.array(scale[1], np.float32)),
            _Step("Sub", np.array(pixels.mean, np.float32).reshape(shape)),
            _Step("Div", np.array(pixels.std, np.float32).reshape(shape)),
        ]
        if classifier.input.dtype != "FP32":
            steps.append(_Step("Cast", attributes={"to": helper.np_dtype_to_tensor_dtype(classifier.numpy_input)}))
    _free_name(graph, IMAGE)
    value = images_of(graph)[0]
    batch = _batch(value)
    if steps:
        _insert(graph, steps, source=IMAGE, target=value.name, at=0)
        value.name = IMAGE
    else:
        _rename(graph, value.name, IMAGE)
    value.type.CopyFrom(
        helper.make_tensor_type_proto(TensorProto.UINT8, [batch, classifier.height, classifier.width, 3])
    )


def _gray(axis: int, shape: tuple[int, ...], *, opset: int) -> list[_Step]:
    """Return what makes one channel of FP32 whole numbers of three, by Pillow's weights and its rounding."""
    # Not a MatMul, which GPUs round to ten bits; see `pixels.LUMA` for why no addition rounds at all.
    summed = (
        _Step("ReduceSum", np.array([axis]), {"keepdims": 1})
        if opset >= _AXES_ARE_AN_INPUT
        else _Step("ReduceSum", attributes={"axes": [axis], "keepdims": 1})
    )
    return [
        _Step("Cast", attributes={"to": TensorProto.FLOAT}),
        _Step("Mul", np.array(LUMA, np.float32).reshape(shape)),
        summed,
        _Step("Add", np.array(LUMA_HALF, np.float32)),
        _Step("Div", np.array(LUMA_ONE, np.float32)),
        _Step("Floor"),
    ]


def _give_probabilities(model: onnx.ModelProto, classifier: Classifier) -> None:
    """Put what is missing behind the scores, and call the output ``probabilities``."""
    graph, steps = model.graph, list[_Step]()
    if classifier.output.dtype != "FP32":
        steps.append(_Step("Cast", attributes={"to": TensorProto.FLOAT}))
    if len(classifier.output.shape) != 1:
        steps.append(_Step("Flatten", attributes={"axis": 1}))
    if classifier.scores == "log-probabilities":
        steps.append(_Step("Exp"))
    elif classifier.scores == "multi-label logits" or (classifier.scores == "logits" and classifier.single):
        steps.append(_Step("Sigmoid"))
    elif classifier.scores == "logits":
        # On two axes, axis 1 means the same before and after operator set 13.
        steps.append(_Step("Softmax", attributes={"axis": 1}))
    if classifier.single:
        # p becomes [1 - p, p].
        steps += [_Step("Mul", np.array([[-1, 1]], np.float32)), _Step("Add", np.array([[1, 0]], np.float32))]
    _free_name(graph, PROBABILITIES)
    value = graph.output[0]
    if steps:
        _insert(graph, steps, source=value.name, target=PROBABILITIES, at=len(graph.node))
        value.name = PROBABILITIES
    else:
        _rename(graph, value.name, PROBABILITIES)
    batch = _batch(images_of(graph)[0])
    value.type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, [batch, classifier.classes]))


def _batch(value: onnx.ValueInfoProto) -> int | str:
    """Return the batch dimension: 1, or a name."""
    dim = value.type.tensor_type.shape.dim[0]
    return dim.dim_value if dim.dim_value > 0 else dim.dim_param or "batch"


def _insert(graph: onnx.GraphProto, steps: Sequence[_Step], *, source: str, target: str, at: int) -> None:
    """Put *steps* before node number *at*, from the value *source* to the value *target*."""
    taken = set(names(graph)) | {source, target}
    nodes: list[onnx.NodeProto] = []
    for number, step in enumerate(steps):
        inputs = [source]
        if step.constant is not None:
            # A node: up to IR version 3 an initializer would have to be an input as well.
            inputs.append(fresh("constant", taken))
            nodes.append(_constant(step.constant, inputs[-1]))
        source = target if number == len(steps) - 1 else fresh(step.operator.lower(), taken)
        nodes.append(helper.make_node(step.operator, inputs, [source], **step.attributes))
    set_nodes(graph, [*graph.node[:at], *nodes, *graph.node[at:]])


def _constant(values: NDArray[Any], name: str) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values, name))


def _free_name(graph: onnx.GraphProto, name: str) -> None:
    """Give the value called *name*, if there is one, another name."""
    taken = set(names(graph))
    if name in taken:
        _rename(graph, name, fresh(name, taken))


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Call the value *old* by the name *new* everywhere."""
    for inner in graphs(graph):
        for value in (*inner.input, *inner.output, *inner.value_info):
            if value.name == old:
                value.name = new
        for tensor in (*inner.initializer, *(sparse.values for sparse in inner.sparse_initializer)):
            if tensor.name == old:
                tensor.name = new
        for annotation in inner.quantization_annotation:
            if annotation.tensor_name == old:
                annotation.tensor_name = new
        for node in inner.node:
            for ends in (node.input, node.output):
                ends[:] = [new if end == old else end for end in ends]


def _free_reshapes(model: onnx.ModelProto) -> None:
    """Let every Reshape of something made from the image, to a constant shape that begins with 1, take any batch."""
    graph = model.graph
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and (value := [a.t for a in node.attribute if a.name == "value"]):
            shapes[node.output[0]] = numpy_helper.to_array(value[0])
    taken = set(names(graph))
    from_image = {images_of(graph)[0].name}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if from_image.intersection(node.input):
            from_image.update(node.output)
            shape = shapes.get(node.input[1]) if node.op_type == "Reshape" and node.input[0] in from_image else None
            if shape is not None and shape.size and shape[0] == 1:
                # -1 is what is left over; where another axis has it, 0 copies the length of the input's first axis.
                changed = np.array([0 if -1 in shape else -1, *shape[1:]], np.int64)
                node.input[1] = fresh("shape", taken)
                nodes.append(_constant(changed, node.input[1]))
        nodes.append(node)
    set_nodes(graph, nodes)
