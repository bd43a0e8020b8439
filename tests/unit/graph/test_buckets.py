from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from scripts.graph.buckets import bucketed, open_shapes, sizes_of, sizes_up_to
from scripts.graph.compare import bucket_difference
from scripts.graph.prepare import UnbucketableError
from scripts.graph.session import Session
from scripts.graph.walk import graphs, names, opset_of
from scripts.graph.wiring import astray, numbered, wiring
from scripts.host.errors import TaskFailure
from tests.doubles import batched_models
from tests.doubles.batched_models import MODELS, batch
from tests.doubles.tiny_models import classifier, constant, model, value

LARGEST = 32
SIZES = sizes_up_to(LARGEST)
Feeds = dict[str, NDArray[np.generic]]


def first(feeds: Feeds, count: int) -> Feeds:
    """Return the first *count* rows of what is batched."""
    return {name: array[:count] if len(array) == LARGEST else array for name, array in feeds.items()}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_every_batch_size_gives_what_the_plain_graph_gives(make: Callable[[], onnx.ModelProto]) -> None:
    """However a graph is built, from 1 image to the most, outputs have the plain ones' shapes, types and numbers."""
    tiny = make()
    before = tiny.SerializeToString()
    plain, buckets = Session(tiny), Session(bucketed(tiny, SIZES))
    feeds = batch(tiny, LARGEST)
    for count in range(1, LARGEST + 1):
        some = first(feeds, count)
        for expected, got in zip(plain.outputs(some), buckets.outputs(some), strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    assert tiny.SerializeToString() == before


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_every_shape_in_a_branch_is_constant(make: Callable[[], onnx.ModelProto]) -> None:
    """Shape inference leaves nothing open in a branch before its last cut, which is what a GPU plans by."""
    result = bucketed(make(), SIZES)
    assert sizes_of(result) == SIZES
    assert open_shapes(result) == []


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_names_are_unique_in_all_branches(make: Callable[[], onnx.ModelProto]) -> None:
    """No value is made twice, and inputs and outputs keep their names, types and dimensions."""
    tiny = make()
    result = bucketed(tiny, (1, 2, 3))
    made = [name for graph in graphs(result.graph) for node in graph.node for name in node.output if name]
    inner = [value.name for graph in list(graphs(result.graph))[1:] for value in graph.input]
    weights = [tensor.name for tensor in result.graph.initializer]
    assert len({*made, *inner, *weights}) == len(made) + len(inner) + len(weights)
    assert list(result.graph.output) == list(tiny.graph.output)
    weights_before = {tensor.name for tensor in tiny.graph.initializer}
    assert list(result.graph.input) == [value for value in tiny.graph.input if value.name not in weights_before]


def test_weights_are_there_once() -> None:
    """A large weight stands outside the branches, one for all, wherever it stood before."""
    wide = np.random.default_rng(0).normal(size=(192, 500)).astype(np.float32)
    for place in ("initializer", "constant", "branch"):
        tiny = large(wide, place)
        result = bucketed(tiny, SIZES)
        assert result.ByteSize() < 1.05 * tiny.ByteSize(), place
        images = np.random.default_rng(1).normal(size=(5, 3, 8, 8)).astype(np.float32)
        np.testing.assert_allclose(Session(result).scores(images), Session(tiny).scores(images), rtol=1e-4, atol=1e-4)


def large(matrix: NDArray[np.float32], place: str) -> onnx.ModelProto:
    """Return a model whose large *matrix* is an initializer, a constant, or an initializer in an If's branches."""
    tensor = onnx.numpy_helper.from_array(matrix, "large")
    multiply = helper.make_node("MatMul", ["flat", "large"], ["scores"])
    nodes = [helper.make_node("Flatten", ["image"], ["flat"], axis=1)]
    weights = []
    if place == "initializer":
        weights = [tensor]
        nodes.append(multiply)
    elif place == "constant":
        nodes += [helper.make_node("Constant", [], ["large"], value=tensor), multiply]
    else:
        sides: dict[str, Any] = {}
        for side in ("then_branch", "else_branch"):
            inner = helper.make_node("MatMul", ["flat", f"{side}_large"], ["product"])
            sides[side] = helper.make_graph([inner], side, [], [value("product", ["n", "c"])])
            sides[side].initializer.add().CopyFrom(tensor)
            sides[side].initializer[0].name = f"{side}_large"
        nodes += [
            helper.make_node("ReduceMax", ["image"], ["highest"], keepdims=0),
            helper.make_node("Greater", ["highest", "limit"], ["bright"]),
            helper.make_node("If", ["bright"], ["scores"], **sides),
        ]
        weights = [onnx.numpy_helper.from_array(np.array(1, np.float32), "limit")]
    return model(
        nodes,
        inputs=[value("image", ["n", 3, 8, 8])],
        outputs=[value("scores", ["n", matrix.shape[1]])],
        weights=weights,
    )


def test_a_batch_beyond_the_largest_size_fails() -> None:
    """Rows that no branch has room for are never dropped in silence."""
    tiny = classifier()
    images = batch(tiny, 9)
    with pytest.raises(TaskFailure, match="cannot run the model"):
        Session(bucketed(tiny, (1, 8))).outputs(images)


@pytest.mark.parametrize(
    ("largest", "sizes"), [(1, (1,)), (2, (1, 2)), (5, (1, 2, 4, 5)), (8, (1, 2, 4, 8)), (33, (1, 2, 4, 8, 16, 32, 33))]
)
def test_sizes_double_up_to_the_largest(largest: int, sizes: tuple[int, ...]) -> None:
    """Every batch finds a branch less than twice its size."""
    assert sizes_up_to(largest) == sizes


def test_sizes_may_come_in_any_order() -> None:
    """A list of the user's own is sorted, and double ones count once."""
    tiny = classifier()
    result = bucketed(tiny, (6, 3, 6))
    assert sizes_of(result) == (3, 6)
    images = batch(tiny, 4)
    np.testing.assert_allclose(Session(result).outputs(images)[0], Session(tiny).outputs(images)[0], atol=1e-5)


def test_a_plain_graph_has_no_sizes() -> None:
    """What was not made here is told from what was, also where it has an If of its own."""
    tiny = batched_models.decided_by_data()
    assert sizes_of(tiny) == ()
    with pytest.raises(UnbucketableError, match="has no branches"):
        open_shapes(tiny)


def selected() -> onnx.ModelProto:
    """Return a graph in which the numbers decide how long a value is."""
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], axis=1),
        helper.make_node("NonZero", ["flat"], ["places"]),
        helper.make_node("Cast", ["places"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["mean"], keepdims=0),
        helper.make_node("Add", ["flat", "mean"], ["scores"]),
    ]
    return model(nodes, inputs=[value("image", ["n", 3, 8, 8])], outputs=[value("scores", ["n", 192])])


