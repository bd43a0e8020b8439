"""The graphs of a repository, each read once: a large one takes seconds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import onnx

from scripts.graph.load import load
from scripts.graph.walk import tensors
from scripts.host.errors import TaskFailure
from scripts.repository.versions import MODEL


@attrs.define
class Graphs:
    """Graphs by their files, without their weights: only names, types and shapes are looked at."""

    _read: dict[Path, onnx.ModelProto | TaskFailure] = attrs.field(factory=dict)

    def of(self, file: Path) -> onnx.ModelProto:
        """Return the graph in *file*.

        Raises:
            TaskFailure: If it is no complete ONNX model.
        """
        if file not in self._read:
            self._read[file] = _load(file)
        if isinstance(found := self._read[file], TaskFailure):
            raise found
        return found


def file_of(folder: Path, config: Mapping[str, Any]) -> Path:
    """Return the ONNX file that *config* serves of the version in *folder*."""
    file = folder / str(config.get("default_model_filename") or MODEL)
    # A model with weights in files of their own may be a folder.
    return file / MODEL if file.is_dir() else file


def _load(file: Path) -> onnx.ModelProto | TaskFailure:
    try:
        model = load(file)
    except TaskFailure as problem:
        return problem
    for tensor in tensors(model):
        tensor.ClearField("raw_data")
    return model
