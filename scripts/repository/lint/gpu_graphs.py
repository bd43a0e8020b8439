"""What bites in ``configs/gpu.pbtxt`` and the graphs that it serves."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from scripts.graph.buckets import sizes_of
from scripts.host.errors import TaskFailure
from scripts.repository import config_pbtxt
from scripts.repository.gpu_pbtxt import FILE
from scripts.repository.lint.backend import is_onnx
from scripts.repository.lint.finding import Finding, error, warning
from scripts.repository.lint.graphs import Graphs
from scripts.repository.lint.scheduling import max_batch
from scripts.repository.lint.version import read_graph
from scripts.repository.versions import is_version

# What clients see of a model: it may not depend on the machine that serves it.
_SEEN = ("name", "max_batch_size", "input", "output")


def check_gpu_graphs(
    folder: Path, versions: Mapping[int, Path], *, config: Mapping[str, Any], graphs: Graphs
) -> Iterator[Finding]:
    """Yield what is wrong in a model's configuration for GPUs, beside what is wrong in any configuration.

    Args:
        folder: The model's folder.
        versions: The folders of its versions.
        config: Its configuration for other machines.
        graphs: The graphs of the repository.
    """
    try:
        ours = config_pbtxt.parse(folder / FILE) if (folder / FILE).is_file() else None
    except TaskFailure:
        return  # said already
    if ours is None or not is_onnx(ours):
        return
    different = [field for field in _SEEN if ours.get(field) != config.get(field)]
    told = _for_clients(ours, versions) ^ _for_clients(config, versions)
    different += sorted({f"parameter {key!r}" for key, _ in told})
    if different:
        yield error(
            "gpu-config",
            f"{FILE} and config.pbtxt differ in {', '.join(different)}: clients would see another model on GPUs. Make "
            "them equal.",
        )
    for number, version in versions.items():
        model, findings = read_graph(version, ours, graphs)
        for finding in findings:
            yield attrs.evolve(finding, message=f"{FILE}: {finding.message}", version=number)
        if model is not None:
            for finding in _check_sizes(sizes_of(model), ours):
                yield attrs.evolve(finding, version=number)


def _for_clients(config: Mapping[str, Any], versions: Mapping[int, Path]) -> set[tuple[str, str]]:
    """Return the parameters that clients read, with their values: those for all, and those for one of *versions*."""
    found = set()
    for key, value in config.get("parameters", {}).items():
        end = key.rpartition(".")[2]
        if key.startswith("image.") and (not is_version(end) or int(end) in versions):
            found.add((key, str(value.get("string_value"))))
    return found


def _check_sizes(sizes: tuple[int, ...], config: Mapping[str, Any]) -> Iterator[Finding]:
    """Compare the batch sizes that a graph has branches for with those that will come."""
    if not sizes:
        return
    if sizes[-1] < max_batch(config):
        yield error(
            "buckets",
            f"The graph for GPUs has branches for batches of up to {sizes[-1]} images and max_batch_size is "
            f"{max_batch(config)}: larger batches fail. Lower max_batch_size in {FILE} and config.pbtxt, or package "
            "the version again.",
        )
    warm = {int(sample.get("batch_size", 0)) for sample in config.get("model_warmup", [])}
    if cold := [size for size in sizes if not any(_takes(size, sizes, other) for other in warm)]:
        yield warning(
            "warmup-buckets",
            f"No warm-up sample in {FILE} runs the branch for {', '.join(map(str, cold))} images: its first request "
            "waits for cuDNN to plan it. Add a sample of that batch_size.",
        )


def _takes(size: int, sizes: tuple[int, ...], batch: int) -> bool:
    """Return whether a batch of *batch* images runs the branch for *size*."""
    return next((one for one in sizes if one >= batch), 0) == size
