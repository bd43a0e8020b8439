from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from scripts.graph.buckets import bucketed
from scripts.graph.load import load
from scripts.graph.naming import shortened
from scripts.graph.session import Session
from scripts.graph.weights import save_together
from tests.doubles.batched_models import MODELS, batch
from tests.doubles.tiny_models import model, value


def wide(extra: int = 0) -> onnx.ModelProto:
    """Return a graph with a weight in raw bytes, one in typed fields, a short one, and names."""
    matrix = np.random.default_rng(0).normal(size=(192, 100)).astype(np.float32)
    other = helper.make_tensor("other", TensorProto.FLOAT, [100, 5], (matrix.ravel()[:500] + extra).tolist())
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "matrix"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "other"], ["raw"]),
        helper.make_node("Add", ["raw", "short"], ["scores"]),
    ]
    short = numpy_helper.from_array(np.ones(5, np.float32), "short")
    return model(
        nodes,
        inputs=[value("image", ["n", 3, 8, 8])],
        outputs=[value("scores", ["n", 5])],
        weights=[numpy_helper.from_array(matrix, "matrix"), other, short],
    )


def test_two_graphs_share_a_file_of_weights(tmp_path: Path) -> None:
    """Equal weights are written once, both graphs answer as before, and together they take no more than one did."""
    plain = wide()
    buckets = bucketed(plain, (1, 2, 4))
    save_together({"a.onnx": plain, "b.onnx": buckets}, tmp_path, weights="w.weights")
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes["w.weights"] < 192 * 100 * 4 + 100 * 5 * 4 + 128
    assert sizes["a.onnx"] < 1000
    images = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32)
    for name in ("a.onnx", "b.onnx"):
        np.testing.assert_allclose(Session(tmp_path / name).scores(images), Session(plain).scores(images), rtol=1e-5)
    assert load(tmp_path / "a.onnx").graph.initializer[0].raw_data == plain.graph.initializer[0].raw_data


def test_other_weights_are_kept_apart(tmp_path: Path) -> None:
    """Two graphs of one shape and other numbers do not get each other's weights."""
    first, second = wide(), wide(1)
    save_together({"a.onnx": first, "b.onnx": second}, tmp_path, weights="w.weights")
    images = np.ones((2, 3, 8, 8), np.float32)
    for name, tiny in (("a.onnx", first), ("b.onnx", second)):
        np.testing.assert_allclose(Session(tmp_path / name).scores(images), Session(tiny).scores(images), rtol=1e-5)


def test_weights_start_where_vectors_do(tmp_path: Path) -> None:
    """Every weight begins at a multiple of 64 bytes."""
    save_together({"a.onnx": wide()}, tmp_path, weights="w.weights")
    saved = onnx.load(tmp_path / "a.onnx", load_external_data=False)
    entries = [{e.key: e.value for e in tensor.external_data} for tensor in saved.graph.initializer]
    assert [int(entry["offset"]) % 64 for entry in entries if entry] == [0, 0]
    assert entries[2] == {}


def test_everything_else_of_a_model_is_kept(tmp_path: Path) -> None:
    """Functions, metadata, sparse weights and annotations stand in the graph's file as they were."""
    for name, make in MODELS.items():
        tiny = make()
        onnx.helper.set_model_props(tiny, {"made": "by hand"})
        save_together({"a.onnx": tiny}, tmp_path, weights="w.weights")
        saved = load(tmp_path / "a.onnx")
        for tensor in saved.graph.initializer:
            tensor.ClearField("data_location")
        assert saved == tiny, name


def test_short_names_change_nothing_else() -> None:
    """A graph with short names inside takes, gives and computes what it did, and is smaller where names were long."""
    for name, make in MODELS.items():
        tiny = make()
        short = shortened(tiny)
        onnx.checker.check_model(short)
        assert (list(short.graph.input), list(short.graph.output)) == (list(tiny.graph.input), list(tiny.graph.output))
        feeds = batch(tiny, 3)
        for expected, got in zip(Session(tiny).outputs(feeds), Session(short).outputs(feeds), strict=True):
            np.testing.assert_array_equal(got, expected, err_msg=name)