def rows_doubled() -> onnx.ModelProto:
    """Return a graph that gives two rows for an image."""
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], axis=1),
        helper.make_node("Reshape", ["flat", "wanted"], ["scores"]),
    ]
    weights = [constant("wanted", [-1, 96])]
    return model(nodes, inputs=[value("image", ["n", 3, 8, 8])], outputs=[value("scores", ["m", 96])], weights=weights)


def growing() -> onnx.ModelProto:
    """Return a graph with a Loop whose value gets longer with each turn."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["still"]),
            helper.make_node("Concat", ["state", "state"], ["next"], axis=1),
        ],
        "body",
        [value("turn", [], TensorProto.INT64), value("goes_on", [], TensorProto.BOOL), value("state", ["n", "c"])],
        [value("still", [], TensorProto.BOOL), value("next", ["n", "c"])],
    )
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], axis=1),
        helper.make_node("Loop", ["turns", "", "flat"], ["scores"], body=body),
    ]
    weights = [onnx.numpy_helper.from_array(np.array(2, np.int64), "turns")]
    return model(nodes, inputs=[value("image", ["n", 3, 8, 8])], outputs=[value("scores", ["n", 768])], weights=weights)


@pytest.mark.parametrize(
    ("tiny", "sizes", "reason"),
    [
        (selected(), (1, 2), "depends on more than the size of the batch"),
        (rows_doubled(), (1, 2), r"an output has the shapes \(2, 96\), \(4, 96\) for 1, 2 rows"),
        (growing(), (1, 2), "depends on more than the size of the batch"),
        (classifier(dims=("n", 3, "h", "w")), (1, 2), "its input 'data' leaves more open than the size of the batch"),
        (classifier(dims=(1, 3, 8, 8)), (1, 2), "none of its inputs has an open first axis"),
        (classifier(), (4,), "two batch sizes or more"),
    ],
    ids=["data-decides", "two-rows-an-image", "growing", "open-size", "no-batch", "one-size"],
)
def test_what_cannot_have_branches_is_said(tiny: onnx.ModelProto, sizes: tuple[int, ...], reason: str) -> None:
    """A graph whose shapes follow from more than the batch size is refused with what stands in the way."""
    with pytest.raises(UnbucketableError, match=reason):
        bucketed(tiny, sizes)


def test_an_old_graph_is_converted() -> None:
    """The branches need operators that older sets lack."""
    assert opset_of(bucketed(MODELS["opset-7"](), (1, 2))) == 12
    assert opset_of(bucketed(MODELS["opset-21"](), (1, 2))) == 21


def test_names_that_are_taken_are_left_alone() -> None:
    """Short names that the graph itself has stay those of its inputs and outputs."""
    tiny = classifier(names=("1", "2"))
    result = bucketed(tiny, (1, 2))
    assert {"1", "2"} <= set(names(result.graph))
    np.testing.assert_allclose(
        Session(result).outputs(batch(tiny, 2))[0], Session(tiny).outputs(batch(tiny, 2))[0], atol=1e-5
    )


def broken(model: onnx.ModelProto, *, size: int, values: list[int]) -> onnx.ModelProto:
    """Return *model* with a branch that is filled by other images of the batch."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    branch = next(graph for graph in graphs(result.graph) if graph.name == f"bucket_{size}")
    fill = branch.node[0]
    fill.input[0] = "broken"
    result.graph.initializer.append(constant("broken", values))
    return result


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_the_way_into_and_out_of_each_branch_is_tried_by_itself(make: Callable[[], onnx.ModelProto]) -> None:
    """However a graph is built: what is left of it has no weights and tells each image's number, in every batch."""
    tiny = make()
    whole = bucketed(tiny, SIZES)
    before = whole.SerializeToString()
    session, feeds = Session(wiring(whole)), batch(tiny, LARGEST)
    image = whole.graph.input[0].name
    feeds[image] = numbered(feeds[image])
    for count in range(1, LARGEST + 1):
        (got, *_) = session.outputs(first(feeds, count))
        assert len(got) == count
        assert (got.reshape(count, -1) == np.arange(1, count + 1)[:, None]).all()
    assert whole.SerializeToString() == before


def test_the_difference_finds_the_size_that_is_wrong() -> None:
    """The proof asks each branch for the fewest and the most images, and names the batch that is answered wrongly."""
    tiny = classifier()
    sizes = (1, 2, 4)
    result = bucketed(tiny, sizes)
    images = batch(tiny, 4)["data"]
    assert bucket_difference(Session(tiny), Session(result), images, sizes=sizes, limit=1e-5)[0] <= 1e-5
    wrong = broken(result, size=4, values=[0, 0, 0, 0])
    difference, count = bucket_difference(Session(tiny), Session(wrong), images, sizes=sizes, limit=1e-5)
    assert difference > 1e-2
    assert count == 3


@pytest.mark.parametrize(("values", "count"), [([0, 1, 2, 3, 4, 4, 6, 7], 6), ([0] * 8, 5)])
def test_a_batch_that_is_led_astray_is_named(values: list[int], count: int) -> None:
    """The smallest one, be it between the sizes: an image of it does not come into its row of the branch."""
    result = bucketed(classifier(), (1, 2, 4, 8))
    images = numbered(batch(classifier(), 8)["data"])
    assert astray(Session(wiring(result)), images) == 0
    assert astray(Session(wiring(broken(result, size=8, values=values))), images) == count
