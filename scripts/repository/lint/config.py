"""What bites in a ``config.pbtxt`` taken by itself."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.repository import config_pbtxt
from scripts.repository.lint.backend import check_backend, is_onnx
from scripts.repository.lint.finding import Finding, error, warning
from scripts.repository.lint.scheduling import check_scheduling, max_batch
from scripts.repository.lint.warmup import check_warmup
from scripts.repository.versions import is_sane_name, version_folders
from triton_sdk.contract import ModelContract
from triton_sdk.errors import ContractError


def check_config(
    config: Mapping[str, Any], *, text: str, folder: Path, versions: tuple[int, ...], for_gpus: bool = False
) -> Iterator[Finding]:
    """Yield what is wrong in a configuration.

    Args:
        config: The parsed configuration.
        text: The same as it stands in the file: only there a field left out differs from one set to zero.
        folder: The model's folder.
        versions: The model's versions.
        for_gpus: Whether only servers with GPUs use it.
    """
    yield from _check_name(config, folder.name)
    yield from _check_completeness(config, text)
    yield from check_backend(config, folder, version_folders(folder))
    yield from _check_tensors(config)
    yield from check_scheduling(config, for_gpus=for_gpus)
    yield from _check_version_policy(config, versions)
    yield from check_warmup(config, folder)
    try:
        ModelContract.from_config(config)
    except ContractError as problem:
        yield warning("not-a-classifier", f"Triton may serve it, but the client of this project refuses it: {problem}")


def _check_name(config: Mapping[str, Any], folder: str) -> Iterator[Finding]:
    name = config.get("name", folder)
    if name != folder:
        yield error(
            "config-name",
            f"The configuration is named {name!r}, the folder {folder!r}: Triton refuses the model. Make them equal.",
        )
    if not is_sane_name(folder):
        # A blank makes the Python backend's child process abort; the rest is served, and hard to ask for.
        yield (error if re.search(r"\s", folder) else warning)(
            "model-name",
            f"The name {folder!r} does not pass unquoted through URLs, metrics and the server's own child processes. "
            "Use letters, digits, '_', '-' and '.', at most 64, beginning with a letter or digit.",
        )


def _check_completeness(config: Mapping[str, Any], text: str) -> Iterator[Finding]:
    missing = [field for field in ("input", "output") if not config.get(field)]
    if not config.get("backend") and not config.get("platform"):
        missing.insert(0, "backend")
    if missing:
        yield error(
            "config-incomplete",
            f"The configuration lacks {', '.join(missing)}: with --disable-auto-complete-config Triton refuses the "
            "model, without it Triton guesses. Write them down.",
        )
    if is_onnx(config) and not config_pbtxt.states(text, "max_batch_size"):
        makes = "makes it 4 and turns dynamic batching on" if missing else "means 0: requests carry no batch axis"
        yield warning(
            "max-batch-omitted", f"max_batch_size is left out, which {makes}. Write the number that you want."
        )


def _check_tensors(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what Triton's own validation refuses in the inputs and outputs, before any backend sees them."""
    if max_batch(config) < 0:
        yield error("tensor", f"max_batch_size is {max_batch(config)}: Triton refuses the model. Write 0 or more.")
    for side in ("input", "output"):
        for tensor in config.get(side, []):
            name, dims = tensor.get("name", ""), [int(dim) for dim in tensor.get("dims", [])]
            problems = []
            if not name or tensor.get("data_type", "TYPE_INVALID") == "TYPE_INVALID" or not dims:
                problems.append("lacks name, data_type or dims")
            if any(dim < 1 and dim != -1 for dim in dims):
                problems.append(f"has the dims {dims}, but each must be at least 1, or -1 for any")
            if tensor.get("format", "FORMAT_NONE") != "FORMAT_NONE" and len(dims) != 3:
                problems.append(f"has a format and {len(dims)} dims, but a format takes 3: leave the format out")
            if "reshape" in tensor and -1 not in dims and math.prod(dims) != math.prod(_reshaped(tensor)):
                problems.append(
                    f"is reshaped from {dims} to {_reshaped(tensor)}, which hold different numbers of values"
                )
            problems += [
                f"says {field}, which only TensorRT's own models can"
                for field in ("is_shape_tensor", "is_non_linear_format_io")
                if tensor.get(field) and is_onnx(config)
            ]
            for problem in problems:
                yield error("tensor", f"The {side} {name!r} {problem}: Triton refuses the model. Correct it.")


def _reshaped(tensor: Mapping[str, Any]) -> list[int]:
    return [int(dim) for dim in tensor["reshape"].get("shape", [])]


def _check_version_policy(config: Mapping[str, Any], versions: tuple[int, ...]) -> Iterator[Finding]:
    policy = config.get("version_policy", {})
    if "all" in policy:
        return
    if "specific" in policy:
        wanted = {int(number) for number in policy["specific"].get("versions", [])}
        absent, unserved = sorted(wanted - set(versions)), sorted(set(versions) - wanted)
        if absent:
            yield error(
                "version-policy",
                f"version_policy asks for {_numbers(absent)}, which is not there: Triton logs an error and serves the "
                "rest. Package it, or take it out.",
            )
    else:
        served = int(policy["latest"].get("num_versions", 0)) if "latest" in policy else 1
        unserved = sorted(versions)[: max(len(versions) - served, 0)]
    if versions and not set(versions) - set(unserved):
        yield error(
            "version-policy",
            "version_policy allows none of the versions: Triton refuses the model. Write version_policy { all { } }.",
        )
    elif unserved:
        why = "" if policy else ", because the default policy is latest { num_versions: 1 }"
        yield warning(
            "version-policy",
            f"Triton will not serve {_numbers(unserved)}{why}. If it should: version_policy {{ all {{ }} }}.",
        )


def _numbers(versions: list[int]) -> str:
    return f"version{'s' if len(versions) > 1 else ''} {', '.join(map(str, versions))}"
