"""Gray pictures without an axis of channels: rows of pixels, as scikit-learn takes them, or height and width alone."""

import math

import onnx
from onnx import TensorProto, helper

from scripts.graph.walk import fresh, images_of, names, set_nodes
from scripts.host.errors import TaskFailure

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8})


def way_on(model: onnx.ModelProto) -> str:
    """Return the flags that make pictures of an input without channels, for a message; nothing for another input."""
    dims = _flat(model)
    if dims is None:
        return ""
    if len(dims) == 1:
        side = math.isqrt(dims[0] or 0)
        example = f"{side}x{side}" if dims[0] and side * side == dims[0] else "28x28"
        return f"If it is gray pictures row by row, say so, and give their true size: --colour gray --size {example}"
    return "If it is gray pictures, say so: --colour gray"


def give_channel(model: onnx.ModelProto, *, size: tuple[int, int] | None) -> onnx.ModelProto:
    """Return *model* with gray pictures ``(n, 1, height, width)`` as its input, if it takes them without a channel.

    Args:
        model: The model, which its owner says takes gray.
        size: Height and width, where the owner tells them, in pixels.

    Raises:
        TaskFailure: If the input does not hold as many pixels, or leaves open how many it holds.
    """
    dims = _flat(model)
    if dims is None:
        return model
    (old,) = images_of(model.graph)
    height, width = size or (dims if len(dims) == 2 else (None, None))
    if not height or not width:
        raise TaskFailure(
            f"The model's input {old.name!r} has no height and width of its own. Give the size of its pictures as "
            "well, for example --size 28x28."
        )
    expected = (height * width,) if len(dims) == 1 else (height, width)
    if any(dim not in (None, wanted) for dim, wanted in zip(dims, expected, strict=True)):
        raise TaskFailure(
            f"--size {height}x{width} does not fit the model's input {old.name!r}, which takes "
            f"{' x '.join('any' if dim is None else str(dim) for dim in dims)} numbers of one picture. Give their true "
            "height and width."
        )
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    taken = set(names(graph))
    picture, shape = fresh("picture", taken), fresh("picture_shape", taken)
    first = old.type.tensor_type.shape.dim[0]
    batch = first.dim_value if first.dim_value > 0 else first.dim_param or "n"
    # 0 leaves the first dimension as it is.
    told = helper.make_tensor(shape, TensorProto.INT64, [len(dims) + 1], [0, *expected])
    place = next(place for place, value in enumerate(graph.input) if value.name == old.name)
    kind = old.type.tensor_type.elem_type
    graph.input[place].CopyFrom(helper.make_tensor_value_info(picture, kind, [batch, 1, height, width]))
    before = [
        helper.make_node("Constant", [], [shape], value=told),
        helper.make_node("Reshape", [picture, shape], [old.name]),
    ]
    set_nodes(graph, [*before, *graph.node])
    return result


def _flat(model: onnx.ModelProto) -> list[int | None] | None:
    """Return what the one input holds of a picture, without the batch: one or two dimensions; None for other inputs."""
    inputs = images_of(model.graph)
    if len(inputs) != 1 or not inputs[0].type.HasField("tensor_type"):
        return None
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type not in _FLOATS or len(tensor.shape.dim) not in (2, 3):
        return None
    return [dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim[1:]]
