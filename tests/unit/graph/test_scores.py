"""What the scores of a classifier are, and what is put behind them."""

import re

import numpy as np
import onnx
import pytest
from onnx import helper

from scripts.graph.choose import choose_output
from scripts.graph.inspect import inspect
from scripts.graph.ranges import range_of
from scripts.graph.rewrite import give_probabilities
from scripts.graph.scores import as_served
from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from tests.doubles.score_heads import HEADS, Head, node
from tests.doubles.tiny_models import CLASSES

TINT = np.linspace(-1, 1, 6)[:, None, None, None] * np.array([1, 0.2, -1])[:, None, None]
IMAGES = (np.random.default_rng(3).normal(size=(6, 3, 8, 8)) + TINT).astype(np.float32)
CERTAIN = [name for name, head in HEADS.items() if head.kind is not None]
UNCERTAIN = [name for name, head in HEADS.items() if head.kind is None]


@pytest.mark.parametrize("name", CERTAIN)
def test_what_the_scores_are_is_found(name: str) -> None:
    """Operators and numbers together tell, whoever wrote the last nodes."""
    assert inspect(HEADS[name].model()).scores == HEADS[name].kind


@pytest.mark.parametrize("name", CERTAIN)
def test_what_is_served_is_never_softmaxed_twice(name: str) -> None:
    """Probabilities are served bit for bit, logits get one softmax, and logarithms are undone."""
    head = HEADS[name]
    model = head.model()
    answers = Session(model).alone(IMAGES)
    got = Session(give_probabilities(model, inspect(model))).alone(IMAGES)
    if head.kind in ("probabilities", "multi-label"):
        np.testing.assert_array_equal(got, answers)
    elif head.kind == "log-probabilities":
        np.testing.assert_allclose(got, np.exp(answers.astype(np.float64)), atol=1e-6)
    else:
        powers = np.exp(answers.astype(np.float64))
        np.testing.assert_allclose(got, powers / powers.sum(axis=1, keepdims=True), atol=1e-6)
    assert np.ptp(got, axis=0).max() > 0.05


def classifies(model: onnx.ModelProto) -> bool:
    """Return whether a model is accepted."""
    try:
        return inspect(model).classes >= 2
    except TaskFailure:
        return False


@pytest.mark.parametrize("name", UNCERTAIN)
def test_what_is_not_certain_is_refused_with_a_way_on(name: str) -> None:
    """Each flag that the refusal names is then taken, and each value as well."""
    model = HEADS[name].model()
    with pytest.raises(TaskFailure, match="not certain") as refusal:
        inspect(model)
    words = re.findall(r"--scores (\S+?)[,. ]", f"{refusal.value} ")
    values = re.findall(r"--output (\S+) \(\w+\)", str(refusal.value))
    assert values
    for word in words:
        assert inspect(model, told=word).scores in (word, f"{word} logits")
    assert any(classifies(choose_output(model, value)) for value in values)


def test_what_gives_no_scores_names_the_values_that_do() -> None:
    """An output of whole numbers, the best class or quantised scores, is refused; a value that is named is taken."""
    for nodes in (
        [node("Softmax", "raw", "p", axis=1), node("ArgMax", "p", axis=1)],
        [node("Softmax", "raw", "p", axis=1), node("QuantizeLinear", "p s z")],
    ):
        head = Head(nodes=nodes, kind=None, weights={"s": np.float32(1 / 256), "z": np.uint8(0)})
        model = head.model()
        model.graph.output[0].CopyFrom(onnx.ValueInfoProto(name="scores"))
        model.graph.output[0].type.tensor_type.elem_type = (
            onnx.TensorProto.INT64 if nodes[-1].op_type == "ArgMax" else onnx.TensorProto.UINT8
        )
        with pytest.raises(TaskFailure, match="--output p") as refusal:
            inspect(model)
        named = re.findall(r"--output (\S+) ", str(refusal.value))
        assert [inspect(choose_output(model, value)).scores for value in named] == ["probabilities", "logits"]


@pytest.mark.parametrize("name", [name for name in HEADS if "softmax" in name.lower()])
def test_nobody_can_ask_for_a_second_softmax(name: str) -> None:
    """What holds a softmax already is no logits, even if its owner says so; of logarithms it is the inverse."""
    model = HEADS[name].model()
    if HEADS[name].kind == "log-probabilities":
        assert inspect(model, told="logits").scores == "logits"
        return
    with pytest.raises(TaskFailure, match="--scores logits cannot be"):
        inspect(model, told="logits")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nothing", "probabilities"),
        ("nothing", "log-probabilities"),
        ("sigmoid", "probabilities"),
        ("softmax", "log-probabilities"),
        ("per cent", "probabilities"),
        ("log-softmax", "multi-label"),
    ],
)
def test_what_the_owner_says_is_held_against_the_numbers(name: str, told: str) -> None:
    """A word that the numbers contradict is refused, with the numbers."""
    with pytest.raises(TaskFailure, match=rf"--scores {told} cannot be: .*the scores lie between"):
        inspect(HEADS[name].model(), told=told)  # type: ignore[arg-type]


