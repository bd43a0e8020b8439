"""Read from a configuration for GPUs how a model is served there, and write into it what was found to be faster."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.graph.half import is_half
from scripts.graph.load import load
from scripts.host.errors import TaskFailure
from scripts.repository import config_pbtxt
from scripts.repository.config_pbtxt import accelerators
from scripts.repository.gpu_pbtxt import without_default
from scripts.repository.versions import MODEL, PackagedVersion
from scripts.tuning.choose import Candidate, Choice, Layout, Measured

CONFIG = Path("configs", "gpu.pbtxt")
_BEGIN, _END = "# --- written by invoke tune-gpu\n", "# --- end of what invoke tune-gpu wrote\n"
_BLOCK = re.compile(f"\n?{_BEGIN}.*?{_END}", re.DOTALL)
_COUNT = re.compile(r"(?m)^(instance_group\s*(?::\s*)?\[?\s*\{[^}]*?\bcount\s*:\s*)\d+")


def used(version: PackagedVersion) -> Candidate:
    """Return how *version* is served on GPUs.

    Raises:
        TaskFailure: If its model has no configuration for GPUs, or that cannot be read.
    """
    path = version.path.parent / CONFIG
    if not path.is_file():
        raise TaskFailure(
            f"{version.model} has no {CONFIG}, which says how GPUs serve it. Package a version of it with this version "
            f"of the tool, which writes one: invoke package-model --model {version.model}"
        )
    config = config_pbtxt.parse(path)
    graph = load(version.path / str(config.get("default_model_filename") or MODEL))
    counts = [int(group.get("count", 1)) for group in config.get("instance_group", [])]
    return Candidate(
        precision="fp16" if is_half(graph) else "fp32", layout=_layout(config), instances=max(counts, default=1)
    )


def write(path: Path, choice: Choice, measured: Sequence[Measured], *, gpu: str) -> None:
    """Write the best candidate of *choice* into the configuration at *path*, and what was *measured* as comments.

    Raises:
        TaskFailure: If the number of instances stands in no form that is known; the file is left as it is.
    """
    best = choice.best.candidate
    text = _BLOCK.sub("", path.read_text(encoding="utf-8"))
    text = _COUNT.sub(rf"\g<1>{best.instances}", without_default(text), count=1)
    has_nhwc = _layout(config_pbtxt.parse_text(text, where=str(path))) == "NHWC"
    lines = [f"# Images a second on {gpu} (the geometric mean counts):"]
    lines.extend(f"#   {one.candidate}: {_rates(one)}" for one in measured)
    block = "".join(f"{line}\n" for line in lines)
    if best.layout == "NHWC" and not has_nhwc:
        block += (
            "optimization { execution_accelerators { gpu_execution_accelerator {\n"
            '  name: "cuda" parameters { key: "prefer_nhwc" value: "1" }\n} } }\n'
        )
    if best.layout == "NCHW":
        text = re.sub(r'(?m)^((?!\s*#).*key:\s*"prefer_nhwc"\s*value:\s*)"1"', r'\1"0"', text)
    text = f"{text.rstrip()}\n\n{_BEGIN}{block}{_END}"
    config = config_pbtxt.parse_text(text, where=str(path))
    counts = [int(group.get("count", 1)) for group in config.get("instance_group", [])]
    if counts != [best.instances] or _layout(config) != best.layout:
        raise TaskFailure(
            f"{path} says the instances or the layout in a form that invoke tune-gpu does not know. Write it yourself: "
            f"{best.instances} in instance_group, prefer_nhwc {int(best.layout == 'NHWC')} under the accelerator cuda."
        )
    path.write_text(text, encoding="utf-8")


def _layout(config: Mapping[str, Any]) -> Layout:
    told = [given["prefer_nhwc"] for name, given in accelerators(config) if name == "cuda" and "prefer_nhwc" in given]
    return "NHWC" if told and told[-1] == "1" else "NCHW"


def _rates(one: Measured) -> str:
    return ", ".join(f"{rate:,.0f} by {callers}" for callers, rate in one.medians.items())
