"""``configs/gpu.pbtxt``, where it differs from ``config.pbtxt``: how NVIDIA Triton serves a model on GPUs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.host.errors import TaskFailure
from scripts.repository import config_pbtxt
from scripts.repository.versions import CONFIG, version_folders
from triton_sdk.contract import ModelContract

# Within a model's folder. A server started with --model-config-name=gpu reads it in the place of config.pbtxt.
FILE = "configs/gpu.pbtxt"
# Of each version: the graph for GPUs beside model.onnx.
GRAPH = "model.gpu.onnx"

_GRAPH = """\

# This file is for GPUs: a server started with --model-config-name=gpu reads it instead of ../config.pbtxt, and each
# version's graph for GPUs instead of model.onnx.
default_model_filename: "{graph}"

# Without this line only the highest version is served.
version_policy {{ all {{ }} }}

# The count is for each GPU and each version, and every instance holds its own copy of the weights. Where one model has
# the GPU to itself and callers are many, 2 gave 1.1 to 1.9 times the throughput of 1; where two models were busy at
# once, 1 of each was best; 3 lost everywhere (docs/gpu.md). Packaging keeps a count that stands here by default: write
# another one, or take the comment away, and it stays as it is.
{instances}
"""

# How many instances a model has by default, by whether it is the only one of its repository that GPUs serve.
_ALONE = "instance_group [ { count: 2 } ]  # by default, for one model that has the GPU to itself"
_SHARED = "instance_group [ { count: 1 } ]  # by default, for models that share the GPU"

_BATCHING = """
dynamic_batching {{
  # Take what is queued and wait for nothing: a delay of 1 ms gained nothing on an H100. The graph has a branch of
  # constant shapes for batches of up to {sizes} images: without them ONNX Runtime plans every
  # convolution again whenever the size of the batch changes, which took 25 to 460 times as long as the run itself.
  max_queue_delay_microseconds: 0
  # No default_queue_policy: with any bound on the queue Triton makes no batch ready while another one runs.
}}
"""

_NO_BATCHING = """
# No dynamic_batching: the graph has no branches of constant shapes (invoke package-model said why). ONNX Runtime
# therefore plans every convolution again whenever the size of the batch changes. Without batching a GPU is faster.
"""

_OPTIONS = """
# cuDNN's quick search for kernels (1 is HEURISTIC); the default is EXHAUSTIVE. It has to stand in parameters: if a
# configuration has any, Triton overwrites the value that the "cuda" accelerator is given.
parameters { key: "cudnn_conv_algo_search" value { string_value: "1" } }

# What else ONNX Runtime can do on a GPU; measure before taking it over. prefer_nhwc paid with FP16; use_tf32 0 makes
# FP32 twice as slow and as exact as on a CPU.
# optimization { execution_accelerators { gpu_execution_accelerator : [ {
#   name: "cuda"
#   parameters { key: "prefer_nhwc" value: "1" }
#   parameters { key: "use_tf32" value: "0" }
# } ] } }

# The version is not ready before each branch has answered once: that is when it is planned.
"""

_SAMPLE = """\
  {{
    name: "{images}"
    batch_size: {size}
    inputs {{
      key: "{input.name}"
      value {{ data_type: TYPE_{input.dtype} dims: [ {dims} ] random_data: true }}
    }}
  }}"""

_TAIL = """\

# Photographs hardly ever repeat byte for byte: a cache would only cost memory.
response_cache { enable: false }

# For the client, as in ../config.pbtxt.
"""


def render(contract: ModelContract, sizes: Sequence[int], *, alone: bool) -> str:
    """Return the text of a complete ``configs/gpu.pbtxt``.

    Args:
        contract: What the model takes and gives.
        sizes: The batch sizes that its graph has branches for; none where it is plain.
        alone: Whether no other model of the repository is served by GPUs.
    """
    first = (_BATCHING if sizes else _NO_BATCHING).format(sizes=", ".join(map(str, sizes)))
    dims = ", ".join(map(str, contract.input.shape))
    samples = [
        _SAMPLE.format(
            images="one image" if size == 1 else f"{size} images", size=size, input=contract.input, dims=dims
        )
        for size in (sizes or sorted({1, contract.max_batch}))
    ]
    warmup = ",\n".join(samples)
    graph = _GRAPH.format(graph=GRAPH, instances=_ALONE if alone else _SHARED)
    serving = f"{graph}{first}{_OPTIONS}model_warmup [\n{warmup}\n]\n{_TAIL}"
    return config_pbtxt.render(contract, serving=serving)


def with_instances(text: str, *, alone: bool) -> str:
    """Return the text of a configuration with another count of instances, if it has the one that it got by default.

    Args:
        text: A ``configs/gpu.pbtxt``, whoever wrote it.
        alone: Whether no other model of the repository is served by GPUs.
    """
    old, new = (_SHARED, _ALONE) if alone else (_ALONE, _SHARED)
    return "".join(line.replace(old, new) if line.rstrip("\r\n") == old else line for line in text.splitlines(True))


def without_default(text: str) -> str:
    """Return the text of a configuration so that packaging takes its count of instances for somebody's own."""
    for line in (_ALONE, _SHARED):
        text = text.replace(line, line.partition("  #")[0])
    return text


def config_for_gpus(folder: Path) -> Mapping[str, Any]:
    """Return the configuration by which GPUs serve the model in *folder*; empty where it cannot be read."""
    try:
        return config_pbtxt.parse(folder / FILE if (folder / FILE).is_file() else folder / CONFIG)
    except TaskFailure:
        return {}


def on_gpus(repository: Path) -> list[Path]:
    """Return the folders of the models in *repository* that a server with GPUs serves on them, by name."""
    folders = sorted(path for path in repository.iterdir() if version_folders(path)) if repository.is_dir() else []
    return [folder for folder in folders if uses_gpus(config_for_gpus(folder))]


def uses_gpus(config: Mapping[str, Any]) -> bool:
    """Say whether a model with this configuration runs on GPUs where there are any."""
    groups: Sequence[Mapping[str, Any]] = config.get("instance_group") or ({},)
    return bool(config) and any(group.get("kind", "KIND_AUTO") != "KIND_CPU" for group in groups)
