"""What bites on GPUs: options that are ignored or refused there, graphs that are slow, and images that are too old."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from scripts.graph.buckets import sizes_of
from scripts.host.errors import TaskFailure
from scripts.repository.config_pbtxt import accelerators
from scripts.repository.lint.finding import Finding, error, warning
from scripts.repository.lint.graphs import Graphs, file_of
from scripts.repository.versions import version_folders

# A model's configuration for GPUs: configs/gpu.pbtxt, which `--model-config-name=gpu` chooses.
GPU_CONFIG = "gpu"
# The oldest release for production: with it came the batcher that does not starve beside a bounded queue (core#509),
# and a server that a model's exception or an idle S3 connection does not end (server#8768).
OLDEST = (26, 8)
_RELEASE = re.compile(r"tritonserver:(\d\d)\.(\d\d)\b")
# What Triton takes from `parameters` alone, as numbers, as soon as a configuration has any parameter (server#8808).
_NUMBERED = {"cudnn_conv_algo_search": (0, 1, 2), "arena_extend_strategy": (0, 1)}
_OVERWRITTEN = (*_NUMBERED, "gpu_mem_limit", "do_copy_in_default_stream")


def check_gpu(
    config: Mapping[str, Any], *, name: str, versions: Mapping[int, Path], graphs: Graphs
) -> Iterator[Finding]:
    """Yield what bites on a GPU in a configuration that is meant for one; nothing for others.

    Args:
        config: The parsed configuration.
        name: Stem of its file: ``"config"``, ``"gpu"``.
        versions: The model's version folders, by number.
        graphs: Their graphs.
    """
    if not _is_for_gpus(config, name):
        return
    yield from _check_parameters(config)
    yield from _check_accelerators(config)
    yield from _check_graphs(config, versions, graphs)


def check_engine_names(configs: Mapping[str, Mapping[str, Any]], repository: Path, graphs: Graphs) -> Iterator[Finding]:
    """Yield the versions in *repository* whose engines TensorRT cannot tell apart, *configs* being each model's."""
    named: dict[str, set[str]] = {}
    cached = False
    for model, config in configs.items():
        tensorrt = dict(accelerators(config)).get("tensorrt")
        if tensorrt is None:
            continue
        cached = cached or tensorrt.get("trt_engine_cache_enable", "").lower() in ("1", "true")
        for version, folder in version_folders(repository / model).items():
            if graph := _graph(config, folder, graphs):
                named.setdefault(graph.name, set()).add(f"{model} version {version}")
    for name, users in sorted(named.items()):
        if len(users) > 1:
            message = (
                f"The graphs of {', '.join(sorted(users))} are all named {name!r}: TensorRT's engine cache knows an "
                "engine by that name and not by its weights: one may answer with the engine of another. Package "
                "them again, which names each graph after its weights, or switch trt_engine_cache_enable off."
            )
            yield (error if cached else warning)("engine-names", message)


