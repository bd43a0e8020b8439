"""Small batched ONNX graphs, one for each way in which a graph can be built."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.doubles.tiny_models import CLASSES, classifier, softmax

Node = onnx.NodeProto
_RANDOM = np.random.default_rng(3)
_WEIGHTS = {
    "kernel": _RANDOM.normal(size=(4, 3, 3, 3)).astype(np.float32),
    "bias": _RANDOM.normal(size=4).astype(np.float32),
    "matrix": _RANDOM.normal(size=(4, CLASSES)).astype(np.float32),
    # Larger than what counts as a shape.
    "wide": _RANDOM.normal(size=(4 * 36, 64)).astype(np.float32),
    "last": _RANDOM.normal(size=(64, CLASSES)).astype(np.float32),
    "none": np.array([], np.float32),
}


def _model(
    nodes: Sequence[Node],
    constants: Mapping[str, Any] | None = None,
    *,
    dims: Sequence[int | str] = ("n", 3, 8, 8),
    opset: int = 17,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """Return *nodes*, from ``image`` to ``scores``, with the weights that they name."""
    weights = {**_WEIGHTS, **(constants or {})}
    used = {name for node in onnx_nodes(nodes) for name in node.input}
    graph = helper.make_graph(
        list(nodes),
        "batched",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in weights.items() if name in used],
    )
    sets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8, functions=list(functions))


def onnx_nodes(nodes: Sequence[Node]) -> list[Node]:
    """Return *nodes* and those inside them."""
    inner = [node for outer in nodes for a in outer.attribute if a.HasField("g") for node in onnx_nodes(a.g.node)]
    return [*nodes, *inner]


def _conv(source: str = "image", target: str = "felt") -> list[Node]:
    return [
        helper.make_node("Conv", [source, "kernel", "bias"], [f"{target}_raw"]),
        helper.make_node("Relu", [f"{target}_raw"], [target]),
    ]


def _head(source: str = "felt", target: str = "scores") -> list[Node]:
    return [
        helper.make_node("GlobalAveragePool", [source], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "matrix"], [target]),
    ]


def _value(name: str, dims: Sequence[int | str] | None = None, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, dims)


def shape_chain() -> onnx.ModelProto:
    """Return a graph that asks for its own shape and puts a new one together from it, as exporters write it."""
    nodes = [
        *_conv(),
        helper.make_node("Shape", ["felt"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["rows"], axis=0),
        helper.make_node("Unsqueeze", ["rows", "axis"], ["rows_1"]),
        helper.make_node("Constant", [], ["rest"], value_ints=[-1]),
        helper.make_node("Concat", ["rows_1", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["felt", "wanted"], ["flat"]),
        helper.make_node("MatMul", ["flat", "wide"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "last"], ["scores"]),
    ]
    return _model(nodes, {"zero": np.array(0, np.int64), "axis": np.array([0], np.int64)})


def expanded() -> onnx.ModelProto:
    """Return a graph that expands a weight to the batch, as transformers do with their class token."""
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Slice", ["shape", "from", "to"], ["rows"]),
        helper.make_node("Concat", ["rows", "tail"], ["wanted"], axis=0),
        helper.make_node("Expand", ["token", "wanted"], ["tokens"]),
        helper.make_node("Reshape", ["image", "tokenised"], ["patches"]),
        helper.make_node("Concat", ["tokens", "patches"], ["sequence"], axis=1),
        helper.make_node("ReduceMean", ["sequence"], ["flat"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["flat", "last"], ["scores"]),
    ]
    constants = {
        "from": np.array([0], np.int64),
        "to": np.array([1], np.int64),
        "tail": np.array([1, 64], np.int64),
        "token": _RANDOM.normal(size=(1, 1, 64)).astype(np.float32),
        "tokenised": np.array([0, 3, 64], np.int64),
    }
    return _model(nodes, constants)


def _if(condition: str, then: Sequence[Node], otherwise: Sequence[Node], target: str, result: str) -> Node:
    """Return an If whose sides both call their output *result*."""
    sides: dict[str, Any] = {
        key: helper.make_graph(list(nodes), key, [], [_value(result)])
        for key, nodes in (("then_branch", then), ("else_branch", otherwise))
    }
    return helper.make_node("If", [condition], [target], **sides)


def decided_by_shape() -> onnx.ModelProto:
    """Return a graph with an If that asks for a shape, as the exporter of a squeeze writes it."""
    nodes = [
        *_conv(),
        helper.make_node("GlobalAveragePool", ["felt"], ["mean"]),
        helper.make_node("Shape", ["mean"], ["shape"]),
        helper.make_node("Gather", ["shape", "two"], ["height"], axis=0),
        helper.make_node("Equal", ["height", "one"], ["is_one"]),
        _if(
            "is_one",
            [helper.make_node("Squeeze", ["mean", "axes"], ["flat_side"])],
            [helper.make_node("Identity", ["mean"], ["flat_side"])],
            "flat",
            "flat_side",
        ),
        helper.make_node("MatMul", ["flat", "matrix"], ["scores"]),
    ]
    constants = {"two": np.array(2, np.int64), "one": np.array(1, np.int64), "axes": np.array([2, 3], np.int64)}
    return _model(nodes, constants)


def decided_by_data() -> onnx.ModelProto:
    """Return a graph with an If that only the numbers decide; both sides have values of one name."""
    own = helper.make_node("Constant", [], ["own"], value=numpy_helper.from_array(np.full((1, 4, 1, 1), 2, np.float32)))
    nodes = [
        *_conv(),
        helper.make_node("ReduceMax", ["image"], ["highest"], keepdims=0),
        helper.make_node("Greater", ["highest", "limit"], ["bright"]),
        _if(
            "bright",
            [own, helper.make_node("Mul", ["felt", "own"], ["side"])],
            [helper.make_node("Add", ["felt", "felt"], ["own"]), helper.make_node("Relu", ["own"], ["side"])],
            "kept",
            "side",
        ),
        *_head("kept"),
    ]
    return _model(nodes, {"limit": np.array(100, np.float32)})


def loop() -> onnx.ModelProto:
    """Return a graph with a Loop of three turns, which also gathers what each turn gives."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["still"]),
            helper.make_node("Conv", ["state", "square"], ["turned"], pads=[1, 1, 1, 1]),
            helper.make_node("Add", ["turned", "state"], ["next"]),
            helper.make_node("GlobalAveragePool", ["next"], ["each"]),
        ],
        "body",
        [_value("turn", [], TensorProto.INT64), _value("goes_on", [], TensorProto.BOOL), _value("state")],
        [_value("still", [], TensorProto.BOOL), _value("next"), _value("each")],
    )
    nodes = [
        helper.make_node("Loop", ["turns", "", "image"], ["looped", "means"], body=body),
        helper.make_node("ReduceMean", ["means"], ["mean_3"], axes=[0], keepdims=0),
        *_conv("looped"),
        *_head("felt", "first"),
        helper.make_node("ReduceSum", ["mean_3", "all"], ["sum"], keepdims=0),
        helper.make_node("Unsqueeze", ["sum", "behind"], ["sums"]),
        helper.make_node("Add", ["first", "sums"], ["scores"]),
    ]
    constants = {
        "turns": np.array(3, np.int64),
        "square": (0.1 * _RANDOM.normal(size=(3, 3, 3, 3))).astype(np.float32),
        "all": np.array([1, 2, 3], np.int64),
        "behind": np.array([1], np.int64),
    }
    return _model(nodes, constants)


