"""Run an ONNX model by onnxruntime on the CPU, without noise and without a word to anyone."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from scripts.host.errors import TaskFailure, first_line

# onnxruntime 1.32 opens its telemetry database when it is imported and a connection 9 s later; its own
# disable_telemetry_events() came too late for both in a trial. Only this variable, set before the import, stops them.
os.putenv("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

# Of the module: the package may be onnxruntime-gpu.
VERSION: str = onnxruntime.__version__

# Failures come back as exceptions; the log would only repeat them on the terminal.
_ONLY_FATAL = 4
onnxruntime.set_default_logger_severity(_ONLY_FATAL)


class Session:
    """A loaded model.

    Args:
        model: The model, or the file that holds it.
        optimise: Whether onnxruntime may fuse and fold nodes first; turn it off for a graph that runs only once.

    Raises:
        TaskFailure: If onnxruntime cannot load the model.
    """

    def __init__(self, model: onnx.ModelProto | Path, *, optimise: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ONLY_FATAL
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            source = str(model) if isinstance(model, Path) else model.SerializeToString()
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes share no base below Exception
            raise TaskFailure(
                f"onnxruntime {onnxruntime.__version__} cannot load the model: {first_line(error)}. "
                "Export it again, for an operator set that this onnxruntime knows."
            ) from error

    def outputs(self, feeds: Mapping[str, NDArray[Any]], *, names: Sequence[str] | None = None) -> list[NDArray[Any]]:
        """Return the outputs called *names*, or all of them, for the inputs *feeds*.

        Raises:
            TaskFailure: If the model fails on these inputs.
        """
        try:
            return list(self._session.run(names, dict(feeds)))
        except Exception as error:  # as above
            shapes = ", ".join(f"{name} {value.dtype} {value.shape}" for name, value in feeds.items())
            raise TaskFailure(f"onnxruntime cannot run the model on {shapes}: {first_line(error)}.") from error

    def declared(self) -> dict[str, tuple[int, list[int | str | None]]]:
        """Return the ONNX element type and the shape of each output that is a tensor, as onnxruntime infers them."""
        tensors = [output for output in self._session.get_outputs() if output.type.startswith("tensor(")]
        kinds = [output.type.removeprefix("tensor(").removesuffix(")").upper() for output in tensors]
        return {
            output.name: (onnx.TensorProto.DataType.Value(kind), output.shape)
            for output, kind in zip(tensors, kinds, strict=True)
        }

    def scores(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return the first output for *batch*, given to the one input that is no initializer: FP32 ``(n, classes)``.

        Raises:
            TaskFailure: If the model fails on it.
        """
        output = self.outputs({self._session.get_inputs()[0].name: batch})[0]
        return np.asarray(output, np.float32).reshape(len(output), -1)

    def alone(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return what `scores` gives for each image of *batch* alone in its batch: FP32 ``(n, classes)``."""
        return np.concatenate([self.scores(batch[i : i + 1]) for i in range(len(batch))])