def check_sharing(configs: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield the models that have more instances than models that share a GPU should; *configs* are those on GPUs."""
    for model, config in configs.items() if len(configs) > 1 else ():
        count = max((int(group.get("count", 1)) for group in config.get("instance_group", [])), default=1)
        if count > 1:
            yield attrs.evolve(
                warning(
                    "instances-shared",
                    f"It has {count} instances on a GPU, which {len(configs)} models of this repository share: when "
                    "two were busy at once, 1 of each gave the most (docs/gpu.md). Write count: 1 in its "
                    "instance_group, unless the models are never busy together.",
                ),
                model=model,
            )


def check_base(image: str) -> Iterator[Finding]:
    """Yield what is wrong with building on *image*, ``NAME:TAG`` or ``NAME:TAG@sha256:DIGEST``."""
    found = _RELEASE.search(image)
    if found and (int(found[1]), int(found[2])) < OLDEST:
        oldest = ".".join(f"{part:02}" for part in OLDEST)
        yield error(
            "base-image",
            f"The base image {image} is older than {oldest}, the oldest release for production: before it, requests "
            "can starve beside a bounded queue, and a model's exception can end the server. Build on "
            f"{_RELEASE.sub(f'tritonserver:{oldest}', image.partition('@')[0])} (--base or TRITON_BASE_IMAGE).",
        )


def _is_for_gpus(config: Mapping[str, Any], name: str) -> bool:
    kinds = {group.get("kind") for group in config.get("instance_group", [])}
    return (
        name == GPU_CONFIG
        or "KIND_GPU" in kinds
        or any(True for _ in accelerators(config))
        or any(key in _parameters(config) for key in _OVERWRITTEN)
    )


def _check_parameters(config: Mapping[str, Any]) -> Iterator[Finding]:
    for key, known in _NUMBERED.items():
        value = _parameters(config).get(key)
        if value is not None and value not in map(str, known):
            yield error(
                "gpu-parameter",
                f"The parameter {key} is {value!r}: Triton takes a number there, {', '.join(map(str, known))}, and "
                f"refuses the model on a GPU.{_meaning(key)}",
            )
    limit = _parameters(config).get("gpu_mem_limit", "0")
    if not (limit.isascii() and limit.isdigit()):
        yield error(
            "gpu-parameter",
            f"The parameter gpu_mem_limit is {limit!r}: Triton takes a number of bytes there, and refuses the model on "
            'a GPU. Write one, such as "2147483648" for 2 GiB.',
        )


def _meaning(key: str) -> str:
    if key == "cudnn_conv_algo_search":
        return ' 0 is EXHAUSTIVE, 1 HEURISTIC and 2 DEFAULT; write "1".'
    return " 0 grows by powers of two, 1 by what is asked for."


def _check_accelerators(config: Mapping[str, Any]) -> Iterator[Finding]:
    for name, parameters in accelerators(config):
        overwritten = [key for key in _OVERWRITTEN if key in parameters] if name == "cuda" else []
        if overwritten and _parameters(config):
            yield warning(
                "accelerator-overwritten",
                f"The accelerator cuda sets {', '.join(overwritten)}, and Triton overwrites that, because "
                "the configuration has parameters: only what stands in `parameters` counts. Move it there, as in "
                'parameters { key: "cudnn_conv_algo_search" value { string_value: "1" } }.',
            )
        precision = str(parameters.get("precision_mode", "FP32"))
        if name == "tensorrt" and precision != "FP32":
            yield warning(
                "precision-mode",
                f"precision_mode is {precision}: from Triton 26.06 on, TensorRT 11 takes the precision from the "
                "graph's types, and the engine stays FP32 without a word. Package the model with --gpu-precision "
                "fp16, and leave precision_mode out.",
            )


def _check_graphs(config: Mapping[str, Any], versions: Mapping[int, Path], graphs: Graphs) -> Iterator[Finding]:
    if "dynamic_batching" not in config or int(config.get("max_batch_size", 0)) < 2:
        return
    if "tensorrt" in dict(accelerators(config)):
        return  # it plans once for a range of sizes
    found = {number: _graph(config, folder, graphs) for number, folder in versions.items()}
    plain = [number for number, graph in found.items() if graph and not graph.buckets]
    if plain:
        yield warning(
            "plain-on-gpu",
            f"dynamic_batching is on, and the graph of version {', '.join(map(str, plain))} has no buckets: ONNX "
            "Runtime plans every convolution again whenever the size of a batch changes. A GPU is then "
            "slower than without batching (25 images/s instead of 619 with 4 callers on an H100). Package the model "
            f"again, which writes a graph with buckets and configs/{GPU_CONFIG}.pbtxt, or remove dynamic_batching.",
        )


@attrs.frozen
class _Graph:
    name: str
    buckets: tuple[int, ...]


def _graph(config: Mapping[str, Any], folder: Path, graphs: Graphs) -> _Graph | None:
    """Return what is to be known of a version's graph; None where it cannot be read."""
    try:
        model = graphs.of(file_of(folder, config))
    except TaskFailure:
        return None  # said elsewhere
    return _Graph(model.graph.name, sizes_of(model))


def _parameters(config: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value.get("string_value", "")) for key, value in config.get("parameters", {}).items()}
