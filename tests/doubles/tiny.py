"""Build models that load in no time, and model repositories of them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

# An opset and an IR version that every ONNX Runtime of the last years reads.
OPSET = 17
IR_VERSION = 8


def build(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: dict[str, NDArray[Any]] | None = None,
) -> onnx.ModelProto:
    """Join *nodes* into a model."""
    initialisers = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def tensor(name: str, dtype: int, shape: list[int | str]) -> onnx.ValueInfoProto:
    """Describe an input or output; a text in *shape* is a free dimension."""
    return helper.make_tensor_value_info(name, dtype, shape)


def scaler(factor: float = 2.0, *, width: int = 4, batch: int | str = "n") -> onnx.ModelProto:
    """Return a model ``x`` FP32 (n, width) -> ``y`` = *factor* * x and ``z`` = -x, of the same shape."""
    return build(
        [helper.make_node("Mul", ["x", "factor"], ["y"]), helper.make_node("Neg", ["x"], ["z"])],
        [tensor("x", TensorProto.FLOAT, [batch, width])],
        [tensor(name, TensorProto.FLOAT, [batch, width]) for name in ("y", "z")],
        {"factor": np.array(factor, np.float32)},
    )


def classifier(*, height: int = 8, width: int = 8, classes: int = 3, seed: int = 0) -> onnx.ModelProto:
    """Return a seeded model ``image`` UINT8 (n, height, width, 3) -> ``probabilities`` FP32 (n, classes)."""
    weights = np.random.default_rng(seed).normal(size=(3, classes)).astype(np.float32)
    return build(
        [
            helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("Mul", ["mean", "scale"], ["features"]),
            helper.make_node("MatMul", ["features", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        [tensor("image", TensorProto.UINT8, ["n", height, width, 3])],
        [tensor("probabilities", TensorProto.FLOAT, ["n", classes])],
        {"weights": weights, "scale": np.array(1 / 64, np.float32)},
    )


def slow_together(size: int = 1024) -> onnx.ModelProto:
    """Return a :func:`classifier` that multiplies *size* x *size* matrices in runs of several images only."""
    model = classifier()
    (answer,) = model.graph.output
    last = model.graph.node[-1]
    last.output[0] = "right"
    tired = [
        # It depends on the image, so that it is not multiplied once and for all.
        helper.make_node("ReduceMax", ["logits"], ["most"], keepdims=0),
        helper.make_node("Expand", ["most", "square"], ["matrix"]),
        helper.make_node("MatMul", ["matrix", "matrix"], ["product"]),
        helper.make_node("ReduceMin", ["product"], ["least"], keepdims=0),
        helper.make_node("Mul", ["least", "nothing"], ["zero"]),
        helper.make_node("Add", ["right", "zero"], ["late"]),
    ]
    fresh = [helper.make_node("Identity", ["right"], ["soon"])]
    branches = [
        helper.make_graph(nodes, name, [], [tensor(name, TensorProto.FLOAT, ["n", 3])])
        for nodes, name in ((tired, "late"), (fresh, "soon"))
    ]
    model.graph.node.extend(
        [
            helper.make_node("Shape", ["image"], ["images"], end=1),
            helper.make_node("Squeeze", ["images"], ["count"]),
            helper.make_node("Greater", ["count", "one"], ["shared"]),
            helper.make_node("If", ["shared"], [answer.name], then_branch=branches[0], else_branch=branches[1]),
        ]
    )
    weights: dict[str, NDArray[Any]] = {
        "one": np.array(1, np.int64),
        "square": np.array([size, size], np.int64),
        "nothing": np.array(0, np.float32),
    }
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def lookup() -> onnx.ModelProto:
    """Return a model ``x`` INT64 (n, 1) -> ``y`` FP32 (n, 1) = x * 10 that fails where x is not 0, 1 or 2."""
    return build(
        [helper.make_node("Gather", ["table", "x"], ["y"], axis=0)],
        [tensor("x", TensorProto.INT64, ["n", 1])],
        [tensor("y", TensorProto.FLOAT, ["n", 1])],
        {"table": np.array([0, 10, 20], np.float32)},
    )


def slow(rounds: int = 100) -> onnx.ModelProto:
    """Return a model ``x`` FP32 (n, 512) -> ``y`` = x that multiplies 512 x 512 matrices for *rounds* rounds."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still_going"]),
            helper.make_node("MatMul", ["before", "unit"], ["after"]),
        ],
        "body",
        [tensor("round", TensorProto.INT64, []), tensor("going", TensorProto.BOOL, []), _matrix("before")],
        [tensor("still_going", TensorProto.BOOL, []), _matrix("after")],
    )
    return build(
        [
            helper.make_node("Loop", ["rounds", "", "unit"], ["last"], body=body),
            helper.make_node("MatMul", ["x", "last"], ["y"]),
        ],
        [tensor("x", TensorProto.FLOAT, ["n", 512])],
        [tensor("y", TensorProto.FLOAT, ["n", 512])],
        {"rounds": np.array(rounds, np.int64), "unit": np.eye(512, dtype=np.float32)},
    )


def echo(dtype: int = TensorProto.STRING) -> onnx.ModelProto:
    """Return a model that gives back what it gets: ``x`` (n, 2) of *dtype* -> ``y`` (n, 2)."""
    return build(
        [helper.make_node("Identity", ["x"], ["y"])],
        [tensor("x", dtype, ["n", 2])],
        [tensor("y", dtype, ["n", 2])],
    )


def config(name: str, model: onnx.ModelProto, *, max_batch: int = 8, instances: int = 1, extra: str = "") -> str:
    """Return the complete ``config.pbtxt`` of *model*, serving all its versions; *extra* is put at its end."""
    tensors = "\n".join(
        f"{kind} [{', '.join(_spec(info, skip=max_batch > 0) for info in infos)}]"
        for kind, infos in (("input", model.graph.input), ("output", model.graph.output))
    )
    return f"""\
name: "{name}"
backend: "onnxruntime"
max_batch_size: {max_batch}
{tensors}
version_policy {{ all {{}} }}
instance_group [{{ count: {instances} kind: KIND_CPU }}]
{extra}
"""


def write_model(
    repository: Path,
    name: str = "tiny",
    version: int = 1,
    *,
    model: onnx.ModelProto | None = None,
    max_batch: int = 8,
    instances: int = 1,
    extra: str = "",
) -> Path:
    """Write *model*, a :func:`scaler` by default, and its configuration; return the version's folder."""
    model = scaler() if model is None else model
    folder = repository / name / str(version)
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    text = config(name, model, max_batch=max_batch, instances=instances, extra=extra)
    (repository / name / "config.pbtxt").write_text(text)
    return folder


def _matrix(name: str) -> onnx.ValueInfoProto:
    return tensor(name, TensorProto.FLOAT, [512, 512])


def _spec(info: onnx.ValueInfoProto, *, skip: bool) -> str:
    kind = {"FLOAT": "FP32", "DOUBLE": "FP64", "FLOAT16": "FP16"}.get(
        word := TensorProto.DataType.Name(info.type.tensor_type.elem_type), word
    )
    dims = [dim.dim_value or -1 for dim in info.type.tensor_type.shape.dim][1 if skip else 0 :]
    return f'{{ name: "{info.name}" data_type: TYPE_{kind} dims: {dims} }}'
