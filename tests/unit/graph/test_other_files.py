"""What is found under the name of an ONNX file, and models that are too large or of types that nobody knows."""

import gzip
import io
import os
import zipfile
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from scripts.graph.inspect import LONGEST_SIDE, inspect
from scripts.graph.load import load
from scripts.host.errors import TaskFailure
from tests.doubles import small_classifiers


def archive() -> bytes:
    """Return a zip archive as torch.save() writes."""
    with zipfile.ZipFile(content := io.BytesIO(), "w") as file:
        file.writestr("model/data.pkl", b"")
    return content.getvalue()


OTHERS = {
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102442450\n", "git lfs pull"),
    "git-annex": (b"/annex/objects/SHA256E-s123--abc.onnx\n", "git annex get"),
    "annexed link": (b"../../.git/annex/objects/X/Y/SHA256E-s123--abc.onnx", "git annex get"),
    "page": (b"\n<!DOCTYPE html><html><head><title>Sign in</title>", "a web page"),
    "page of GitHub": (b"\xef\xbb\xbf\r\n<html lang=en>", "a web page"),
    "S3": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    "JSON": (b'{"error": "not found"}', "JSON"),
    "PyTorch": (archive(), "PyTorch's .pt"),
    "pickle": (b"\x80\x02}q\x00.", "a pickle"),
    "gzip": (gzip.compress(b"model"), "gunzip"),
    "Keras": (b"\x89HDF\r\n\x1a\n" + bytes(100), "Keras' .h5"),
    "TensorFlow Lite": (b"\x1c\x00\x00\x00TFL3" + bytes(50), "TensorFlow Lite"),
    "picture": (b"\xff\xd8\xff\xe0" + bytes(50), "a picture"),
    "PDF": (b"%PDF-1.7", "a PDF"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_model_is_named(name: str, tmp_path: Path) -> None:
    """The message says what the file is, and what to do."""
    content, words = OTHERS[name]
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(TaskFailure, match=r"is not an ONNX model: it is ") as failed:
        load(tmp_path / "model.onnx")
    assert words in str(failed.value)


@pytest.mark.parametrize("kind", ["a named pipe", "a device", "a folder"])
def test_what_is_no_file_is_not_opened(kind: str, tmp_path: Path) -> None:
    """A named pipe would wait for ever, and a device give bytes for ever."""
    path = tmp_path / "model.onnx"
    match kind:
        case "a named pipe":
            os.mkfifo(path)
        case "a device":
            path.symlink_to("/dev/zero")
        case _:
            path.mkdir()
    with pytest.raises(TaskFailure, match=kind):
        load(path)


@pytest.mark.parametrize("place", ["input", "output", "weight"])
@pytest.mark.parametrize("code", [99, 77, 2**31 - 1])
def test_a_type_that_nobody_knows_is_said(place: str, code: int, tmp_path: Path) -> None:
    """The tensor and the number are named, wherever it stands."""
    model = small_classifiers.classifier()
    match place:
        case "input":
            model.graph.input[0].type.tensor_type.elem_type = code
        case "output":
            model.graph.output[0].type.tensor_type.elem_type = code
        case _:
            model.graph.initializer[0].data_type = code
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(TaskFailure, match=rf"element type {code}, which ONNX {onnx.__version__} does not know"):
        load(tmp_path / "model.onnx")


@pytest.mark.parametrize("code", [TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.FLOAT8E4M3FN, 0])
def test_a_type_that_holds_no_pictures_is_said(code: int) -> None:
    """A type that has a name and is none of pictures is refused by that name."""
    model = small_classifiers.classifier()
    model.graph.input[0].type.tensor_type.elem_type = code
    with pytest.raises(TaskFailure, match=rf"{TensorProto.DataType.Name(code)} .*were expected"):
        inspect(model)


@pytest.mark.parametrize(("height", "width"), [(20_000, 20_000), (1, 400_000_000), (LONGEST_SIDE + 1, 3), (4097, 4096)])
def test_pictures_that_nothing_can_hold_are_refused_before_they_are_made(height: int, width: int) -> None:
    """The sizes are named with the largest that is taken, and no memory is asked for."""
    model = small_classifiers.classifier()
    for axis, side in ((2, height), (3, width)):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = side
    with pytest.raises(TaskFailure, match=rf"pictures of {height} x {width} .*4096 x 4096"):
        inspect(model)
