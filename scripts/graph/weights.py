"""Write graphs that share their weights: each graph a small file, the weights once in a file beside them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

# A reference takes about 80 bytes in each graph.
_LEAST = 256
# Kernels read vectors of this many bytes at once.
_ALIGNMENT = 64


def save_together(models: Mapping[str, onnx.ModelProto], folder: Path, *, weights: str) -> None:
    """Write *models* into *folder* under their names, and what they hold in weights into the file *weights* there.

    Equal weights are written once, whatever their names are. The models themselves stay as they are.
    """
    places: dict[bytes, int] = {}
    with (folder / weights).open("wb") as file:
        for name, model in models.items():
            light = _without_initializers(model)
            for tensor in model.graph.initializer:
                kept = light.graph.initializer.add()
                content = _content(tensor)
                if content is None or len(content) < _LEAST:
                    kept.CopyFrom(tensor)
                    continue
                digest = hashlib.sha256(content).digest()
                if digest not in places:
                    file.write(bytes(-file.tell() % _ALIGNMENT))
                    places[digest] = file.tell()
                    file.write(content)
                kept.name, kept.data_type = tensor.name, tensor.data_type
                kept.dims.extend(tensor.dims)
                kept.data_location = TensorProto.EXTERNAL
                for key, value in (("location", weights), ("offset", places[digest]), ("length", len(content))):
                    kept.external_data.add(key=key, value=str(value))
            (folder / name).write_bytes(light.SerializeToString(deterministic=True))


def _without_initializers(model: onnx.ModelProto) -> onnx.ModelProto:
    light = onnx.ModelProto()
    for field, value in model.ListFields():
        if field.name != "graph":
            part = onnx.ModelProto(**{field.name: value})
            light.MergeFrom(part)
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            light.graph.MergeFrom(onnx.GraphProto(**{field.name: value}))
    return light


def _content(tensor: TensorProto) -> bytes | None:
    """Return the bytes of *tensor* as a file of weights holds them; None for strings, which it cannot hold."""
    if tensor.data_type == TensorProto.STRING:
        return None
    if tensor.HasField("raw_data"):
        return tensor.raw_data
    return numpy_helper.from_array(np.asarray(numpy_helper.to_array(tensor))).raw_data
