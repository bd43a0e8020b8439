"""Each field of the preprocessing record: who decides it, and what is said where two contradict each other."""

import itertools
from typing import Any

import attrs
import pytest

from scripts.graph.inspect import Classifier
from scripts.host.errors import TaskFailure
from scripts.packaging.decide import decide, decide_size, told_scores
from scripts.packaging.wishes import Wishes
from scripts.repository.preprocessing import FIELDS, FLAGS, Decided, Preprocessing, Scaling
from scripts.sources.claims import Claim, Share
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD, TensorSpec

CLASSIFIER = Classifier(
    input=TensorSpec(name="x", dtype="FP32", shape=(3, 224, 224)),
    output=TensorSpec(name="y", dtype="FP32", shape=(3,)),
    layout="NCHW",
    batch=None,
    scores="logits",
    quantisation="none",
    half=False,
    opset=13,
    ir_version=8,
)
GRAY = attrs.evolve(CLASSIFIER, input=TensorSpec(name="x", dtype="FP32", shape=(1, 28, 28)))
BYTES = attrs.evolve(CLASSIFIER, input=TensorSpec(name="x", dtype="UINT8", shape=(224, 224, 3)), layout="NHWC")
UNIT = Scaling(scale=1 / 255, mean=(0.0,), std=(1.0,))
HALVES = Scaling(scale=1 / 255, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def claim(field: str, value: object, where: str = "a key in the ONNX file", problem: str = "") -> Claim:
    """Return a claim of the file's metadata."""
    return Claim(field=field, value=value, kind="file metadata", where=where, problem=problem)


def record(*claims: Claim, classifier: Classifier = CLASSIFIER, **wishes: Any) -> Preprocessing:
    """Return what is decided for a model of 224 x 224."""
    size: Decided[tuple[int, int]] = Decided(
        value=(classifier.height, classifier.width), source="graph", where="the input"
    )
    return decide(claims, Wishes(**wishes), classifier=classifier, size=size).record


def test_what_nothing_tells_is_assumed_and_says_so() -> None:
    """Without claims and flags only the size and the scores are known, by the graph."""
    found = record()
    assert found.assumed() == ["colour", "scale", "mean", "std", "resize", "interpolation", "fit", "labels"]
    assert (found.mean.value, found.std.value, found.resize.value) == (IMAGENET_MEAN, IMAGENET_STD, 256)
    assert set(found.assumed()) <= FLAGS.keys()


CLAIMS = {
    "colour": ("bgr", "gray", "rgb"),
    "scaling": (UNIT, HALVES, Scaling(scale=1.0, mean=(1.0,), std=(2.0,))),
    "resize": (224, 232, 256),
    "interpolation": ("bicubic", "nearest", "bilinear"),
    "fit": ("squash", "pad", "crop"),
    "labels": (("a", "b", "c"), ("d", "e", "f"), ("x", "y", "z")),
}
WISHES: dict[str, dict[str, Any]] = {
    "colour": {"colour": "rgb"},
    "scaling": {"scale": 1.0, "mean": (1.0,), "std": (2.0,)},
    "resize": {"resize": 256},
    "interpolation": {"interpolation": "bilinear"},
    "fit": {"fit": "crop"},
    "labels": {"labels": ("x", "y", "z")},
}


def values(found: Preprocessing, field: str) -> list[tuple[object, str]]:
    """Return value and kind of source of a field, or of the three that belong together."""
    names = ("scale", "mean", "std") if field == "scaling" else (field,)
    return [(getattr(found, name).value, getattr(found, name).source) for name in names]


@pytest.mark.parametrize("field", CLAIMS)
def test_a_claim_beats_an_assumption_and_a_flag_beats_all(field: str) -> None:
    """One claim is followed; a flag is followed whatever is claimed, even what contradicts itself or is damaged."""
    first, second, wished = CLAIMS[field]
    assert {source for _, source in values(record(claim(field, first)), field)} == {"file metadata"}
    noise = [claim(field, first), claim(field, second), claim(field, None, problem="is broken")]
    found = values(record(*noise, **WISHES[field]), field)
    assert {source for _, source in found} == {"flag"}
    if field == "labels":
        assert found[0] == (3, "flag")
    elif field != "scaling":
        assert found[0] == (wished, "flag")


@pytest.mark.parametrize("field", CLAIMS)
def test_sources_that_contradict_each_other_are_both_shown(field: str) -> None:
    """Neither wins: the message names both places and the flag that decides, and that flag then does."""
    first, second, _ = CLAIMS[field]
    both = (claim(field, first, "one place"), claim(field, second, "another place"))
    with pytest.raises(TaskFailure, match=r"one place says .*another place says .*A flag decides: --") as caught:
        record(*both)
    flag = {"scaling": "--scale, --mean and --std"}.get(field, f"--{field}")
    assert flag in str(caught.value)
    record(*both, **WISHES[field])


@pytest.mark.parametrize("field", CLAIMS)
def test_a_claim_that_cannot_be_followed_asks_for_the_flag(field: str) -> None:
    """Damaged or unknown values are never skipped in silence."""
    with pytest.raises(TaskFailure, match=r"key is broken. A flag decides: --"):
        record(claim(field, None, problem="key is broken"))


def test_two_ways_to_write_the_same_do_not_contradict() -> None:
    """0.5/0.5 of x/255 is x/127.5 - 1, and names differ neither by case nor by underscores."""
    signed = Scaling(scale=1 / 127.5, mean=(1.0,), std=(1.0,))
    found = record(
        claim("scaling", HALVES),
        claim("scaling", signed),
        claim("labels", ("Red car", "b", "c")),
        claim("labels", ("red_car", "B", "c")),
    )
    assert (found.scale.value, found.labels.value) == (1 / 255, 3)


def test_scale_mean_and_std_are_taken_from_one_place() -> None:
    """A flag for one of them does not mix with the numbers of a file; what is left out is assumed, and says so."""
    found = record(claim("scaling", Scaling(scale=1.0, mean=(9.0,), std=(8.0,))), mean=(0.4, 0.5, 0.6), std=(0.2,))
    assert (found.scale.value, found.mean.value, found.std.value) == (1 / 255, (0.4, 0.5, 0.6), (0.2, 0.2, 0.2))
    assert found.assumed() == ["colour", "resize", "interpolation", "fit", "labels"]
    assert {"scale", "std"} <= set(record(mean=(0.5,)).assumed())
    alone = record(scale=1.0)
    assert (alone.mean.value, alone.std.value, alone.mean.source) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "assumed")


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"scale": 255.0}, "--scale 1/255 makes them 0 to 1"),
        ({"scale": 0.0}, "above 0, at most 1"),
        ({"mean": (123.0, 116.0, 103.0), "std": (1.0,)}, "give --scale 1 too"),
        ({"scale": 1.0, "mean": (300.0,), "std": (1.0,)}, "check the numbers"),
        ({"std": (0.0,)}, "above 0"),
        ({"resize": 100}, "at least --resize 224"),
        ({"fit": "pad", "resize": 256}, "leave --resize out"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(wishes: dict[str, Any], words: str) -> None:
    """Numbers that no training used, and what does not fit together, are refused before the work."""
    with pytest.raises(TaskFailure, match=words):
        record(**wishes)


def test_bytes_with_their_scale_are_taken() -> None:
    """What "give --scale 1 too" advises."""
    found = record(scale=1.0, mean=(123.0, 116.0, 103.0), std=(58.0, 57.0, 57.0))
    mean, std = found.scaling.of_unit_pixels("rgb")
    assert mean == pytest.approx((0.48235, 0.45490, 0.40392), abs=1e-5)
    assert std == pytest.approx((0.22745, 0.22353, 0.22353), abs=1e-5)


def test_imagenet_s_numbers_are_assumed_in_the_order_of_the_channels() -> None:
    """For a model that takes BGR the assumed mean is turned round, and the contract says it in RGB."""
    found = record(claim("colour", "bgr"))
    assert found.mean.value == IMAGENET_MEAN[::-1]
    assert found.scaling.of_unit_pixels("bgr") == (IMAGENET_MEAN, IMAGENET_STD)


def test_one_channel_is_gray_by_the_graph() -> None:
    """Its numbers are one each; three equal ones are one, and three different ones are refused."""
    found = record(classifier=GRAY, mean=(0.1307,), std=(0.3081,))
    assert (found.colour.value, found.colour.source, found.mean.value) == ("gray", "graph", (0.1307,))
    assert record(claim("scaling", HALVES), classifier=GRAY).mean.value == (0.5,)
    with pytest.raises(TaskFailure, match=r"--mean M --std S"):
        record(classifier=GRAY, mean=(0.1, 0.2, 0.3), std=(1.0,))
    with pytest.raises(TaskFailure, match=r"needs three channels"):
        record(classifier=GRAY, colour="rgb")


def test_a_graph_that_takes_bytes_normalises_by_itself() -> None:
    """Flags for its numbers are refused, and claims do not matter."""
    found = record(claim("scaling", HALVES), classifier=BYTES)
    assert {found.scale.source, found.mean.source, found.std.source} == {"graph"}
    with pytest.raises(TaskFailure, match=r"leave --scale, --mean and --std out"):
        record(classifier=BYTES, mean=(0.5,))


def test_the_resize_follows_the_fit() -> None:
    """A share is rounded as timm does; who squashes or pads crops nothing, unless a source says a resize too."""
    assert record(claim("resize", Share(part=0.95))).resize.value == 235
    for fit, source in itertools.product(("squash", "pad"), ("flag", "claim")):
        found = record(fit=fit) if source == "flag" else record(claim("fit", fit))
        assert (found.resize.value, found.resize.source) == (224, found.fit.source)
    assert record(claim("fit", "squash"), claim("resize", 256)).resize.value == 256
    cropped = record(resize=256)
    assert (cropped.fit.value, cropped.fit.source) == ("crop", "flag")
    with pytest.raises(TaskFailure, match=r"a key in the ONNX file resizes .* at least --resize 224"):
        record(claim("resize", 200))


def test_names_of_another_number_of_classes_are_refused() -> None:
    """A file of 80 names beside a model of 3 classes belongs to another model."""
    with pytest.raises(TaskFailure, match=r"80 names of classes, and the model gives 3 scores.*--labels FILE"):
        record(claim("labels", tuple(map(str, range(80)))))


def size(*claims: Claim, fixed: tuple[int | None, int | None] = (None, None), **wishes: Any) -> Decided[Any]:
    """Return what is decided about the size."""
    return decide_size(claims, Wishes(**wishes), height=fixed[0], width=fixed[1])


def test_an_open_size_is_never_made_up() -> None:
    """A real model went from 20 right answers of 20 to 9 at 224: without a source it is refused; --size decides."""
    with pytest.raises(TaskFailure, match=r"height and width of its pictures open.*--size 224x224"):
        size()
    with pytest.raises(TaskFailure, match=r"leaves the width of"):
        size(fixed=(96, None))
    assert size(size=(48, 64)) == Decided(value=(48, 64), source="flag", where="--size")
    assert size(claim("size", (48, 64))).value == (48, 64)
    assert size(claim("size", (96, 64)), fixed=(96, None)).value == (96, 64)


def test_a_size_that_the_graph_fixes_is_the_size() -> None:
    """The graph decides, and a source that says another one contradicts it."""
    assert size(fixed=(48, 64)) == Decided(value=(48, 64), source="graph", where="the input of the graph")
    assert size(claim("size", None, problem="is damaged"), fixed=(48, 64)).value == (48, 64)
    for other in ((64, 48), (48, 96)):
        with pytest.raises(TaskFailure, match=r"48x64.*A flag decides: --size"):
            size(claim("size", other), fixed=(48, 64))
        with pytest.raises(TaskFailure, match=r"fixed at 48x64. Leave --size out"):
            size(size=other, fixed=(48, 64))
        assert size(claim("size", other), fixed=(48, 64), size=(48, 64)).source == "flag"
    with pytest.raises(TaskFailure, match=r"fixed at 96xany"):
        size(claim("size", (48, 64)), fixed=(96, None))


def test_the_scores_are_told_by_a_flag_or_a_source() -> None:
    """Where nobody tells them the graph decides alone."""
    assert told_scores([], Wishes()) is None
    found = told_scores([claim("scores", "multi-label")], Wishes())
    assert found is not None
    assert (found.value, found.source) == ("multi-label", "file metadata")
    flagged = told_scores([claim("scores", "multi-label")], Wishes(scores="logits"))
    assert flagged is not None
    assert (flagged.value, flagged.source) == ("logits", "flag")


def test_every_field_stands_in_the_table() -> None:
    """The table shows each field as a person would type it, with its source."""
    rows = record(claim("colour", "bgr"), scale=1.0, mean=(0.0,), std=(1.0,)).rows()
    assert [name for name, _, _ in rows] == list(FIELDS)
    shown = {name: (value, source) for name, value, source in rows}
    assert shown["colour"] == ("bgr", "file metadata: a key in the ONNX file")
    assert shown["scale"] == ("1", "flag: --scale")
    assert shown["size"] == ("224x224", "graph: the input")
    assert shown["labels"] == ("none", "assumed")
    assert {name: value for name, value, _ in record().rows()}["scale"] == "1/255"
