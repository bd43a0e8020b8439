"""Classifiers with a fault that no golden image shows: they fail for dark images, or take their time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

# The brightest value of an image that is too much for them.
FATAL = 77


def brittle(model: onnx.ModelProto, *, pixels: str) -> onnx.ModelProto:
    """Let *model*, whose raw pixels are *pixels*, fail with an inner error for a `FATAL` image."""
    nodes = [
        helper.make_node("ReduceMax", ["flag"], ["any"], keepdims=0),
        helper.make_node("Mul", ["any", "more"], ["wider"]),
        helper.make_node("Add", ["width", "wider"], ["wrong"]),
        # There are not so many columns.
        helper.make_node("Reshape", ["right", "wrong"], ["probabilities"]),
    ]
    classes = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    weights = {"width": np.array([-1, classes], np.int64), "more": np.array([0, 100], np.int64)}
    return _failing(model, pixels, nodes, weights)


def picky(model: onnx.ModelProto, *, pixels: str) -> onnx.ModelProto:
    """Let *model*, whose raw pixels are *pixels*, refuse a `FATAL` image with INVALID_ARGUMENT."""
    nodes = [
        # There is no second row.
        helper.make_node("Gather", ["table", "flag"], ["ones"], axis=0),
        helper.make_node("Mul", ["right", "ones"], ["probabilities"]),
    ]
    return _failing(model, pixels, nodes, {"table": np.ones((1, 1), np.float32)})


def sluggish(model: onnx.ModelProto, *, pixels: str, size: int = 768) -> onnx.ModelProto:
    """Let *model*, whose raw pixels are *pixels*, multiply matrices of *size* x *size* for nothing in each run."""
    model.graph.node[-1].output[0] = "right"
    model.graph.node.extend(
        [
            # It depends on the image, so that it is not multiplied once and for all.
            helper.make_node("ReduceMax", [pixels], ["most"], keepdims=0),
            helper.make_node("Expand", ["most", "square"], ["matrix"]),
            helper.make_node("MatMul", ["matrix", "matrix"], ["product"]),
            helper.make_node("ReduceMin", ["product"], ["least"], keepdims=0),
            helper.make_node("Mul", ["least", "nothing"], ["zero"]),
            helper.make_node("Add", ["right", "zero"], ["probabilities"]),
        ]
    )
    weights: dict[str, NDArray[Any]] = {"square": np.array([size, size], np.int64), "nothing": np.array(0, np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def _failing(
    model: onnx.ModelProto, pixels: str, nodes: Sequence[onnx.NodeProto], weights: Mapping[str, NDArray[Any]]
) -> onnx.ModelProto:
    """Append *nodes*, which make ``probabilities`` of ``right`` and, for each image, ``flag``."""
    model.graph.node[-1].output[0] = "right"
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", [pixels], ["brightest"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Equal", ["brightest", "fatal"], ["is_fatal"]),
            helper.make_node("Cast", ["is_fatal"], ["flag"], to=TensorProto.INT64),
            *nodes,
        ]
    )
    arrays = {"fatal": np.array(FATAL, np.float32), **weights}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return model
