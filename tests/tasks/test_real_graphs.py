"""Networks of real size with branches for batch sizes: constant shapes, equal answers, and hardly any bytes more."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from scripts.graph.buckets import bucketed, open_shapes, sizes_up_to
from scripts.graph.fold import fold_normalisation
from scripts.graph.inspect import inspect
from scripts.graph.load import load
from scripts.graph.naming import shortened
from scripts.graph.pixels import Pixels
from scripts.graph.rewrite import fuse
from scripts.graph.session import Session
from scripts.graph.weights import save_together
from scripts.repository import golden
from scripts.sources import seeded
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD

pytestmark = pytest.mark.timeout(180)


def original(name: str) -> onnx.ModelProto:
    """Return the network *name*: with seeded weights, or the trained one where the data is."""
    if name != "trained":
        return seeded.build(name, seed=3, progress=lambda _: None)
    folder = os.environ.get("TRITON_TEST_DATA")
    if not folder:
        pytest.skip("TRITON_TEST_DATA names no folder with a trained model")
    return load(Path(folder) / "models" / "mobilenetv2-int8.onnx")


@pytest.mark.parametrize(
    ("name", "limit"), [("mobilenetv2", 1e-3), pytest.param("trained", 1e-5, marks=pytest.mark.data)]
)
def test_a_network_with_branches(name: str, limit: float, tmp_path: Path) -> None:
    """Every size from the first branch to the fourth, no open shape, and files of at most 1.02 of the plain one's."""
    network = original(name)
    pixels = Pixels(mean=IMAGENET_MEAN, std=IMAGENET_STD)
    served = fuse(fold_normalisation(network), inspect(network), pixels=pixels)
    buckets = bucketed(served, sizes_up_to(32))
    assert open_shapes(buckets) == []
    save_together({"model.onnx": shortened(served), "model.gpu.onnx": buckets}, tmp_path, weights="model.weights")
    together = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert together <= 1.02 * served.ByteSize()
    images = golden.images(5, height=224, width=224)
    plain, quick = Session(tmp_path / "model.onnx"), Session(tmp_path / "model.gpu.onnx")
    for count in range(1, 6):
        np.testing.assert_allclose(quick.scores(images[:count]), plain.scores(images[:count]), atol=limit)
