"""The independent proof: models packaged wrongly on purpose are found out by forty pictures, and right ones pass."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import onnx
import pytest
from PIL import Image

from scripts.graph import compare, rewrite
from scripts.graph.pixels import Pixels
from scripts.host.errors import TaskFailure
from scripts.packaging import build
from scripts.packaging.package import Images, Source, Wishes, package
from scripts.packaging.trial.judge import Trial
from scripts.repository import golden
from tests.doubles import colour_models, trained
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD

UNIT = Pixels(scale=1 / 255, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
HALVES = Pixels(scale=1 / 255, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
IMAGENET = Pixels(mean=IMAGENET_MEAN, std=IMAGENET_STD)
BGR_BYTES = Pixels(colour="bgr", scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
CAFFE = Pixels(colour="bgr", scale=1.0, mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0))
Try = Callable[..., list[Trial]]


@pytest.fixture
def attempt(tmp_path: Path) -> Try:
    """Package a model with pictures, and return what they showed, in a list."""

    def attempted(model: onnx.ModelProto, images: Path, **options: Any) -> list[Trial]:
        onnx.save_model(model, tmp_path / "theirs.onnx")
        images_options = {name: options.pop(name) for name in ("least", "hashes") if name in options}
        max_batch = options.pop("max_batch", None)
        shown: list[Trial] = []
        with contextlib.suppress(TaskFailure):
            package(
                Source.onnx(tmp_path / "theirs.onnx"),
                model="theirs",
                repository=tmp_path / "models",
                wishes=Wishes(**{"labels": trained.CLASSES, **options}),
                images=Images(source=images, **images_options),
                max_batch=max_batch,
                tried=shown.append,
                progress=lambda _: None,
            )
        return shown

    return attempted


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Where the first version appears."""
    return tmp_path / "models" / "theirs" / "1"


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "BGR and bytes, packaged as ImageNet": (
        {"pixels": BGR_BYTES},
        {},
        "BGR and 0..255",
        "--colour bgr --scale 1 --mean 0,0,0 --std 1,1,1",
    ),
    "Caffe's, packaged as x/255": (
        {"pixels": CAFFE},
        {"scale": 1 / 255, "mean": (0.0,), "std": (1.0,)},
        "BGR and 0..255 less ImageNet's mean",
        "--colour bgr --scale 1 --mean 103.53,116.28,123.675 --std 1,1,1",
    ),
    "0.5/0.5, packaged as bytes": (
        {"pixels": HALVES},
        {"scale": 1.0, "mean": (0.0,), "std": (1.0,)},
        "0.5/0.5",
        "--scale 1/255 --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5",
    ),
    "squashed, packaged as cropped": (
        {"pixels": IMAGENET, "fit": "squash", "wide": True},
        {},
        "squash",
        "--fit squash",
    ),
    "RGB, packaged as BGR": (
        {"pixels": IMAGENET},
        {"colour": "bgr"},
        "RGB",
        "--colour rgb --scale 1/255 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
    ),
    "x/255, packaged as bytes": (
        {"pixels": UNIT},
        {"scale": 1.0, "mean": (0.0,), "std": (1.0,)},
        "x/255",
        "--scale 1/255 --mean 0,0,0 --std 1,1,1",
    ),
}


def parsed(flags: str) -> dict[str, Any]:
    """Return the flags of a row as wishes, by the parsers of the task."""
    from scripts.tasks import flags as parse

    words = flags.split()
    given = dict(zip([word.removeprefix("--") for word in words[::2]], words[1::2], strict=True))
    found: dict[str, Any] = {name: given[name] for name in ("colour", "fit") if name in given}
    found |= {name: parse.channels(given[name], name=name) for name in ("mean", "std") if name in given}
    found |= {"scale": parse.fraction(given["scale"], name="scale")} if "scale" in given else {}
    return found


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_preparation_is_found_out(case: str, attempt: Try, tmp_path: Path, published: Path) -> None:
    """Forty pictures name the right way first, with the flags to give; given those, the version is published."""
    training, wishes, name, flags = WRONG[case]
    model = trained.classifier(**training)
    pictures = trained.write(tmp_path / "pictures", count=40, wide=training.get("wide", False))
    (shown,) = attempt(model, pictures, least=0.9, **wishes)
    assert (shown.rows[0][0], shown.rows[0][2], shown.rows[-1][0]) == (name, flags, "as packaged")
    assert f"Package it with {flags}" in shown.refusal
    assert not published.exists()
    (again,) = attempt(model, pictures, least=0.9, **{**wishes, **parsed(flags)})
    assert again.refusal == ""
    assert again.tried.accuracy is not None
    assert again.tried.accuracy >= 0.9
    assert published.exists()


