"""Files of other people, packaged: the numbers are theirs, or the refusal names a way on that leads there."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from scripts.packaging.package import Source, Wishes, package
from scripts.repository import config_pbtxt
from scripts.repository.lint.model import lint
from scripts.repository.versions import PackagedVersion
from tests.doubles import owners_models
from triton_sdk.contract import ModelContract

# Pixels become -1 to 1, which needs no rounding to be told.
PLAIN = {"colour": "rgb", "scale": 1 / 127.5, "mean": (1.0,), "std": (1.0,)}


def put(model: onnx.ModelProto, folder: Path, *, max_batch: int | None = None, **wishes: object) -> PackagedVersion:
    """Package *model* as "own"."""
    file = folder / "own.onnx"
    file.write_bytes(model.SerializeToString())
    return package(
        Source.onnx(file),
        model="own",
        repository=folder / "models",
        max_batch=max_batch,
        wishes=Wishes(**{**PLAIN, **wishes}),  # type: ignore[arg-type]
        progress=lambda _: None,
    )


def asked(done: PackagedVersion, *pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what a packaged version answers to each picture."""
    return Session(done.path / "model.onnx").alone(np.stack(pictures))


def original(model: onnx.ModelProto, *pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what the owner's own script gets."""
    return Session(model).alone((np.stack(pictures) / 127.5 - 1).astype(np.float32).transpose(0, 3, 1, 2))


def flat(*colour: int, side: int = owners_models.SIDE) -> NDArray[np.uint8]:
    """Return a picture of one colour."""
    return np.full((side, side, 3), colour, np.uint8)


def contract_of(folder: Path) -> ModelContract:
    """Return what the model's configuration tells clients."""
    return ModelContract.from_config(config_pbtxt.parse(folder / "models" / "own" / "config.pbtxt"))


PICTURES = [*np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)]


def test_heads_of_sigmoids_keep_their_numbers(tmp_path: Path) -> None:
    """Two attributes that are both true stay at 0.98, where a softmax made 0.42 of them; clients are told."""
    model = owners_models.sigmoid_heads()
    done = put(model, tmp_path)
    got = asked(done, flat(255, 255, 0))
    np.testing.assert_allclose(got, [[0.982, 0.982, 0.018]], atol=1e-3)
    np.testing.assert_allclose(got, original(model, flat(255, 255, 0)), atol=1e-6)
    assert contract_of(tmp_path).scores == "multi-label"


@pytest.mark.parametrize(
    ("model", "least", "sums"),
    [
        (owners_models.qlinear_softmax(10, spread=0.8), 0.99, (0.99, 1.01)),
        (owners_models.qlinear_softmax(1000, spread=0.4), 0.6, (0.5, 1.01)),
        (owners_models.clipped_softmax(), 0.9, (0.9, 1.01)),
        (owners_models.rounded_softmax(), 0.899, (0.9, 1.05)),
    ],
    ids=["10 classes", "1000 classes", "clipped", "rounded"],
)
def test_a_softmax_stays_what_it_was(
    model: onnx.ModelProto, least: float, sums: tuple[float, float], tmp_path: Path
) -> None:
    """What an owner reads off the file is what is served: 0.996 of 10 classes became 0.231 by a second softmax."""
    got = asked(put(model, tmp_path), *PICTURES)
    np.testing.assert_allclose(got, original(model, *PICTURES), atol=0.02)
    assert got.max() >= least
    assert sums[0] <= got.sum(axis=1).min()
    assert got.sum(axis=1).max() <= sums[1]
    assert contract_of(tmp_path).scores == "probabilities"


def test_batch_mates_are_refused_and_the_way_on_works(tmp_path: Path) -> None:
    """A probability that moves by 0.87 is not published; with --max-batch 1 every picture is asked alone."""
    model = owners_models.batch_statistics()
    with pytest.raises(TaskFailure, match=r"moves by [5-9]\.\de-01, but only 1e-04 is allowed.*--max-batch 1"):
        put(model, tmp_path)
    assert not (tmp_path / "models").exists()
    done = put(model, tmp_path, max_batch=1)
    config = config_pbtxt.parse(tmp_path / "models" / "own" / "config.pbtxt")
    assert (config["max_batch_size"], "dynamic_batching" in config) == (1, False)
    assert [finding for finding in lint(tmp_path / "models") if finding.severity == "error"] == []
    assert asked(done, flat(255, 0, 0)).argmax() == 0
    # Another version of it is held to the same.
    assert put(model, tmp_path).version == 2


def test_two_outputs_are_a_choice(tmp_path: Path) -> None:
    """Each flag that the refusal names packages the output that it names."""
    model = owners_models.two_outputs()
    with pytest.raises(TaskFailure, match="Choose it") as refusal:
        put(model, tmp_path)
    names = re.findall(r"--output (\w+)", str(refusal.value))
    assert names == ["y", "mean"]
    found = {}
    for name in names:
        (tmp_path / name).mkdir()
        found[name] = asked(put(model, tmp_path / name, output=name), flat(255, 128, 0))[0]
    powers = {"y": np.exp([2, 0, -2]), "mean": np.exp([1, 0, -1])}
    for name, expected in powers.items():
        np.testing.assert_allclose(found[name], expected / expected.sum(), atol=5e-3)


def test_a_picture_of_one_channel_is_pillow_s(tmp_path: Path) -> None:
    """Clients send colours as to every model; the graph makes gray of them as Pillow does."""
    done = put(owners_models.gray(), tmp_path, colour="gray", scale=1 / 255, mean=(0.0,))
    picture = flat(200, 30, 90, side=28)
    level = np.asarray(Image.fromarray(picture).convert("L"))[0, 0] / 255
    expected = 1 / (1 + np.exp(-2 * level))
    np.testing.assert_allclose(asked(done, picture), [[expected, 1 - expected]], atol=1e-6)
    assert str(contract_of(tmp_path).input) == "image UINT8 (n, 28, 28, 3)"


def test_an_input_beside_the_image_is_frozen(tmp_path: Path) -> None:
    """The refusal names --freeze keep_prob=VALUE, and with it the model is served."""
    model = owners_models.keep_prob()
    with pytest.raises(TaskFailure, match="--freeze keep_prob=VALUE"):
        put(model, tmp_path)
    got = asked(put(model, tmp_path, freeze={"keep_prob": (1.0,)}), flat(255, 128, 0))
    powers = np.exp([1, 0, -1])
    np.testing.assert_allclose(got[0], powers / powers.sum(), atol=5e-3)


def test_one_score_is_two_classes(tmp_path: Path) -> None:
    """A sigmoid alone says how likely the second class is: both are served, each with its name."""
    done = put(owners_models.cat_or_dog(), tmp_path, labels=("cat", "dog"))
    np.testing.assert_allclose(asked(done, flat(255, 0, 0)), [[3.3e-4, 0.99966]], atol=1e-4)
    assert (tmp_path / "models" / "own" / "labels.txt").read_text() == "cat\ndog\n"
    assert (contract_of(tmp_path).classes, contract_of(tmp_path).scores) == (2, "probabilities")


def test_unsorted_nodes_are_packaged_in_order(tmp_path: Path) -> None:
    """What Triton loads is packaged, and written as ONNX asks for it."""
    done = put(owners_models.unsorted(), tmp_path)
    onnx.checker.check_model(onnx.load(done.path / "model.onnx"))
    assert asked(done, flat(0, 255, 0)).argmax() == 1
