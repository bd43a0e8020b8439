"""Requests written for packaged models."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.host.errors import TaskFailure
from scripts.server.request import generate, main
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD

CONFIG = """
backend: "onnxruntime"
max_batch_size: {max_batch}
input [ {{ name: "{name}" data_type: TYPE_{dtype} format: {format} dims: [ {dims} ] }} ]
output [ {{ name: "scores" data_type: TYPE_FP32 dims: [ {classes} ] }} ]
parameters {{ key: "image.resize" value {{ string_value: "10" }} }}
parameters {{ key: "image.resize.2" value {{ string_value: "8" }} }}
"""


def package(
    repository: Path,
    *,
    model: str = "pets",
    dtype: str = "UINT8",
    dims: str = "8, 8, 3",
    format: str = "FORMAT_NONE",  # noqa: A002 - the field's name
    max_batch: int = 4,
    classes: int = 7,
) -> Path:
    """Put a model with versions 1 and 2 into *repository* and return the latter."""
    for version in ("1", "2", "03", "drafts"):
        (repository / model / version).mkdir(parents=True)
    text = CONFIG.format(name="image", dtype=dtype, format=format, dims=dims, max_batch=max_batch, classes=classes)
    (repository / model / "config.pbtxt").write_text(text)
    return repository


def written(path: Path) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """Return the input tensor's description and its values in the shape that it claims."""
    (sent,) = json.loads(path.read_text())["inputs"]
    return sent, np.array(sent["data"]).reshape(sent["shape"])


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Write a picture of 10 x 10 pixels, each with another colour."""
    pixels = np.arange(300, dtype=np.uint16).reshape(10, 10, 3) % 256
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Name the file to write."""
    return tmp_path / "input.json"


def test_uint8_model_gets_the_pixels_of_the_crop(tmp_path: Path, photo: Path, output: Path) -> None:
    """A model that normalises in its graph is sent the decoded, cropped picture as plain numbers."""
    made = generate(photo, model="pets", repository=package(tmp_path / "m"), version=1, output=output)
    sent, values = written(output)
    assert (sent["name"], sent["datatype"], sent["shape"]) == ("image", "UINT8", [1, 8, 8, 3])
    assert (made.shape, made.dtype) == ((1, 8, 8, 3), "UINT8")
    with Image.open(photo) as picture:
        assert np.array_equal(values[0], np.asarray(picture)[1:9, 1:9])
    assert all(type(value) is int for value in sent["data"])
    assert " " not in output.read_text()