def test_the_proof_shares_nothing_with_packaging_s_own(
    attempt: Try, tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If packaging writes a wrong order of channels and its own proof is blind to it, the pictures are not."""
    true_fuse = rewrite.fuse

    def turned(model: onnx.ModelProto, classifier: Any, *, pixels: Pixels) -> onnx.ModelProto:
        return true_fuse(model, classifier, pixels=attrs.evolve(pixels, colour="bgr"))

    monkeypatch.setattr(build, "fuse", turned)
    monkeypatch.setattr(compare, "fused_difference", lambda *_, **__: 0.0)
    (shown,) = attempt(trained.classifier(pixels=IMAGENET), trained.write(tmp_path / "pictures", count=40))
    assert shown.rows[-1] == ("as packaged", "30% right", "")
    assert "no better than chance" in shown.refusal
    assert not published.exists()


def test_what_is_no_better_than_chance_is_not_published(attempt: Try, tmp_path: Path, published: Path) -> None:
    """Without --min-accuracy more than chance is asked for; --min-accuracy 0 publishes all the same."""
    pictures = trained.write(tmp_path / "pictures", count=40)
    model = trained.classifier(pixels=BGR_BYTES)
    (shown,) = attempt(model, pictures)
    assert "no better than chance. With BGR and 0..255: 98% right; as packaged: " in shown.refusal
    assert "--min-accuracy 0" in shown.refusal
    assert not published.exists()
    attempt(model, pictures, least=0.0)
    assert published.exists()


def test_a_right_preparation_passes_and_is_kept(attempt: Try, tmp_path: Path, published: Path) -> None:
    """The accuracy stands in the manifest, and some pictures join the golden data as clients send them."""
    from scripts.repository import manifest

    pictures = trained.write(tmp_path / "pictures", count=40)
    (shown,) = attempt(trained.classifier(pixels=IMAGENET), pictures)
    assert "no better" not in shown.warning
    kept = golden.load(published / "golden.npz")
    assert len(kept.input) == len(kept.output) == golden.COUNT + 4
    known = manifest.read(published / "manifest.json").tried
    assert known == shown.tried
    assert known is not None
    assert (known.pictures, known.accuracy) == (40, 0.975)


def test_hashes_alone_are_kept_if_asked(attempt: Try, tmp_path: Path, published: Path) -> None:
    """No pixel of the owner's pictures is stored, and whoever has the pictures can check them by hash."""
    pictures = trained.write(tmp_path / "pictures", count=40)
    (shown,) = attempt(trained.classifier(pixels=IMAGENET), pictures, hashes=True)
    assert len(golden.load(published / "golden.npz").input) == golden.COUNT
    assert len(shown.tried.kept) == 4


def test_pictures_that_do_not_tell_are_said_not_to(attempt: Try, tmp_path: Path, published: Path) -> None:
    """Three pictures prove nothing; classes that have nothing to do with the pictures find no way at all."""
    few = trained.write(tmp_path / "few", count=3)
    model = trained.classifier(pixels=IMAGENET)
    (shown,) = attempt(model, few)
    assert "cannot tell whether that is more than chance" in shown.warning
    assert published.exists()
    mixed = trained.write(tmp_path / "mixed", count=40)
    files = sorted(mixed.rglob("*.png"))
    places = np.random.default_rng(5).permutation(len(files))
    lines = [f"{files[place]},{label % 6}" for label, place in enumerate(places)]
    (tmp_path / "mixed.csv").write_text("\n".join(lines))
    (shown,) = attempt(model, tmp_path / "mixed.csv")
    assert "no better than chance. Cannot tell why: none of the usual" in shown.refusal


def test_ways_that_answer_alike_are_not_told_apart(attempt: Try, tmp_path: Path) -> None:
    """A model of x/255 answers as well with ImageNet's numbers: who has not said which hears that both fit."""
    pictures = trained.write(tmp_path / "pictures", count=40)
    model = trained.classifier(pixels=UNIT)
    (shown,) = attempt(model, pictures)
    assert shown.refusal == ""
    assert "cannot tell the packaged way from: x/255 (--scale 1/255 --mean 0,0,0 --std 1,1,1)" in shown.warning
    (shown,) = attempt(model, pictures, colour="rgb", mean=(0.0,), std=(1.0,), fit="crop")
    assert shown.warning == ""  # the owner has said all that could be otherwise


@pytest.mark.parametrize("right", [True, False])
def test_the_owner_s_own_outputs_are_compared(right: bool, attempt: Try, tmp_path: Path, published: Path) -> None:
    """The owner's program gave these probabilities: as packaged they are met, or missed and the right way is named."""
    from scripts.graph.session import Session
    from triton_sdk.images import to_pixels
    from triton_sdk.predictions import to_probabilities

    pictures = sorted(trained.write(tmp_path / "pictures", count=40).rglob("*.png"))
    model = trained.classifier(pixels=HALVES)
    resize = round(trained.SIDE * 256 / 224)
    images = np.stack([to_pixels(path, resize=resize, height=trained.SIDE, width=trained.SIDE) for path in pictures])
    theirs = ((images / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2).astype(np.float32)
    outputs = to_probabilities(Session(model).scores(theirs), scores="logits")
    listed = {str(path): row.tolist() for path, row in zip(pictures, outputs, strict=True)}
    (tmp_path / "mine.json").write_text(json.dumps(listed))
    wishes = {"mean": (0.5,), "std": (0.5,)} if right else {"scale": 1.0, "mean": (0.0,), "std": (1.0,)}
    (shown,) = attempt(model, tmp_path / "mine.json", **wishes)
    assert published.exists() is right
    assert shown.tried.difference is not None
    if right:
        assert shown.tried.difference < 1e-5
        assert (shown.tried.accuracy, shown.warning) == (1.0, "")
    else:
        assert "Package it with --scale 1/255 --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5." in shown.refusal


def test_without_classes_certainty_warns(attempt: Try, tmp_path: Path, published: Path) -> None:
    """A model that hardly answers as packaged, and is sure of different things in another way, is told of."""
    pictures = trained.write(tmp_path / "pictures", count=40)
    for number, path in enumerate(sorted(pictures.rglob("*.png"))):
        path.rename(pictures / f"{number}.png")
    model = trained.classifier(pixels=CAFFE)
    (shown,) = attempt(model, pictures, scale=1 / 255, mean=(0.0,), std=(1.0,))
    assert "less ImageNet's mean the model is far more certain" in shown.warning
    assert published.exists()
    (shown,) = attempt(model, pictures, colour="bgr", scale=1.0, mean=CAFFE.mean, std=(1.0,))
    assert shown.warning == ""


def test_a_model_of_one_channel_is_tried_in_its_own_ways(attempt: Try, tmp_path: Path, published: Path) -> None:
    """Light and dark pictures, without names: packaged as x/255 all are light, and 0.5/0.5 is found."""
    for number in range(20):
        for name, level in (("1 dark", 20 + number), ("0 light", 230 - number)):
            path = tmp_path / "pictures" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (40, 30), level).save(path)
    model = colour_models.light_or_dark()
    (shown,) = attempt(model, tmp_path / "pictures", labels=None)
    assert "With 0.5/0.5: 100% right; as packaged: 50% right" in shown.refusal
    assert "--scale 1/255 --mean 0.5 --std 0.5" in shown.refusal
    attempt(model, tmp_path / "pictures", labels=None, mean=(0.5,), std=(0.5,))
    assert published.exists()


def test_a_model_that_takes_one_image_at_a_time_is_asked_so(attempt: Try, tmp_path: Path, published: Path) -> None:
    """With --max-batch 1 its batch stays 1, for the pictures as for the other ways to prepare them."""
    pictures = trained.write(tmp_path / "pictures", count=12)
    model = trained.one_at_a_time(trained.classifier(pixels=IMAGENET))
    (shown,) = attempt(model, pictures, max_batch=1)
    assert shown.rows[-1] == ("as packaged", "100% right", "")
    assert published.exists()


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    """A file that is no picture stops the proof with its name, since leaving it out would change the figure."""
    pictures = trained.write(tmp_path / "pictures", count=6)
    (pictures / trained.CLASSES[0] / "bad.png").write_bytes(b"no picture")
    onnx.save_model(trained.classifier(pixels=IMAGENET), tmp_path / "theirs.onnx")
    with pytest.raises(TaskFailure, match=r"bad\.png.*Take it out of --images"):
        package(
            Source.onnx(tmp_path / "theirs.onnx"),
            model="theirs",
            repository=tmp_path / "models",
            wishes=Wishes(labels=trained.CLASSES),
            images=Images(source=pictures),
            progress=lambda _: None,
        )
