"""What a graph declares of its inputs and outputs, and whether that leaves room for scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto

# KServe's names of the element types that an image or its scores may have.
DTYPES: Mapping[int, str] = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.DOUBLE: "FP64",
    TensorProto.UINT8: "UINT8",
}


def dims_of(value: onnx.ValueInfoProto) -> list[int | str]:
    """Return the declared dimensions; a name, or "?", where one is open."""
    # Some exporters write 0 or -1 for an open dimension.
    return [dim.dim_value if dim.dim_value > 0 else dim.dim_param or "?" for dim in value.type.tensor_type.shape.dim]


def described(values: Sequence[onnx.ValueInfoProto]) -> str:
    """Return name, type and shape of the first of *values*, for a message."""
    if not values:
        return "nothing"
    parts = []
    for value in values[:6]:
        if not value.type.HasField("tensor_type"):
            parts.append(f"{value.name!r} (no tensor)")
            continue
        dtype = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        parts.append(f"{value.name!r} {dtype} ({', '.join(map(str, dims_of(value)))})")
    return ", ".join(parts) + (f" and {len(values) - 6} more" if len(values) > 6 else "")


def may_be_scores(value: onnx.ValueInfoProto) -> bool:
    """Return whether *value* is declared as numbers with one axis of classes at most, or as what ZipMap makes."""
    if not value.type.HasField("tensor_type"):
        return True
    number = value.type.tensor_type.elem_type in DTYPES and value.type.tensor_type.elem_type != TensorProto.UINT8
    return number and sum(isinstance(dim, int) and dim > 1 for dim in dims_of(value)[1:]) <= 1


def shaped_as_scores(given: NDArray[Any]) -> bool:
    """Return whether three images got floats with one axis of classes."""
    dims = given.shape
    return (
        bool(dims) and dims[0] == 3 and sum(d != 1 for d in dims[1:]) <= 1 and 0 not in dims and given.dtype.kind == "f"
    )
