"""Gray pictures without an axis of channels."""

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from scripts.graph.flat import give_channel
from scripts.graph.inspect import image_size, inspect
from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from tests.doubles.tiny_models import value

WEIGHTS = np.random.default_rng(3).normal(size=(12, 5)).astype(np.float32)


def rows(*dims: int | str) -> onnx.ModelProto:
    """Return a linear classifier of 12 pixels, whose input has *dims* behind the batch."""
    nodes = [helper.make_node("Flatten", ["pixels"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["scores"])]
    graph = helper.make_graph(
        nodes,
        "rows",
        [value("pixels", ["n", *dims])],
        [value("scores", ["n", 5])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def flags(model: onnx.ModelProto) -> tuple[bool, tuple[int, int] | None]:
    """Return whether the refusal of *model* says that it may be gray, and the size that it gives as an example."""
    with pytest.raises(TaskFailure, match="no image classifier") as refusal:
        image_size(model)
    size = re.search(r"--size (\d+)x(\d+)", str(refusal.value))
    return "--colour gray" in str(refusal.value), None if size is None else (int(size[1]), int(size[2]))


@pytest.mark.parametrize("dims", [(12,), (3, 4), ("h", "w")], ids=str)
def test_rows_of_pixels_become_pictures(dims: tuple[int | str, ...]) -> None:
    """With their size, and by it alone where the graph has none, they give what the rows gave."""
    model = rows(*dims)
    assert flags(model)[0]
    found = give_channel(model, size=(3, 4))
    classifier = inspect(found)
    assert (classifier.channels, classifier.height, classifier.width) == (1, 3, 4)
    pictures = np.random.default_rng(0).normal(size=(2, 1, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(Session(found).scores(pictures), pictures.reshape(2, 12) @ WEIGHTS, rtol=1e-5)


def test_height_and_width_of_the_graph_need_no_flag() -> None:
    """The refusal of (n, height, width) asks for the colour alone, and that is enough."""
    assert flags(rows(3, 4)) == (True, None)
    assert inspect(give_channel(rows(3, 4), size=None)).channels == 1


def test_the_example_of_a_size_is_the_square_that_fits() -> None:
    """What the refusal prints can be used as it stands where the pictures are square."""
    model = rows(16)
    _, size = flags(model)
    assert size == (4, 4)
    assert image_size(give_channel(model, size=size)) == (4, 4)


@pytest.mark.parametrize(
    ("dims", "size", "words"),
    [((12,), (4, 4), "does not fit"), ((3, 4), (4, 3), "does not fit"), ((12,), None, "Give the size")],
)
def test_a_size_that_does_not_fit_is_refused(dims: tuple[int, ...], size: tuple[int, int] | None, words: str) -> None:
    """The message says what the input holds; nothing is guessed."""
    with pytest.raises(TaskFailure, match=words):
        give_channel(rows(*dims), size=size)


def test_other_inputs_stay_as_they_are() -> None:
    """Pictures with channels and tokens are no rows of pixels."""
    model = rows(1, 3, 4)
    assert give_channel(model, size=None) is model
    model = rows(12)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    assert flags(model) == (False, None)
