"""Small classifiers that are trained here, on generated pictures: their answers depend on how pictures are prepared."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from scripts.graph.pixels import Pixels
from scripts.graph.session import Session
from triton_sdk.contract import Fit
from triton_sdk.images import to_pixels

SIDE = 32
_TINTS = np.array([[45, 0, -30], [-30, 5, 45], [-25, 40, -25]], np.float64)
CLASSES = ("red rows", "red columns", "blue rows", "blue columns", "green rows", "green columns")
_FILTERS = 24


def picture(label: int, *, seed: int, wide: bool = False) -> Image.Image:
    """Return a picture of a class: a tint, and stripes one way or the other, in noise and in any light.

    A *wide* one has both at its ends only, which a centre crop cuts away.
    """
    random = np.random.default_rng([label, seed])
    height, width = 48, 144 if wide else 48
    rows, columns = np.mgrid[:height, :width]
    along = rows if label % 2 == 0 else columns
    stripes = 25 * np.sin(2 * np.pi * along / random.uniform(7, 9) + random.uniform(0, 6))
    shown = stripes[..., np.newaxis] + _TINTS[label // 2] * random.uniform(0.7, 1.3)
    if wide:
        shown = shown * (np.abs(columns - width / 2) > width / 6)[..., np.newaxis]
    levels = 128 + random.uniform(-40, 40) + shown + random.normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def write(folder: Path, *, count: int, wide: bool = False, first: int = 1000) -> Path:
    """Write *count* pictures into folders named by class, none of them one that was trained on."""
    for number in range(count):
        label = number % len(CLASSES)
        path = folder / CLASSES[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(label, seed=first + number, wide=wide).save(path)
    return folder


def classifier(*, pixels: Pixels, fit: Fit = "crop", wide: bool = False, seed: int = 0) -> onnx.ModelProto:
    """Train a network on pictures prepared so: a convolution, normalised, and a layer fitted to its features."""
    labels = np.arange(240) % len(CLASSES)
    resize = SIDE if fit == "squash" else round(SIDE * 256 / 224)
    images = np.stack(
        [
            to_pixels(picture(int(label), seed=at, wide=wide), resize=resize, height=SIDE, width=SIDE, fit=fit)
            for at, label in enumerate(labels)
        ]
    )
    inputs = pixels.tensor(images, layout="NCHW", dtype=np.dtype(np.float32))
    random = np.random.default_rng(seed)
    kernel = random.normal(size=(_FILTERS, 3, 5, 5))
    # Half of the filters look at colours, half at edges, which have no mean.
    kernel[: _FILTERS // 2] = kernel[: _FILTERS // 2].mean(axis=(2, 3), keepdims=True)
    kernel[_FILTERS // 2 :] -= kernel[_FILTERS // 2 :].mean(axis=(2, 3), keepdims=True)
    raw = Session(_network(kernel, np.zeros(_FILTERS), upto="felt")).outputs({"x": inputs})[0]
    mean, std = raw.mean(axis=(0, 2, 3)), raw.std(axis=(0, 2, 3))
    weights = kernel / std[:, np.newaxis, np.newaxis, np.newaxis], -mean / std
    features = Session(_network(*weights, upto="flat")).outputs({"x": inputs})[0].astype(np.float64)
    known = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    wanted = 8 * (np.eye(len(CLASSES))[labels] - 1 / len(CLASSES))
    fitted = np.linalg.solve(known.T @ known + np.eye(known.shape[1]), known.T @ wanted)
    return _network(*weights, upto="y", matrix=fitted[:-1], bias=fitted[-1])


def one_at_a_time(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a classifier of this module's that takes one image: its features are reshaped to one row."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    graph.initializer.append(numpy_helper.from_array(np.array([1, -1]), "row"))
    flatten = next(node for node in graph.node if node.op_type == "Flatten")
    flatten.CopyFrom(helper.make_node("Reshape", ["pooled", "row"], ["flat"]))
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return result


def _network(
    kernel: NDArray[np.float64],
    shift: NDArray[np.float64],
    *,
    upto: str,
    matrix: NDArray[np.float64] | None = None,
    bias: NDArray[np.float64] | None = None,
) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "shift"], ["felt"], strides=[2, 2]),
        helper.make_node("Relu", ["felt"], ["kept"]),
        helper.make_node("AveragePool", ["kept"], ["pooled"], kernel_shape=[7, 7], strides=[7, 7]),
        helper.make_node("Flatten", ["pooled"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "matrix", "bias"], ["y"]),
    ]
    weights = {"kernel": kernel, "shift": shift, "matrix": matrix, "bias": bias}
    kept = nodes[: [node.output[0] for node in nodes].index(upto) + 1]
    graph = helper.make_graph(
        kept,
        "trained",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(upto, TensorProto.FLOAT, ["n", len(CLASSES)] if upto == "y" else None)],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in weights.items() if v is not None],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