def test_fp32_model_gets_normalised_planes(tmp_path: Path, photo: Path, output: Path) -> None:
    """A model with its original input is sent exactly the normalised FP32 values, in few digits."""
    repository = package(tmp_path / "m", dtype="FP32", dims="3, 8, 8", format="FORMAT_NCHW")
    generate(photo, model="pets", repository=repository, version=1, output=output)
    sent, values = written(output)
    assert (sent["datatype"], sent["shape"]) == ("FP32", [1, 3, 8, 8])
    with Image.open(photo) as picture:
        pixels = np.asarray(picture)[1:9, 1:9].astype(np.float32) / np.float32(255)
    normal = (pixels - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
    assert np.array_equal(values[0].astype(np.float32), normal.transpose(2, 0, 1))
    assert max(len(str(value)) for value in sent["data"]) <= 13


def test_uint8_planes_are_not_mixed_up(tmp_path: Path, photo: Path, output: Path) -> None:
    """A UINT8 model that takes colour planes is sent colour planes."""
    repository = package(tmp_path / "m", dims="3, 8, 8")
    generate(photo, model="pets", repository=repository, version=1, output=output)
    with Image.open(photo) as picture:
        assert np.array_equal(written(output)[1][0], np.asarray(picture)[1:9, 1:9].transpose(2, 0, 1))


def test_preprocessing_is_that_of_the_version_that_answers(tmp_path: Path, photo: Path, output: Path) -> None:
    """Without a version the server takes the highest, so its resize counts, not the model's."""
    repository = package(tmp_path / "m")
    texts = []
    for version in (None, 2, 1):
        generate(photo, model="pets", repository=repository, version=version, output=output)
        texts.append(output.read_text())
    assert texts[0] == texts[1] != texts[2]


def test_batch_repeats_the_image_or_varies_the_generated_ones(tmp_path: Path, photo: Path, output: Path) -> None:
    """A batch holds one given image several times, or generated images that differ, always the same ones."""
    repository = package(tmp_path / "m")
    generate(photo, model="pets", repository=repository, output=output, batch=3)
    repeated = written(output)[1]
    assert repeated.shape == (3, 8, 8, 3)
    assert (repeated == repeated[0]).all()
    generate(model="pets", repository=repository, output=output, batch=2)
    first = written(output)[1]
    assert not np.array_equal(first[0], first[1])
    generate(model="pets", repository=repository, output=output, batch=2)
    assert np.array_equal(written(output)[1], first)


def test_model_without_batch_axis_gets_none(tmp_path: Path, output: Path) -> None:
    """A model that takes one image at a time is sent a tensor of its own shape."""
    repository = package(tmp_path / "m", max_batch=0)
    assert generate(model="pets", repository=repository, output=output).shape == (8, 8, 3)
    with pytest.raises(TaskFailure, match="1 to 1 images in a request, not 2"):
        generate(model="pets", repository=repository, output=output, batch=2)


@pytest.mark.parametrize(("classes", "wanted"), [(7, 5), (3, 3)])
def test_best_classes_are_asked_for_by_name(tmp_path: Path, output: Path, classes: int, wanted: int) -> None:
    """The answer is made for people: at most five classes, with their names, unless raw scores are asked for."""
    repository = package(tmp_path / "m", classes=classes)
    generate(model="pets", repository=repository, output=output)
    asked = json.loads(output.read_text())["outputs"]
    assert asked == [{"name": "scores", "parameters": {"classification": wanted}}]
    generate(model="pets", repository=repository, output=output, raw=True)
    assert json.loads(output.read_text())["outputs"] == [{"name": "scores"}]


@pytest.mark.parametrize(("version", "path"), [(None, "pets/infer"), (2, "pets/versions/2/infer")])
def test_command_names_server_version_and_file(tmp_path: Path, version: int | None, path: str) -> None:
    """The command can be pasted into a shell, also where the file's name holds a blank."""
    output = tmp_path / "my input.json"
    made = generate(model="pets", repository=package(tmp_path / "m"), version=version, output=output)
    assert made.curl == (
        f"curl -X POST http://localhost:8000/v2/models/{path} -H 'Content-Type: application/json' -d '@{output}'"
    )


def test_unknown_model_names_those_that_are_there(tmp_path: Path, output: Path) -> None:
    """A model that is not packaged is one message with the models that are, and how to package it."""
    with pytest.raises(TaskFailure, match=r"No model 'cars' .*there: pets\. .*package-model --model cars"):
        generate(model="cars", repository=package(tmp_path / "m"), output=output)
    with pytest.raises(TaskFailure, match="there: none"):
        generate(model="cars", repository=tmp_path / "nowhere", output=output)


def test_unknown_version_names_those_that_are_there(tmp_path: Path, output: Path) -> None:
    """A version that Triton would not serve is refused, with those that it would."""
    with pytest.raises(TaskFailure, match=r"no version 3 .*there: 1, 2\."):
        generate(model="pets", repository=package(tmp_path / "m"), version=3, output=output)


@pytest.mark.parametrize("batch", [0, 5])
def test_batch_that_the_model_refuses_is_not_written(tmp_path: Path, output: Path, batch: int) -> None:
    """A request that could only fail is not made."""
    with pytest.raises(TaskFailure, match=f"'pets' takes 1 to 4 images in a request, not {batch}"):
        generate(model="pets", repository=package(tmp_path / "m"), output=output, batch=batch)
    assert not output.exists()


def test_model_that_is_no_classifier_is_named_with_its_file(tmp_path: Path, output: Path) -> None:
    """A model that takes no image is refused in the words of the contract, after the file that says so."""
    repository = package(tmp_path / "m", dims="16")
    with pytest.raises(TaskFailure, match=r"config\.pbtxt: Model 'pets' is no image classifier"):
        generate(model="pets", repository=repository, output=output)


def test_file_that_is_no_image_leaves_the_old_output(tmp_path: Path, output: Path) -> None:
    """A broken image is one message, and what an earlier run wrote stays as it was."""
    (tmp_path / "cat.jpg").write_text("no image")
    output.write_text("old")
    with pytest.raises(TaskFailure, match=r"cat\.jpg|image"):
        generate(tmp_path / "cat.jpg", model="pets", repository=package(tmp_path / "m"), output=output)
    assert output.read_text() == "old"


def test_output_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    """A folder that is missing, or in the file's place, is one message, and no half file stays."""
    repository = package(tmp_path / "m")
    with pytest.raises(TaskFailure, match=r"Cannot write .*input\.json: No such file"):
        generate(model="pets", repository=repository, output=tmp_path / "missing" / "input.json")
    (tmp_path / "input.json").mkdir()
    with pytest.raises(TaskFailure, match="Cannot write"):
        generate(model="pets", repository=repository, output=tmp_path / "input.json")
    assert {path.name for path in tmp_path.iterdir()} == {"m", "input.json"}


def test_module_prints_the_command(tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line writes the file and says what is in it and how to send it."""
    argv = ["--model", "pets", "--repository", str(package(tmp_path / "m")), "--output", str(output), "--batch", "2"]
    assert main(argv) == 0
    shown = capsys.readouterr().out
    assert "UINT8 (2, 8, 8, 3)" in shown
    assert "curl -X POST" in shown
    assert written(output)[0]["shape"] == [2, 8, 8, 3]


def test_module_fails_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m scripts.generate_input` ends with status 1 and the message alone."""
    monkeypatch.setattr(sys, "argv", ["generate_input", "--model", "cars", "--repository", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("scripts.generate_input", run_name="__main__")
    assert caught.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        f"No model 'cars' is packaged in {tmp_path}; there: none. Package it: invoke package-model --model cars"
    ]
