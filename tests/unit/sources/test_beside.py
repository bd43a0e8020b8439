"""Files beside a model: which are read, for whom they speak, and what a damaged one says."""

import json
from pathlib import Path

import onnx
import pytest

from scripts.host.errors import TaskFailure
from scripts.sources.beside import claims_of
from scripts.sources.claims import Claim
from tests.doubles import small_classifiers as tiny


def claims(folder: Path, *, name: str = "model.onnx", **metadata: str) -> dict[str, list[Claim]]:
    """Return what is said of a tiny model called *name* in *folder*, by field."""
    model = tiny.classifier()
    onnx.helper.set_model_props(model, metadata)
    found: dict[str, list[Claim]] = {}
    for claim in claims_of(model, folder / name):
        found.setdefault(claim.field, []).append(claim)
    return found


def test_a_model_by_itself_says_nothing(tmp_path: Path) -> None:
    """Without metadata and neighbours there is no claim."""
    assert claims(tmp_path) == {}


@pytest.mark.parametrize("name", ["labels.txt", "classes.txt", "model.names", "custom.names", "model.labels.txt"])
def test_names_stand_in_files_of_many_names(tmp_path: Path, name: str) -> None:
    """The usual files with a name on each line are read, with or without a byte order mark."""
    (tmp_path / name).write_text("red\ngreen\n", encoding="utf-8-sig")
    (claim,) = claims(tmp_path)["labels"]
    assert (claim.value, name in claim.where) == (("red", "green"), True)


@pytest.mark.parametrize("text", ['{"0": "red", "1": "green"}', '["red", "green"]', '{"green": 1, "red": 0}'])
def test_names_stand_in_json_too(tmp_path: Path, text: str) -> None:
    """A list, names by index, or indices by name."""
    (tmp_path / "class_indices.json").write_text(text)
    assert claims(tmp_path)["labels"][0].value == ("red", "green")


@pytest.mark.parametrize(
    ("file", "model", "belongs"),
    [
        ("cats_class_names.json", "cats.onnx", True),
        ("cats_class_names.json", "cats_resnet18.onnx", True),
        ("cats-class_names.json", "cats.v2.onnx", True),
        ("cats_class_names.json", "dogs.onnx", False),
        ("cat_class_names.json", "cats.onnx", False),
        ("_class_names.json", "cats.onnx", False),
    ],
)
def test_names_may_carry_the_model_s_name(tmp_path: Path, file: str, model: str, *, belongs: bool) -> None:
    """A file that begins as the model does is the model's; in a folder of several it is no other's."""
    (tmp_path / file).write_text('["red", "green"]')
    assert ("labels" in claims(tmp_path, name=model)) == belongs


@pytest.mark.parametrize(
    "metadata",
    [
        {"character": "red\nlight green"},
        {"classes": '["red", "light green"]'},
        {"names": "{0: 'red', 1: 'light green'}", "stride": "32"},
        {"id2label": '{"0": "red", "1": "light green"}'},
    ],
    ids=lambda metadata: next(iter(metadata)),
)
def test_names_stand_in_metadata_that_no_format_fixes(tmp_path: Path, metadata: dict[str, str]) -> None:
    """Lines, JSON and Python's own way of writing are read."""
    (claim,) = claims(tmp_path, **metadata)["labels"]
    assert (claim.value, claim.kind) == (("red", "light green"), "file metadata")


@pytest.mark.parametrize("text", ["2", "colours", "", "[", '"red"'])
def test_metadata_about_something_else_says_nothing(tmp_path: Path, text: str) -> None:
    """A number or a word under such a key is no list of names."""
    assert claims(tmp_path, classes=text) == {}


def test_a_damaged_list_in_metadata_is_told(tmp_path: Path) -> None:
    """A list that cannot be followed is named, not skipped."""
    (claim,) = claims(tmp_path, labels='{"0": "red", "2": "green"}')["labels"]
    assert "leaves indices of classes out" in claim.problem


def test_a_folder_of_an_exporter_s_is_described_one_level_above(tmp_path: Path) -> None:
    """Optimum keeps onnx/model.onnx below the settings; Triton keeps 1/model.onnx below config.pbtxt and labels."""
    (tmp_path / "onnx").mkdir()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit", "id2label": {"0": "a", "1": "b"}}))
    assert claims(tmp_path / "onnx")["labels"][0].value == ("a", "b")
    (tmp_path / "elsewhere").mkdir()
    assert claims(tmp_path / "elsewhere") == {}
    (tmp_path / "1").mkdir()
    (tmp_path / "names.txt").write_text("c\nd\n")
    (tmp_path / "config.pbtxt").write_text(
        'max_batch_size: 0\ninput [ { name: "x" data_type: TYPE_FP32 dims: [ 1, 3, 96, 128 ] } ]\n'
        'output [ { name: "y" data_type: TYPE_FP32 dims: [ 1, 2 ] label_filename: "names.txt" } ]\n'
    )
    found = claims(tmp_path / "1")
    assert found["size"][0].value == (96, 128)
    assert ("c", "d") in [claim.value for claim in found["labels"]]


