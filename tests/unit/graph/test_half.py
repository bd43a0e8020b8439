import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from scripts.graph.buckets import bucketed, open_shapes
from scripts.graph.half import to_half
from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from tests.doubles.batched_models import MODELS, batch
from tests.doubles.tiny_models import classifier, constant, model, softmax, value

FLOAT = ("float", "channels-last", "bytes", "opset-7", "opset-9", "opset-12", "opset-21")
BUILT = ("shape-chain", "decided-by-shape", "decided-by-data", "loop", "scan", "functions", "two-inputs", "expanded")


def types(tiny: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of what each operator gives, by operator; the last one counts."""
    graph = onnx.shape_inference.infer_shapes(tiny).graph
    known = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
    return {node.op_type: known[node.output[0]] for node in graph.node if node.output[0] in known}


@pytest.mark.parametrize("name", [*FLOAT, *BUILT])
def test_a_graph_in_half_precision_takes_and_gives_what_it_did(name: str) -> None:
    """Inputs and outputs keep names and types, the numbers stay near, the nodes in order, and it can have buckets."""
    tiny = MODELS[name]()
    before = tiny.SerializeToString()
    half = to_half(tiny)
    onnx.checker.check_model(half)
    assert list(half.graph.output) == list(tiny.graph.output)
    feeds = batch(tiny, 3)
    for expected, got in zip(Session(tiny).outputs(feeds), Session(half).outputs(feeds), strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=1e-2, atol=1e-2 * np.abs(expected).max())
    assert open_shapes(bucketed(half, (1, 2, 4))) == []
    assert tiny.SerializeToString() == before


def test_preprocessing_and_softmax_stay_in_float() -> None:
    """Half precision begins at the first convolution or product, and ends before the softmax."""
    tail = [helper.make_node("Relu", ["raw"], ["kept"]), softmax("kept")]
    tiny = classifier(dtype=TensorProto.UINT8, dims=("n", 8, 8, 3), tail=tail)
    found = types(to_half(tiny))
    assert found["GlobalAveragePool"] == TensorProto.FLOAT
    assert found["MatMul"] == TensorProto.FLOAT16
    assert found["Relu"] == TensorProto.FLOAT16
    assert found["Softmax"] == TensorProto.FLOAT


def test_weights_are_half_as_long_and_not_there_twice() -> None:
    """A weight that only half precision needs is stored so, and not in float as well."""
    half = to_half(MODELS["shape-chain"]())
    large = {tensor.data_type for tensor in half.graph.initializer if np.prod(tensor.dims) > 64}
    assert large == {TensorProto.FLOAT16}
    assert half.ByteSize() < 0.6 * MODELS["shape-chain"]().ByteSize()


def test_weights_beyond_half_precision_become_the_largest() -> None:
    """A mask of -1e38, as exporters write one, is no infinity, which would make NaN of its product with 0."""
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "matrix"], ["raw"]),
        helper.make_node("Max", ["raw", "least"], ["scores"]),
    ]
    tiny = model(
        nodes,
        inputs=[value("image", ["n", 3, 8, 8])],
        outputs=[value("scores", ["n", 5])],
        weights=[
            onnx.numpy_helper.from_array(np.zeros((192, 5), np.float32), "matrix"),
            constant("least", [-1e38], np.float32),
        ],
    )
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in to_half(tiny).graph.initializer}
    assert -65504 in [array.min() for array in weights.values()]


def test_a_graph_without_float_products_is_refused() -> None:
    """Where half precision changes nothing, that is said instead of a second equal file."""
    nodes = [helper.make_node("GlobalAveragePool", ["image"], ["mean"]), helper.make_node("Relu", ["mean"], ["scores"])]
    pooled = model(nodes, inputs=[value("image", ["n", 3, 8, 8])], outputs=[value("scores", ["n", 3, 1, 1])])
    for tiny in (MODELS["half"](), pooled):
        with pytest.raises(TaskFailure, match="would change nothing"):
            to_half(tiny)
