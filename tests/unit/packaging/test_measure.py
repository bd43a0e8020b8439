"""What is measured at packaging, and what is done about it."""

import re

import attrs
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from scripts.graph.inspect import inspect
from scripts.graph.pixels import Pixels
from scripts.graph.rewrite import declare_batch, free_batch, fuse
from scripts.host.errors import TaskFailure
from scripts.packaging.measure import HALF_LIMIT, HALF_MOST, QUANTISED_TOLERANCE, Subject, measure
from scripts.repository.manifest import Measured
from tests.doubles.score_heads import node
from tests.doubles.tiny_models import CLASSES, classifier, constant
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD, ModelContract, TensorSpec

PIXELS = Pixels(mean=IMAGENET_MEAN, std=IMAGENET_STD)


def subject(model: onnx.ModelProto, *, max_batch: int = 8) -> Subject:
    """Return a model and what packaging makes of it."""
    found = inspect(model)
    if found.batch is not None:
        model, found = declare_batch(model), attrs.evolve(found, batch=None)
    contract = ModelContract(
        model="m",
        input=TensorSpec(name="image", dtype="UINT8", shape=(8, 8, 3)),
        output=TensorSpec(name="probabilities", dtype="FP32", shape=(CLASSES,)),
        layout="NHWC",
        max_batch=max_batch,
        resize=8,
        scores="probabilities",
    )
    return Subject(
        original=model,
        served=fuse(model, found, pixels=PIXELS),
        classifier=found,
        contract=contract,
        pixels=PIXELS,
        max_batch=max_batch,
    )


def measured(model: onnx.ModelProto, *, max_batch: int = 8) -> tuple[Measured, list[str]]:
    """Return what is measured of a model, and what is said."""
    lines: list[str] = []
    return measure(subject(model, max_batch=max_batch), progress=lines.append), lines


def batch_statistics() -> onnx.ModelProto:
    """Return a float model with a normalisation that was left in training mode."""
    tail = [
        helper.make_node("ReduceMean", ["raw"], ["mu"], axes=[0], keepdims=1),
        node("Sub", "raw mu", "d"),
        node("Mul", "d twenty", "dk"),
        node("Add", "raw dk"),
    ]
    model = classifier(tail=tail)
    model.graph.initializer.append(constant("twenty", [20.0], np.float32))
    return model


def batch_norm_in_training() -> onnx.ModelProto:
    """Return what torch.onnx exports of a model in training mode: a BatchNormalization that looks at its batch."""
    names = ("scale", "bias", "mean", "var")
    tail = [
        node("BatchNormalization", f"raw {' '.join(names)}", "scores m2 v2", training_mode=1),
    ]
    model = classifier(tail=tail)
    model.graph.initializer.extend(constant(name, [1.0] * CLASSES, np.float32) for name in names)
    return model


def best_of_the_batch() -> onnx.ModelProto:
    """Return a model that divides by the largest score of the whole batch."""
    tail = [
        node("Abs", "raw", "size"),
        helper.make_node("ReduceMax", ["size"], ["top"], keepdims=1, axes=[0, 1]),
        node("Div", "raw top", "part"),
        node("Mul", "part ten"),
    ]
    model = classifier(tail=tail)
    model.graph.initializer.append(constant("ten", [10.0], np.float32))
    return model


@pytest.mark.parametrize("make", [batch_statistics, best_of_the_batch])
def test_an_answer_that_depends_on_its_batch_mates_is_refused(make: object) -> None:
    """The refusal says the figure and names --max-batch 1, with which the same model is taken."""
    assert callable(make)
    with pytest.raises(TaskFailure, match=r"moves by \S+, but only 1e-04 is allowed") as refusal:
        measured(make())
    advised = re.search(r"--max-batch (\d+)", str(refusal.value))
    assert advised
    found, lines = measured(make(), max_batch=int(advised[1]))
    assert found.tolerance == 1e-4
    assert found.batching > 0.1
    assert not any("Sharing a batch" in line for line in lines)


def test_a_dynamic_scale_is_refused_where_it_moves_much() -> None:
    """A dynamically quantised graph that moves a probability by more than 0.05 is refused as any other is."""
    tail = [
        node("Mul", "raw k", "wide"),
        node("DynamicQuantizeLinear", "wide", "q scale zero"),
        node("DequantizeLinear", "q scale zero", "narrow"),
        node("Mul", "narrow m"),
    ]
    model = classifier(tail=tail)
    model.graph.initializer.extend(
        [constant("k", [1.0, 1, 1, 1, 90], np.float32), constant("m", [1.0, 1, 1, 1, 0], np.float32)]
    )
    with pytest.raises(TaskFailure, match="quantise it statically, or package it as a new model with --max-batch 1"):
        measured(model)
    found, _ = measured(model, max_batch=1)
    assert found.tolerance == QUANTISED_TOLERANCE
    # The other advice: the same with a scale that is fixed.
    static = onnx.ModelProto.FromString(model.SerializeToString())
    place = next(i for i, one in enumerate(static.graph.node) if one.op_type == "DynamicQuantizeLinear")
    static.graph.node[place].CopyFrom(node("QuantizeLinear", "wide scale zero", "q"))
    static.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(2, np.float32), "scale"),
            numpy_helper.from_array(np.array(128, np.uint8), "zero"),
        ]
    )
    assert measured(static)[0].batching < 1e-4