def scan() -> onnx.ModelProto:
    """Return a graph that scans over the rows of an image and carries a sum along."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["carried", "line"], ["sum"]),
            helper.make_node("Relu", ["sum"], ["seen"]),
        ],
        "body",
        [_value("carried"), _value("line")],
        [_value("sum"), _value("seen")],
    )
    nodes = [
        *_conv(),
        helper.make_node("ReduceSum", ["felt", "height"], ["start"], keepdims=0),
        helper.make_node(
            "Scan",
            ["start", "felt"],
            ["total", "lines"],
            body=body,
            num_scan_inputs=1,
            scan_input_axes=[2],
            scan_output_axes=[2],
        ),
        *_head("lines"),
    ]
    return _model(nodes, {"height": np.array([2], np.int64)})


def functions() -> onnx.ModelProto:
    """Return a graph with local functions inside each other, one with a weight of its own, called twice."""
    own = numpy_helper.from_array(np.array(0.5, np.float32))
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    half = helper.make_function(
        "local",
        "Half",
        ["x"],
        ["y"],
        [helper.make_node("Constant", [], ["own"], value=own), helper.make_node("Mul", ["x", "own"], ["y"])],
        sets[:1],
    )
    swish = helper.make_function(
        "local",
        "Swish",
        ["x"],
        ["y"],
        [
            helper.make_node("Half", ["x"], ["h"], domain="local"),
            helper.make_node("Sigmoid", ["h"], ["s"]),
            helper.make_node("Mul", ["x", "s"], ["y"]),
        ],
        sets,
    )
    nodes = [
        *_conv(),
        helper.make_node("Swish", ["felt"], ["once"], domain="local"),
        helper.make_node("Swish", ["once"], ["twice"], domain="local"),
        *_head("twice"),
    ]
    return _model(nodes, functions=[half, swish], domains=["local"])


def quantised() -> onnx.ModelProto:
    """Return a graph with quantised weights and activations, as onnxruntime's static quantisation writes it."""
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["image_q"]),
        helper.make_node("DequantizeLinear", ["image_q", "scale", "zero"], ["image_f"]),
        helper.make_node("DequantizeLinear", ["kernel_q", "kernel_scale", "kernel_zero"], ["kernel_f"], axis=0),
        helper.make_node("DequantizeLinear", ["bias_q", "bias_scale", "bias_zero"], ["bias_f"], axis=0),
        helper.make_node("Conv", ["image_f", "kernel_f", "bias_f"], ["raw"]),
        helper.make_node("Relu", ["raw"], ["relu"]),
        helper.make_node("QuantizeLinear", ["relu", "scale", "zero"], ["relu_q"]),
        helper.make_node("DequantizeLinear", ["relu_q", "scale", "zero"], ["felt"]),
        *_head(),
    ]
    kernel_scale = np.array([0.02, 0.03, 0.02, 0.01], np.float32)
    constants = {
        "scale": np.array(0.05, np.float32),
        "zero": np.array(128, np.uint8),
        "kernel_q": _RANDOM.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "kernel_scale": kernel_scale,
        "kernel_zero": np.zeros(4, np.int8),
        "bias_q": _RANDOM.integers(-500, 500, 4).astype(np.int32),
        "bias_scale": (kernel_scale * 0.05).astype(np.float32),
        "bias_zero": np.zeros(4, np.int32),
    }
    model = _model(nodes, constants)
    note = model.graph.quantization_annotation.add(tensor_name="relu")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    note.quant_parameter_tensor_names.add(key="ZERO_POINT_TENSOR", value="zero")
    return model


