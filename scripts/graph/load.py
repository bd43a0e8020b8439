"""Read an ONNX file whole."""

import re
from pathlib import Path

import onnx
from onnx import TensorProto

from scripts.graph.order import sort_nodes
from scripts.graph.walk import tensors
from scripts.host import files
from scripts.host.errors import TaskFailure, first_line

# A ModelProto cannot be serialised beyond this.
_PROTOBUF_LIMIT = 2**31 - 1
_EXPORT = "Export it as ONNX"
# What is found under the name of a model, by how it begins, and what to do about it.
_OTHERS = [
    (re.compile(mark, re.IGNORECASE | re.DOTALL), name)
    for mark, name in (
        (rb"version https://git-lfs", "a pointer of Git LFS, not the file itself. Fetch it: git lfs pull"),
        (rb"(\.\./)*(\.git)?/annex/", "a pointer of git-annex, not the file itself. Fetch it: git annex get"),
        (rb"(<!--.*?-->\s*)?<(!doctype )?html", "a web page. Fetch the file itself, by the address of its raw content"),
        (rb"<\?xml|<[a-z]", "a page of XML or HTML, such as a server's refusal. Read it, and fetch the file again"),
        (rb"[{\[]", "JSON, such as a server's refusal. Read it, and fetch the file again"),
        (rb"PK\x03\x04", f"a zip archive, as PyTorch's .pt and Keras' .keras are. Unpack it, or {_EXPORT.lower()}"),
        (rb"\x80[\x02-\x05]", f"a pickle, as older PyTorch writes. {_EXPORT}"),
        (rb"\x1f\x8b", "compressed by gzip. Unpack it: gunzip"),
        (rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!", "a compressed archive. Unpack it"),
        (rb"\x89HDF", f"HDF5, as Keras' .h5 is. {_EXPORT}: python -m tf2onnx.convert"),
        (rb"....TFL3", f"a model of TensorFlow Lite. {_EXPORT}: python -m tf2onnx.convert --tflite"),
        (rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP", "a picture. Name the model"),
        (rb"%PDF", "a PDF document. Name the model"),
    )
]


def load(path: Path) -> onnx.ModelProto:
    """Read a whole ONNX model, with the weights that stand in files beside it and its nodes in order.

    Raises:
        TaskFailure: If *path* is no complete ONNX model; the message says in what way.
    """
    if path.is_dir():
        raise TaskFailure(f"{path} is a folder. Name the ONNX file in it.")
    try:
        content = files.read_bytes(path)
    except FileNotFoundError as error:
        raise TaskFailure(f"{path} does not exist. Name an ONNX file.") from error
    except OSError as error:
        raise TaskFailure(f"{path} cannot be read: {error.strerror}.") from error
    if not content:
        raise TaskFailure(f"{path} is empty. Fetch or export it again.")
    damaged = TaskFailure(f"{path} is not a complete ONNX model: it is truncated or damaged. Fetch or export it again.")
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError, which is not ours to import
        if (found := _other(content)) is not None:
            raise TaskFailure(f"{path} is not an ONNX model: it is {found}.") from error
        # Every ONNX file begins with the field ir_version.
        raise damaged if content[0] == 0x08 else TaskFailure(f"{path} is not an ONNX model.") from error
    if not model.graph.output:
        if (found := _other(content)) is not None:
            raise TaskFailure(f"{path} is not an ONNX model: it is {found}.")
        raise damaged
    _check_types(model, path)
    _load_beside(model, path)
    if model.ByteSize() > _PROTOBUF_LIMIT:
        raise TaskFailure(f"{path} holds more than 2 GiB with its weights, which no single ONNX file can.")
    sort_nodes(model.graph)
    for function in model.functions:
        sort_nodes(function)
    try:
        # Sees nodes whose inputs nothing makes, weights shorter than their shape, and a missing operator set.
        onnx.checker.check_model(model)
    except Exception as error:  # the checker raises more than its ValidationError
        raise TaskFailure(
            f"{path} is not a valid ONNX model: {first_line(error)}. Fetch or export it again."
        ) from error
    return model


def _other(content: bytes) -> str | None:
    """Return what *content* is instead of a model, with what to do about it, as far as its first bytes tell."""
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    for mark, name in _OTHERS:
        if mark.match(start):
            return name
    return None


def _check_types(model: onnx.ModelProto, path: Path) -> None:
    """Check that every tensor is of a type that has a name.

    Raises:
        TaskFailure: If one is not.
    """
    known = TensorProto.DataType.values()
    typed = [(tensor.name, tensor.data_type) for tensor in tensors(model)]
    typed += [(v.name, v.type.tensor_type.elem_type) for v in (*model.graph.input, *model.graph.output)]
    for name, kind in typed:
        if kind not in known:
            raise TaskFailure(
                f"{path} has the tensor {name!r} of the element type {kind}, which ONNX {onnx.__version__} does not "
                "know. Export the model again, in FP32, or update onnx if the type is newer."
            )


def _load_beside(model: onnx.ModelProto, path: Path) -> None:
    """Read the weights that *model* keeps in other files of its folder.

    Raises:
        TaskFailure: If one of the files is missing or too short.
    """
    outside = [tensor for tensor in tensors(model) if onnx.external_data_helper.uses_external_data(tensor)]
    files = {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"}
    if missing := sorted(name for name in files if not (path.parent / name).is_file()):
        raise TaskFailure(
            f"{path} keeps weights in other files, and {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} "
            "missing. Put them beside it, or export the model as one file."
        )
    try:
        for tensor in outside:
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
            tensor.ClearField("external_data")
            tensor.data_location = TensorProto.DEFAULT
    except Exception as error:  # onnx guards the paths by errors of several kinds
        raise TaskFailure(f"The weights beside {path} cannot be read: {first_line(error)}.") from error
