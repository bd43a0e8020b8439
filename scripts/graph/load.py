"""Read an ONNX file whole."""

from pathlib import Path

import onnx
from onnx import TensorProto

from scripts.graph.order import sort_nodes
from scripts.graph.session import first_line
from scripts.graph.walk import tensors
from scripts.host import files
from scripts.host.errors import TaskFailure

# A ModelProto cannot be serialised beyond this.
_PROTOBUF_LIMIT = 2**31 - 1


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
        # Every ONNX file begins with the field ir_version.
        raise damaged if content[0] == 0x08 else TaskFailure(f"{path} is not an ONNX model.") from error
    if not model.graph.output:
        raise damaged
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
