"""Model repositories as others write them: NVIDIA's quickstart, one-line configurations, sequence models."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, CLASSES = 8, 5
_HEAD = 'name: "other" platform: "onnxruntime_onnx"'

# What stands in config.pbtxt, by what is particular about it; each is served by Triton as it is.
CONFIGS = {
    "the batch in the dimensions": f"""{_HEAD}
max_batch_size: 0
input [ {{ name: "data_0" data_type: TYPE_FP32 dims: [ 1, 3, {SIDE}, {SIDE} ] }} ]
output [ {{ name: "fc6_1" data_type: TYPE_FP32 dims: [ 1, {CLASSES}, 1, 1 ] label_filename: "labels.txt" }} ]
""",
    # https://github.com/triton-inference-server/server/blob/main/docs/examples/model_repository/densenet_onnx
    "a reshape": f"""{_HEAD}
max_batch_size : 0
input [
  {{
    name: "data_0"
    data_type: TYPE_FP32
    format: FORMAT_NCHW
    dims: [ 3, {SIDE}, {SIDE} ]
    reshape {{ shape: [ 1, 3, {SIDE}, {SIDE} ] }}
  }}
]
output [
  {{
    name: "fc6_1"
    data_type: TYPE_FP32
    dims: [ {CLASSES} ]
    reshape {{ shape: [ 1, {CLASSES}, 1, 1 ] }}
    label_filename: "labels.txt"
  }}
]
""",
    "no batch size at all": f"""{_HEAD}
input {{ name: "data_0" data_type: TYPE_FP32 dims: 1 dims: 3 dims: {SIDE} dims: {SIDE} }}
output {{ name: "fc6_1" data_type: TYPE_FP32 dims: [ 1, {CLASSES}, 1, 1 ] }}
""",
    "one line": (
        f'input {{ name: "data_0" data_type: TYPE_FP32 dims: [ 1, 3, {SIDE}, {SIDE} ] }} output {{ name: "fc6_1" '
        f"data_type: TYPE_FP32 dims: [ 1, {CLASSES}, 1, 1 ] }} {_HEAD} max_batch_size: 0"
    ),
}


# Edits of "a reshape" that Triton's own validation refuses, and what the linter says of them.
REFUSED = {
    "a format of four dimensions": (("dims: [ 3, 8, 8 ]", "dims: [ 1, 3, 8, 8 ]"), "a format and 4 dims"),
    "a dimension of 0": (("dims: [ 3, 8, 8 ]", "dims: [ 0, 8, 8 ]"), "but each must be at least 1"),
    "no type": (("data_type: TYPE_FP32", ""), "lacks name, data_type or dims"),
    "another number of values": (("shape: [ 1, 5, 1, 1 ]", "shape: [ 1, 6, 1, 1 ]"), "different numbers of values"),
    "a negative batch size": (("max_batch_size : 0", "max_batch_size : -1"), "max_batch_size is -1"),
    "no label file": (('"labels.txt"', '"names.txt"'), "names.txt is missing"),
    "a preferred batch size of a model without batches": (
        ("max_batch_size : 0", "max_batch_size : 0 dynamic_batching { preferred_batch_size: [ 4 ] }"),
        "above max_batch_size 0",
    ),
}


def refused(case: str) -> str:
    """Return the configuration of one of `REFUSED`."""
    (old, new), _ = REFUSED[case]
    return CONFIGS["a reshape"].replace(old, new, 1)


def densenet() -> onnx.ModelProto:
    """Return a classifier as the quickstart's: ``data_0`` FP32 (1, 3, side, side) -> ``fc6_1`` (1, classes, 1, 1)."""
    weights = np.random.default_rng(0).normal(size=(CLASSES, 3, 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["data_0"], ["mean"]),
            helper.make_node("Conv", ["mean", "kernel"], ["fc6_1"]),
        ],
        "densenet",
        [helper.make_tensor_value_info("data_0", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("fc6_1", TensorProto.FLOAT, [1, CLASSES, 1, 1])],
        [numpy_helper.from_array(weights, "kernel")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def write(repository: Path, text: str, *, model: onnx.ModelProto | None = None, name: str = "other") -> Path:
    """Write the model *name* with the configuration *text*, a `densenet` by default; return its folder."""
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    onnx.save_model(densenet() if model is None else model, folder / "1" / "model.onnx")
    (folder / "config.pbtxt").write_text(text)
    (folder / "labels.txt").write_text("".join(f"name {index}\n" for index in range(CLASSES)) + "\n")
    return folder


SEQUENCE = """
name: "other" backend: "onnxruntime" max_batch_size: 4
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
sequence_batching {
  max_sequence_idle_microseconds: 5000000
  control_input [
    { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] },
    { name: "READY" control [ { kind: CONTROL_SEQUENCE_READY fp32_false_true: [ 0, 1 ] } ] }
  ]
}
"""


def accumulator() -> onnx.ModelProto:
    """Return a model that is told by the server when a sequence begins: ``y`` = x + START + READY."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in ("x", "START", "READY")]
    graph = helper.make_graph(
        [helper.make_node("Sum", ["x", "START", "READY"], ["y"])],
        "accumulator",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