def test_a_batch_that_cannot_be_freed_is_packaged_alone() -> None:
    """A fixed batch of 1 that is another function for more is refused; --max-batch 1, which that names, takes it."""
    tail = [
        node("Reshape", "raw long", "line"),
        node("Add", "line bias", "sum"),
        node("Reshape", "sum shape"),
    ]
    model = classifier(dims=(1, 3, 8, 8), out_dims=(1, CLASSES), tail=tail)
    model.graph.initializer.extend(
        [constant("long", [-1]), constant("bias", [1, 2, 3, 4, 5], np.float32), constant("shape", [1, CLASSES])]
    )
    with pytest.raises(TaskFailure, match="package it with --max-batch 1"):
        free_batch(model, inspect(model))
    found, _ = measured(model, max_batch=1)
    assert (found.batching, found.proof < 1e-6) == (1.0, True)


def lots(operator: str, *, size: float) -> onnx.ModelProto:
    """Return a model that adds what *operator* draws, *size* times."""
    if operator == "Bernoulli":
        drawing = [node("Sigmoid", "raw", "p"), node("Bernoulli", "p", "drawn")]
    else:
        drawing = [node(operator, "raw", "drawn")]
    model = classifier(tail=[*drawing, node("Mul", "drawn size", "little"), node("Add", "raw little")])
    model.graph.initializer.append(constant("size", [size], np.float32))
    return model


@pytest.mark.parametrize("operator", ["RandomNormalLike", "RandomUniformLike", "Bernoulli"])
def test_a_model_that_draws_lots_is_said_to(operator: str) -> None:
    """Much of it is refused with the operator's name, little is a warning."""
    with pytest.raises(TaskFailure, match=rf"not deterministic, because {operator} \('drawn'\) draws random numbers"):
        measured(lots(operator, size=3.0), max_batch=1)
    _, lines = measured(lots(operator, size=3e-5), max_batch=1)
    assert [line for line in lines if line.startswith("Warning: The model is not deterministic")]


def test_a_model_that_keeps_what_it_was_asked_is_said_to_be_so() -> None:
    """A BatchNormalization in training mode has no random numbers, and gives other answers all the same."""
    training = batch_norm_in_training()
    with pytest.raises(TaskFailure, match=r"is not deterministic: the same picture.*model\.eval\(\)"):
        measured(training, max_batch=1)
    # What model.eval() changes.
    layer = next(one for one in training.graph.node if one.op_type == "BatchNormalization")
    del layer.output[1:], layer.attribute[:]
    assert measured(training)[0].batching < 1e-4


def test_a_model_without_lots_is_not_accused() -> None:
    """Nothing is said of an ordinary model but its proof and what sharing a batch does."""
    found, lines = measured(classifier())
    assert [line.split(" ")[0] for line in lines] == ["Proof:", "Sharing"]
    assert found.batching < 1e-5


def half(*, inner: bool, gain: float) -> onnx.ModelProto:
    """Return a model in half precision, or one whose middle is; the *gain* makes its rounding felt."""
    if not inner:
        return classifier(dtype=TensorProto.FLOAT16)
    tail = [
        node("Cast", "raw", "h", to=TensorProto.FLOAT16),
        node("Add", "h big", "up"),
        node("Sub", "up big", "down"),
        node("Cast", "down", "f", to=TensorProto.FLOAT),
        node("Mul", "f gain"),
    ]
    model = classifier(tail=tail)
    model.graph.initializer.extend([constant("big", [300.0], np.float16), constant("gain", [gain], np.float32)])
    return model


@pytest.mark.parametrize(("inner", "gain"), [(False, 1.0), (True, 1.0), (True, 0.1)])
def test_half_precision_has_a_tolerance_of_its_own_noise(*, inner: bool, gain: float) -> None:
    """Also where only the middle of a graph is half: what rounding does is measured, said, and allowed for."""
    found, lines = measured(half(inner=inner, gain=gain))
    (said,) = [line for line in lines if line.startswith("Half precision")]
    noise = float(re.findall(r"by (\S+)", said)[0])
    assert HALF_LIMIT <= found.tolerance <= HALF_MOST
    assert found.tolerance == pytest.approx(min(max(HALF_LIMIT, 4 * noise), HALF_MOST), rel=0.1)
    assert found.proof <= found.tolerance