def test_open_dims_in_a_configuration_tell_nothing(tmp_path: Path) -> None:
    """A config.pbtxt may leave height and width to the request."""
    (tmp_path / "config.pbtxt").write_text('input [ { name: "x" data_type: TYPE_FP32 dims: [ 3, -1, -1 ] } ]')
    assert claims(tmp_path) == {}


def test_a_configuration_of_this_project_says_how_pictures_are_made(tmp_path: Path) -> None:
    """Its image.* parameters are for clients, and for whoever packages the version's graph again."""
    lines = [("resize", "232"), ("interpolation", "bicubic"), ("fit", "stretch")]
    text = "".join(f'parameters {{ key: "image.{key}" value {{ string_value: "{value}" }} }}\n' for key, value in lines)
    (tmp_path / "config.pbtxt").write_text(text)
    found = {field: (claims[0].value, bool(claims[0].problem)) for field, claims in claims(tmp_path).items()}
    assert found == {"resize": (232, False), "interpolation": ("bicubic", False), "fit": (None, True)}


def test_a_processor_that_wraps_timm_holds_timm_s_settings(tmp_path: Path) -> None:
    """Hugging Face's TimmWrapper writes timm's settings into the processor's file."""
    wrapped = {"architecture": "resnet18", "pretrained_cfg": {"interpolation": "bicubic", "crop_pct": 0.95}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(wrapped))
    assert claims(tmp_path)["interpolation"][0].value == "bicubic"


def test_each_kind_of_file_is_heard(tmp_path: Path) -> None:
    """Metadata, a processor, timm's settings and Custom Vision's stand side by side, each with its place."""
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": {"interpolation": "bicubic"}}))
    (tmp_path / "metadata_properties.json").write_text(json.dumps({"Image.BitmapPixelFormat": "Bgr8"}))
    found = claims(tmp_path, **{"Image.BitmapPixelFormat": "Rgb8"})
    wheres = " ".join(claim.where for claims in found.values() for claim in claims)
    for name in ("preprocessor_config.json", "config.json", "metadata_properties.json", "the ONNX file"):
        assert name in wheres


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("preprocessor_config.json", b"{", "is no JSON"),
        ("preprocessor_config.json", b"\xff\xfe{}", "is no JSON"),
        ("preprocessor_config.json", b"[" * 100_000, "is no JSON"),
        ("preprocessor_config.json", b"[1]", "no settings by name"),
        ("config.json", b"nothing", "is no JSON"),
        ("metadata_properties.json", b'"Bgr8"', "no settings by name"),
        ("labels.txt", b"", "it is empty"),
        ("labels.txt", b"a\n\nb\n", "line 2 is blank"),
        ("labels.json", b"7", "no list of names"),
        ("config.pbtxt", b"input [", "cannot parse"),
        ("config.pbtxt", b'output [ { name: "y" label_filename: "gone.txt" } ]', "gone.txt"),
    ],
)
def test_a_damaged_neighbour_is_refused_by_name(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    """What should tell something, and cannot be read, is one message that names the file."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskFailure, match=words) as caught:
        claims(tmp_path)
    assert name in str(caught.value)


def test_a_config_json_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """Anything may be called config.json."""
    (tmp_path / "config.json").write_text('{"port": 80}')
    assert claims(tmp_path) == {}


def test_a_link_s_neighbours_speak_before_its_target_s(tmp_path: Path) -> None:
    """A cache of downloads keeps files under their hashes; a link of a person's leads to a folder with neighbours."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    for folder in (blobs, snapshot):
        folder.mkdir()
    (blobs / "0123").touch()
    (snapshot / "model.onnx").symlink_to(blobs / "0123")
    (blobs / "labels.txt").write_text("target\nx\n")
    assert claims(snapshot)["labels"][0].value == ("target", "x")
    (snapshot / "labels.txt").write_text("link\nx\n")
    (claim,) = claims(snapshot)["labels"]
    assert claim.value == ("link", "x")
