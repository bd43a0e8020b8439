"""What keeps a model from loading in its warmup, which runs before the server calls it ready."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.repository.lint.backend import is_onnx
from scripts.repository.lint.finding import Finding, error, warning
from scripts.repository.lint.scheduling import MAX_MESSAGE, max_batch, row_bytes, scheduler_tensors

# Triton looks for the files of samples here, in the model's folder.
_FOLDER = "warmup"
_DATA = ("zero_data", "random_data", "input_data_file")


def check_warmup(config: Mapping[str, Any], folder: Path) -> Iterator[Finding]:
    """Yield what is wrong with the samples of the model in *folder*."""
    samples = config.get("model_warmup", [])
    if not samples and is_onnx(config):
        yield warning(
            "warmup-missing",
            "There is no model_warmup: the version counts as ready before its first request, which is slow on a GPU, "
            "where cuDNN searches for kernels for each new shape. Add samples for batch 1 and for max_batch_size.",
        )
    tensors = {str(tensor.get("name", "")): tensor for tensor in config.get("input", [])}
    required = {name for name, tensor in tensors.items() if not tensor.get("optional")}
    allowed = set(tensors) | scheduler_tensors(config, "input")
    for sample in samples:
        name, size = sample.get("name", ""), int(sample.get("batch_size", 0))
        if size > max(max_batch(config), 1):
            yield error(
                "warmup-batch",
                f"The warmup sample {name!r} has batch_size {size}, above max_batch_size {max_batch(config)}: the "
                "model does not load. Lower it.",
            )
        inputs = sample.get("inputs", {})
        if not required <= set(inputs) <= allowed:
            yield error(
                "warmup-input",
                f"The warmup sample {name!r} has the inputs {_names(inputs)}, the model {_names(required)}: the model "
                "does not load. Name every input of the model.",
            )
        for key, data in inputs.items():
            if problem := _problem(data, tensors.get(key), size, folder):
                yield error(
                    "warmup-data",
                    f"The input {key!r} of the warmup sample {name!r} {problem}: the model does not load. Correct it.",
                )


def _problem(data: Mapping[str, Any], tensor: Mapping[str, Any] | None, size: int, folder: Path) -> str | None:
    """Return what is wrong with the *data* of one input, *tensor*, in a batch of *size* images."""
    if not any(data.get(kind) for kind in _DATA):
        return f"has none of {', '.join(_DATA)}"
    if (file := data.get("input_data_file")) and not (folder / _FOLDER / str(file)).is_file():
        return f"is to be read from {_FOLDER}/{file}, which is missing"
    dims = [int(dim) for dim in data.get("dims", [])]
    if any(dim < 1 for dim in dims):
        return f"has the dims {dims}, but a sample must say each size"
    if row_bytes(data) * max(size, 1) > MAX_MESSAGE:
        return f"is {row_bytes(data) * size / 2**30:,.0f} GiB of data, which ends the server or its memory"
    if tensor is None:
        return None
    if data.get("data_type") != tensor.get("data_type"):
        return f"has the type {data.get('data_type', 'TYPE_INVALID')}, the model's has {tensor.get('data_type')}"
    wanted = [int(dim) for dim in tensor.get("dims", [])]
    fits = len(dims) == len(wanted) and all(want in (-1, dim) for dim, want in zip(dims, wanted, strict=True))
    return None if fits else f"has the dims {dims}, the model's has {wanted}"


def _names(names: Any) -> str:
    return ", ".join(repr(name) for name in sorted(names, key=str)) or "none"
