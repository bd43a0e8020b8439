"""What the contenders ask: a nearly free model and MobileNetV2, in both contracts, and the pictures."""

from pathlib import Path
from typing import Final

import attrs
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.contenders.harness import INPUT, OUTPUT, SIDE
from benchmarks.photographs import photograph
from scripts.packaging import package

CLASSES: Final = 1000
MAX_BATCH: Final = 32
# As ImageNet's photographs, and as a telephone's. At these qualities the generated ones have about as many bytes as
# real ones have (90 KB and 2.9 MB), which decides what decoding costs.
SMALL, LARGE = (500, 375), (4000, 3000)
QUALITY: Final = {SMALL: 97, LARGE: 96}
DTYPES: Final = ("FP32", "UINT8")


@attrs.frozen(kw_only=True)
class Model:
    """A served model.

    Attributes:
        name: Its name on the server.
        dtype: Of its input.
        input: Name of its image tensor.
        output: Name of its scores.
        onnx: Its file.
    """

    name: str
    dtype: str
    input: str
    output: str
    onnx: Path


def free_model(repository: Path, dtype: str) -> Model:
    """Write a model that looks at one pixel: what is measured is then everything but the model."""
    name, uint8 = f"free_{dtype.lower()}", dtype == "UINT8"
    shape = [SIDE, SIDE, 3] if uint8 else [3, SIDE, SIDE]
    ends = {"starts": [0, 0, 0, 0], "ends": [2**31, 1, 1, 3] if uint8 else [2**31, 3, 1, 1]}
    weights = np.random.default_rng(0).normal(size=(3, CLASSES)).astype(np.float32)
    initialisers = [numpy_helper.from_array(np.array(value, np.int64), key) for key, value in ends.items()]
    initialisers += [
        numpy_helper.from_array(np.array([-1, 3], np.int64), "flat"),
        numpy_helper.from_array(weights, "weights"),
    ]
    nodes = [
        helper.make_node("Slice", [INPUT, "starts", "ends"], ["pixel"]),
        helper.make_node("Cast", ["pixel"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["levels", "flat"], ["features"]),
        helper.make_node("MatMul", ["features", "weights"], [OUTPUT]),
    ]
    image = helper.make_tensor_value_info(INPUT, TensorProto.UINT8 if uint8 else TensorProto.FLOAT, ["n", *shape])
    scores = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", CLASSES])
    graph = helper.make_graph(nodes, name, [image], [scores], initialisers)
    path = repository / name / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    (repository / name / "config.pbtxt").write_text(
        f"""\
name: "{name}"
backend: "onnxruntime"
max_batch_size: {MAX_BATCH}
input [{{ name: "{INPUT}" data_type: TYPE_{dtype} dims: {shape} }}]
output [{{ name: "{OUTPUT}" data_type: TYPE_FP32 dims: [{CLASSES}] }}]
instance_group [{{ count: 1 kind: KIND_CPU }}]
dynamic_batching {{ }}
"""
    )
    return Model(name=name, dtype=dtype, input=INPUT, output=OUTPUT, onnx=path)


def mobilenet(repository: Path, dtype: str) -> Model:
    """Package MobileNetV2 and leave one core to it, so that clients and model do not fight for the other."""
    name = f"mobilenetv2_{dtype.lower()}"
    made = package.package(
        package.Source.seeded("mobilenetv2", seed=1),
        model=name,
        repository=repository,
        keep_input=dtype == "FP32",
        max_batch=MAX_BATCH,
        progress=lambda _: None,
    )
    config = repository / name / "config.pbtxt"
    one_thread = 'parameters { key: "intra_op_thread_count" value: { string_value: "1" } }\n'
    config.write_text(config.read_text() + one_thread)
    if made.manifest is None:
        raise ValueError(f"{made.path} has no manifest")
    contract = made.manifest.contract
    return Model(
        name=name, dtype=dtype, input=contract.input.name, output=contract.output.name, onnx=made.path / "model.onnx"
    )


def pictures(folder: Path, size: tuple[int, int], *, count: int) -> tuple[str, ...]:
    """Write generated photographs as JPEGs and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{size[0]}x{size[1]}-{seed}.jpg" for seed in range(count)]
    for seed, path in enumerate(paths):
        photograph(*size, seed=seed).save(path, "JPEG", quality=QUALITY[size])
    return tuple(map(str, paths))
