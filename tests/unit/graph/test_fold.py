from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from scripts.graph.fold import fold_normalisation
from scripts.graph.session import Session
from tests.doubles.tiny_models import model, value

IMAGES = np.random.default_rng(5).normal(size=(4, 3, 8, 8)).astype(np.float32)


def normalised(
    *,
    bias: bool = False,
    opset: int = 17,
    ir_version: int = 8,
    variance: float = 1.0,
    tail: tuple[onnx.NodeProto, ...] = (),
    groups: int = 1,
    dtype: type = np.float32,
    **attributes: Any,
) -> onnx.ModelProto:
    """Return a convolution with a BatchNormalization behind it."""
    random = np.random.default_rng(2)
    weights = {
        "kernel": random.normal(size=(6, 3 // groups, 3, 3)),
        "scale": random.normal(size=6),
        "shift": random.normal(size=6),
        "mean": random.normal(size=6),
        "variance": np.full(6, variance),
    }
    if bias:
        weights["bias"] = random.normal(size=6)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("Cast", ["image"], ["typed"], to=kind),
        helper.make_node("Conv", ["typed", "kernel", *(["bias"] if bias else [])], ["felt"], group=groups),
        helper.make_node(
            "BatchNormalization", ["felt", "scale", "shift", "mean", "variance"], ["normal"], **attributes
        ),
        *tail,
        helper.make_node("Cast", ["normal"], ["plain"], to=TensorProto.FLOAT),
        helper.make_node("Relu", ["plain"], ["scores"]),
    ]
    inputs = [value("image", ["n", 3, 8, 8])]
    if ir_version < 4:
        inputs += [value(name, array.shape, kind) for name, array in weights.items()]
    return model(
        nodes,
        inputs=inputs,
        outputs=[value("scores", ["n", 6, 6, 6])],
        weights=[numpy_helper.from_array(array.astype(dtype), name) for name, array in weights.items()],
        opset=opset,
        ir_version=ir_version,
    )


def operators(tiny: onnx.ModelProto) -> list[str]:
    """Return the operators of the graph."""
    return [node.op_type for node in tiny.graph.node]


@pytest.mark.parametrize(
    ("tiny", "limit"),
    [
        (normalised(), 0),
        (normalised(bias=True), 0),
        (normalised(groups=3), 0),
        (normalised(epsilon=0.1), 0),
        (normalised(opset=8, ir_version=3), 0),
        (normalised(dtype=np.float16), 2e-2),
    ],
    ids=["plain", "bias", "groups", "epsilon", "old", "half"],
)
def test_a_normalisation_becomes_part_of_its_convolution(tiny: onnx.ModelProto, limit: float) -> None:
    """The numbers are those that onnxruntime gets when it folds by itself, to the bit in float."""
    before = tiny.SerializeToString()
    folded = fold_normalisation(tiny)
    onnx.checker.check_model(folded)
    assert "BatchNormalization" not in operators(folded)
    assert [tensor.name for tensor in folded.graph.initializer] == ["kernel", "shift"]
    assert np.abs(Session(folded).scores(IMAGES) - Session(tiny).scores(IMAGES)).max() <= limit
    assert tiny.SerializeToString() == before


SHARED = (helper.make_node("Add", ["felt", "normal"], ["unused"]),)
WEIGHT = (helper.make_node("Identity", ["kernel"], ["unused"]),)


@pytest.mark.parametrize(
    "tiny",
    [normalised(tail=SHARED), normalised(tail=WEIGHT), normalised(dtype=np.float16, variance=0, epsilon=1e-12)],
    ids=["shared-result", "shared-weight", "infinite"],
)
def test_what_cannot_be_folded_is_left_alone(tiny: onnx.ModelProto) -> None:
    """A convolution whose result or weights others use, or whose weights would overflow, keeps its normalisation."""
    assert fold_normalisation(tiny) == tiny
