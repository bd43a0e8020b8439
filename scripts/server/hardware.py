"""On what a server computes: its GPUs and their memory, and how exactly a model is computed there."""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from scripts.host.errors import TaskFailure
from scripts.repository.config_pbtxt import accelerators
from scripts.repository.gpu_pbtxt import GRAPH
from scripts.server.endpoint import Counters, Endpoint

CPU_ONLY = "CPU only: the server reports no GPU"
# Triton fills in the gauges of its GPUs every 2 s, and says 0 until then.
_GAUGES_S = 5.0
_POLL_S = 0.25
_TOTAL, _USED = "nv_gpu_memory_total_bytes", "nv_gpu_memory_used_bytes"


@attrs.frozen(kw_only=True)
class Runs:
    """How a server runs a model.

    Attributes:
        arithmetic: What a GPU multiplies its numbers in, ``"TF32"``, ``"FP16"`` or ``"FP32"``; None on a CPU.
        batching: Whether waiting requests share a run.
        gpu_graph: Whether it serves the versions' graphs for GPUs, which may also run on a CPU.
    """

    arithmetic: str | None
    batching: bool
    gpu_graph: bool


def runs(endpoint: Endpoint, model: str) -> Runs:
    """Ask the server how it runs *model*; where it does not tell its configuration, the GPUs that it has must do."""
    # Whoever answers there may answer anything; the checks that follow say so.
    with contextlib.suppress(TaskFailure, AttributeError, TypeError, ValueError):
        answer = endpoint.get(f"/v2/models/{model}/config")
        if answer.status == 200:
            return Runs(
                arithmetic=arithmetic(answer.body),
                batching="dynamic_batching" in answer.body,
                gpu_graph=answer.body.get("default_model_filename") == GRAPH,
            )
    gpus = True  # there may be one
    with contextlib.suppress(TaskFailure, ValueError):
        gpus = bool(endpoint.counters().samples(_TOTAL))
    return Runs(arithmetic="TF32" if gpus else None, batching=True, gpu_graph=gpus)


def arithmetic(config: Mapping[str, Any]) -> str | None:
    """Return what a GPU multiplies in under *config*, in which the server has filled in its defaults; None on a CPU."""
    if not any(group.get("kind") == "KIND_GPU" for group in config.get("instance_group", [])):
        return None
    found: dict[str, str] = {}
    for _, parameters in accelerators(config):
        found.update(parameters)
    if found.get("precision_mode", "").upper() == "FP16":
        return "FP16"
    return "FP32" if found.get("use_tf32") == "0" else "TF32"


def memory(
    endpoint: Endpoint, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> str:
    """Return how many GPUs the server has and how much of their memory is taken.

    Raises:
        TaskFailure: If the metrics cannot be read.
    """
    end = clock() + _GAUGES_S
    counters = endpoint.counters()
    while any(total == 0 for total in counters.samples(_TOTAL)) and clock() < end:
        sleep(_POLL_S)
        counters = endpoint.counters()
    return told(counters)


def told(counters: Counters) -> str:
    """Return what *counters* say of the GPUs and their memory, in words."""
    totals, used = counters.samples(_TOTAL), counters.samples(_USED)
    if not totals:
        return CPU_ONLY
    count = f"{len(totals)} GPU{'s' if len(totals) > 1 else ''}"
    if not all(totals) or len(used) != len(totals):
        return f"{count}; how much memory the server does not tell"
    each = (f"{taken / 2**30:.1f} of {total / 2**30:.1f} GiB" for taken, total in zip(used, totals, strict=True))
    return f"{count}, memory in use: {', '.join(each)}"
