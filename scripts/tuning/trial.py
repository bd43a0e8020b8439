"""Measure ways of serving a model: each on a local Triton of its own, in a folder of its own, with buckets."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import onnx

from scripts.graph.buckets import bucketed, sizes_up_to
from scripts.graph.half import to_half
from scripts.graph.load import load
from scripts.host import temporary
from scripts.repository import config_pbtxt, golden
from scripts.repository.versions import CONFIG, MODEL, PackagedVersion
from scripts.server.load import turn
from scripts.tuning.choose import Candidate, Measured, to_try
from triton_sdk import ResNetClient
from triton_sdk.local import LocalTriton

Kind = Literal["KIND_GPU", "KIND_CPU"]
Progress = Callable[[str], None]
# In FP16 the first runs of all sizes took 14 s for each instance on an H100.
_START_S = 300.0
_CALL_S = 60.0


@attrs.frozen(kw_only=True)
class Length:
    """How long is measured.

    Attributes:
        callers: Numbers of callers, each of single images.
        rounds: How often each has its turn.
        seconds: How long a turn lasts.
    """

    callers: Sequence[int] = (1, 16, 64)
    rounds: int = 3
    seconds: float = 1.0


def measure_all(
    version: PackagedVersion, *, used: Candidate, kind: Kind, length: Length, progress: Progress
) -> list[Measured]:
    """Measure the ways of serving *version* that may be the fastest, the one in use first.

    Args:
        version: The version; its ``model.onnx`` is the plain graph in FP32.
        used: The way in use.
        kind: What the instances run on.
        length: How long is measured.
        progress: Takes a line for each.

    Raises:
        TaskFailure: If the graph cannot have buckets, or cannot be computed in half precision.
        LocalServerError: If no server can be started.
    """
    found: list[Measured] = []
    plain = load(version.path / MODEL)
    while (candidate := to_try(found, used=used)) is not None:
        with temporary.folder("tune") as repository:
            write_trial(version, plain, candidate, kind=kind, repository=repository)
            measured = _measure(repository, version.model, candidate, kind=kind, length=length)
        rates = ", ".join(f"{rate:,.0f}" for rate in measured.medians.values())
        progress(f"{candidate}: {rates} images/s by {', '.join(map(str, length.callers))} callers")
        found.append(measured)
    return found


def write_trial(
    version: PackagedVersion, plain: onnx.ModelProto, candidate: Candidate, *, kind: Kind, repository: Path
) -> None:
    """Write a repository that serves the graph *plain* of *version* as *candidate* says."""
    model = repository / version.model
    (model / "1").mkdir(parents=True)
    original = version.path.parent
    config = config_pbtxt.parse(original / CONFIG)
    for output in config["output"]:
        if label := output.get("label_filename"):
            shutil.copy(original / label, model / label)
    sizes = sizes_up_to(max(int(config.get("max_batch_size", 0)), 2))
    graph = to_half(plain) if candidate.precision == "fp16" else plain
    onnx.save(bucketed(graph, sizes), model / "1" / MODEL)
    text = (original / CONFIG).read_text(encoding="utf-8")
    fields = _fields(config, candidate, kind, sizes)
    (model / CONFIG).write_text(config_pbtxt.changed(text, fields), encoding="utf-8")


def _fields(config: Mapping[str, Any], candidate: Candidate, kind: Kind, sizes: Sequence[int]) -> dict[str, Any]:
    tensor = config["input"][0]
    pixels = {"data_type": tensor["data_type"], "dims": tensor["dims"], "random_data": True}
    cuda = {"name": "cuda", "parameters": {"prefer_nhwc": "1"}}
    accelerators = {"execution_accelerators": {"gpu_execution_accelerator": [cuda]}}
    return {
        "default_model_filename": MODEL,
        "version_policy": {"all": {}},
        "max_batch_size": sizes[-1],
        "dynamic_batching": {"max_queue_delay_microseconds": "0"},
        "instance_group": [{"count": candidate.instances, "kind": kind}],
        "optimization": accelerators if candidate.layout == "NHWC" else {},
        "parameters": {**config.get("parameters", {}), "cudnn_conv_algo_search": {"string_value": "1"}},
        "model_warmup": [
            {"name": f"batch of {size}", "batch_size": size, "inputs": {tensor["name"]: pixels}} for size in sizes
        ],
    }


def _measure(repository: Path, model: str, candidate: Candidate, *, kind: Kind, length: Length) -> Measured:
    rates: dict[int, list[float]] = {callers: [] for callers in length.callers}
    with (
        LocalTriton(repository, gpu=kind == "KIND_GPU", start_timeout=_START_S) as server,
        ResNetClient(server.grpc_url, model=model, timeout=_CALL_S) as client,
    ):
        image = golden.pictures(client.contract(), 1)
        for _ in range(length.rounds):
            for callers in length.callers:
                images, seconds = turn(lambda: client.infer(image), callers, length.seconds)
                rates[callers].append(images / seconds)
    return Measured(candidate=candidate, images_s=rates)