def contributed() -> onnx.ModelProto:
    """Return a graph with operators of onnxruntime's own between others, whose shapes onnx does not know."""
    nodes = [
        *_conv(),
        helper.make_node("Gelu", ["felt"], ["bent"], domain="com.microsoft"),
        *_head("bent", "raw"),
        helper.make_node("QuickGelu", ["raw"], ["scores"], domain="com.microsoft"),
    ]
    return _model(nodes, domains=["com.microsoft"])


def dynamically_quantised() -> onnx.ModelProto:
    """Return a graph whose scale of activations is taken from the whole batch."""
    nodes = [
        *_conv(),
        helper.make_node("GlobalAveragePool", ["felt"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"], axis=1),
        helper.make_node("DynamicQuantizeLinear", ["flat"], ["bytes", "found", "zero"]),
        helper.make_node("MatMulInteger", ["bytes", "matrix_q", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "found"], ["scores"]),
    ]
    return _model(nodes, {"matrix_q": _RANDOM.integers(-127, 128, (4, CLASSES)).astype(np.int8)})


def sparse() -> onnx.ModelProto:
    """Return a graph whose last matrix is sparse, with a value of the same name as a weight in its value_info."""
    nodes = [*_conv(), *_head("felt", "raw"), helper.make_node("MatMul", ["raw", "spread"], ["scores"])]
    model = _model(nodes)
    values = numpy_helper.from_array(np.array([1, 2, 3], np.float32), "spread")
    places = numpy_helper.from_array(np.array([0, 7, 21], np.int64), "spread_places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [CLASSES, CLASSES]))
    model.graph.value_info.append(_value("felt", ["n", 4, 6, 6]))
    return model


def two_inputs() -> onnx.ModelProto:
    """Return a graph with a second batched input, one that is shared by the batch, and a second output."""
    nodes = [
        *_conv(),
        *_head("felt", "raw"),
        helper.make_node("Mul", ["raw", "weight"], ["weighed"]),
        helper.make_node("Add", ["weighed", "offset"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
    ]
    model = _model(nodes)
    model.graph.input.extend([_value("weight", ["n", 1]), _value("offset", [CLASSES])])
    model.graph.output.append(_value("best", ["n"], TensorProto.INT64))
    return model


MODELS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "float": lambda: classifier(tail=[softmax()]),
    "channels-last": lambda: classifier(dims=("n", 8, 8, 3)),
    "half": lambda: classifier(dtype=TensorProto.FLOAT16),
    "bytes": lambda: classifier(dtype=TensorProto.UINT8, dims=("n", 8, 8, 3), tail=[softmax()]),
    "opset-7": lambda: classifier(opset=7, ir_version=3, weights_are_inputs=True, tail=[softmax()]),
    "opset-9": lambda: classifier(opset=9, ir_version=4, tail=[softmax()]),
    "opset-12": lambda: classifier(opset=12, ir_version=7),
    "opset-21": lambda: classifier(opset=21, ir_version=10),
    "shape-chain": shape_chain,
    "expanded": expanded,
    "decided-by-shape": decided_by_shape,
    "decided-by-data": decided_by_data,
    "loop": loop,
    "scan": scan,
    "functions": functions,
    "quantised": quantised,
    "contributed": contributed,
    "dynamically-quantised": dynamically_quantised,
    "sparse": sparse,
    "two-inputs": two_inputs,
}


def batch(model: onnx.ModelProto, count: int) -> dict[str, NDArray[np.generic]]:
    """Return random inputs of *model* for *count* rows."""
    random = np.random.default_rng(1)
    weights = {tensor.name for tensor in model.graph.initializer}
    feeds = {}
    for value in model.graph.input:
        if value.name in weights:
            continue
        tensor = value.type.tensor_type
        shape = [dim.dim_value or count for dim in tensor.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        integers = dtype == np.uint8
        feeds[value.name] = (random.integers(0, 256, shape) if integers else random.normal(size=shape)).astype(dtype)
    return feeds