def test_an_owner_makes_logits_multi_label() -> None:
    """A model trained for several labels that ends in logits gets a sigmoid for each class."""
    model = HEADS["nothing"].model()
    found = inspect(model, told="multi-label")
    assert found.scores == "multi-label logits"
    logits = Session(model).alone(IMAGES).astype(np.float64)
    got = Session(give_probabilities(model, found)).alone(IMAGES)
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-logits)), atol=1e-6)
    np.testing.assert_allclose(got, as_served(logits.astype(np.float32), kind=found.scores), atol=1e-6)


def one_score(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """Return a classifier with one score, made of the first logit ``l``."""
    first = node("Gather", "raw zero", "l", axis=1)
    return Head(nodes=[first, *nodes], kind=None, weights={"zero": np.array([0])}).model()


def test_one_probability_is_two_classes() -> None:
    """A sigmoid p that stands alone is served as [1 - p, p]."""
    model = one_score(node("Sigmoid", "l"))
    found = inspect(model)
    assert (found.scores, found.single, found.classes) == ("probabilities", True, 2)
    p = Session(model).alone(IMAGES)
    got = Session(give_probabilities(model, found)).alone(IMAGES)
    np.testing.assert_allclose(got, np.concatenate([1 - p, p], axis=1), atol=1e-7)


def test_one_number_may_be_anything_until_its_owner_says() -> None:
    """A single logit and the output of a regression look alike: the refusal names --scores logits, which serves it."""
    model = one_score(node("Identity", "l"))
    with pytest.raises(TaskFailure, match="--scores logits"):
        inspect(model)
    found = inspect(model, told="logits")
    logit = Session(model).alone(IMAGES).astype(np.float64)
    got = Session(give_probabilities(model, found)).alone(IMAGES)
    np.testing.assert_allclose(got[:, 1:], 1 / (1 + np.exp(-logit)), atol=1e-6)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(got, as_served(logit.astype(np.float32), kind="logits"), atol=1e-6)


def test_a_softmax_of_one_class_is_refused() -> None:
    """It is 1 for every image; the value before it is offered."""
    model = one_score(node("Softmax", "l", axis=1))
    with pytest.raises(TaskFailure, match=r"--output l \(Gather\)"):
        inspect(model)
    assert inspect(choose_output(model, "l"), told="logits").classes == 2


def test_a_head_in_a_local_function_is_looked_into() -> None:
    """The dynamo exporter of torch writes whole layers as functions of the file."""
    model = Head(nodes=[helper.make_node("Head", ["raw"], ["scores"], domain="local")], kind=None).model()
    inner = [node("Sigmoid", "x", "y")]
    model.functions.append(helper.make_function("local", "Head", ["x"], ["y"], inner, [helper.make_opsetid("", 17)]))
    assert inspect(model).scores == "multi-label"


def test_a_head_in_a_branch_is_looked_into() -> None:
    """What both branches of an If bound is bounded."""
    branches = {
        key: helper.make_graph(
            [node("Sigmoid", source, f"{key}_out")], key, [], [onnx.ValueInfoProto(name=f"{key}_out")]
        )
        for key, source in (("then_branch", "raw"), ("else_branch", "raw"))
    }
    choice = node("If", "choice")
    choice.attribute.extend(helper.make_attribute(key, branch) for key, branch in branches.items())
    model = Head(nodes=[choice], kind=None, weights={"choice": np.array([True])}).model()
    assert inspect(model).scores == "multi-label"


def test_an_operator_of_another_vendor_is_known_by_its_name() -> None:
    """Some run on a GPU only: the walk back looks at what they are called."""
    for operator, low in (("BiasSoftmax", 0.0), ("MaskedLogSoftmax", -np.inf)):
        vendor = helper.make_node(operator, ["raw", "bias"], ["scores"], domain="com.microsoft")
        found = range_of(Head(nodes=[vendor], kind=None).model(), "scores")
        assert found.low == low
        assert found.found == {operator.removeprefix("Bias").removeprefix("Masked")}


def test_the_tolerance_follows_classes_and_steps() -> None:
    """A flat softmax over 1000 classes, quantised to 8 bits, sums to far less than 1 and still is one."""
    wide = np.random.default_rng(0).normal(size=(CLASSES, 1000)).astype(np.float32) * 0.1
    nodes = [
        node("MatMul", "raw wide", "l"),
        node("Softmax", "l", "p", axis=1),
        node("QuantizeLinear", "p s z", "q"),
        node("DequantizeLinear", "q s z"),
    ]
    weights = {"wide": wide, "s": np.float32(1 / 256), "z": np.uint8(0)}
    model = Head(nodes=nodes, kind="probabilities", weights=weights).model()
    assert Session(model).alone(IMAGES).sum(axis=1).min() < 0.7
    assert inspect(model).scores == "probabilities"
