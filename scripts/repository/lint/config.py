"""What bites in a ``config.pbtxt`` taken by itself."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from scripts.repository import config_pbtxt
from scripts.repository.lint.finding import Finding, error, warning
from scripts.repository.versions import is_sane_name
from triton_sdk.contract import ModelContract
from triton_sdk.errors import ContractError

# Each of them turns off that Triton makes a batch ready while another one runs.
_QUEUE_BOUNDS = ("max_queue_size", "default_timeout_microseconds", "allow_timeout_override")


def check_config(
    config: Mapping[str, Any], *, text: str, folder: str, versions: tuple[int, ...], for_gpus: bool = False
) -> Iterator[Finding]:
    """Yield what is wrong in a configuration.

    Args:
        config: The parsed configuration.
        text: The same as it stands in the file: only there a field left out differs from one set to zero.
        folder: Name of the model's folder.
        versions: The model's version folders.
        for_gpus: Whether only servers with GPUs use it.
    """
    yield from _check_name(config, folder)
    yield from _check_completeness(config, text)
    yield from _check_tensors(config)
    yield from _check_batching(config)
    yield from _check_version_policy(config, versions)
    if not for_gpus:
        yield from _check_instances(config)
    yield from _check_warmup(config)
    if config.get("response_cache", {}).get("enable"):
        yield warning(
            "response-cache",
            "The response cache is on: it works only where the server runs with --cache-config, and photographs "
            "hardly ever repeat byte for byte. Remove response_cache.",
        )
    try:
        ModelContract.from_config(config)
    except ContractError as problem:
        yield warning("not-a-classifier", f"Triton may serve it, but the client of this project refuses it: {problem}")


def max_batch(config: Mapping[str, Any]) -> int:
    """Return most images in one request; 0 where requests carry no batch axis."""
    return int(config.get("max_batch_size", 0))


def is_onnx(config: Mapping[str, Any]) -> bool:
    """Return whether the model is for the ONNX Runtime backend."""
    return config.get("backend") == "onnxruntime" or config.get("platform") == "onnxruntime_onnx"


def scheduler_tensors(config: Mapping[str, Any], side: Literal["input", "output"]) -> set[str]:
    """Return the tensors that the server itself feeds to the graph or takes from it: no request carries them."""
    sequence = config.get("sequence_batching", {})
    names = {str(tensor.get(f"{side}_name", "")) for tensor in sequence.get("state", [])}
    if side == "input":
        names |= {str(control.get("name", "")) for control in sequence.get("control_input", [])}
    names |= {str(name) for tensor in config.get(f"batch_{side}", []) for name in tensor.get("target_name", [])}
    return names


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
                problems.append(f"has the dims {dims}, where each is at least 1, or -1 for any")
            if tensor.get("format", "FORMAT_NONE") != "FORMAT_NONE" and len(dims) != 3:
                problems.append(f"has a format and {len(dims)} dims, where a format takes 3: leave the format out")
            if "reshape" in tensor and -1 not in dims and math.prod(dims) != math.prod(_reshaped(tensor)):
                problems.append(
                    f"is reshaped from {dims} to {_reshaped(tensor)}, which hold different numbers of values"
                )
            for problem in problems:
                yield error("tensor", f"The {side} {name!r} {problem}: Triton refuses the model. Correct it.")


def _reshaped(tensor: Mapping[str, Any]) -> list[int]:
    return [int(dim) for dim in tensor["reshape"].get("shape", [])]


def _check_batching(config: Mapping[str, Any]) -> Iterator[Finding]:
    limit = max_batch(config)
    batching = config.get("dynamic_batching", {})
    preferred = [int(size) for size in batching.get("preferred_batch_size", [])]
    above = [size for size in preferred if size > limit]
    if above:
        yield error(
            "preferred-batch-size",
            f"preferred_batch_size {', '.join(map(str, above))} is above max_batch_size {limit}: Triton refuses the "
            "model. Lower it, or leave it out: without it the server takes whatever is queued.",
        )
    policy = batching.get("default_queue_policy", {})
    bounds = [field for field in _QUEUE_BOUNDS if policy.get(field, "0") not in ("0", 0, False)]
    if bounds or batching.get("priority_levels"):
        yield warning(
            "bounded-queue",
            f"dynamic_batching sets {', '.join(bounds) or 'priority_levels'}: Triton then makes no batch ready "
            "while another one runs, and 24.10 lets a request wait for up to half a second beside an idle model. Leave "
            "it out unless requests must be refused under load.",
        )


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
        served = int(policy.get("latest", {}).get("num_versions", 1))
        unserved = sorted(versions)[: max(len(versions) - served, 0)]
    if unserved:
        why = "" if policy else ", because the default policy is latest { num_versions: 1 }"
        yield warning(
            "version-policy",
            f"Triton will not serve {_numbers(unserved)}{why}. If it should: version_policy {{ all {{ }} }}.",
        )


def _check_instances(config: Mapping[str, Any]) -> Iterator[Finding]:
    for group in config.get("instance_group", []):
        count, kind = int(group.get("count", 1)), group.get("kind", "KIND_AUTO")
        if kind == "KIND_GPU":
            yield warning(
                "kind-gpu",
                "instance_group asks for KIND_GPU: on a machine without a GPU the model does not load. Leave kind "
                "out: then a GPU is used where there is one.",
            )
        if count > 1 and kind in ("KIND_GPU", "KIND_AUTO"):
            yield warning(
                "instance-count",
                f"instance_group has count {count}, which is for each GPU, not in all, and for each version: every "
                "instance holds its own copy of the weights. Use 1 unless a measurement shows that more is faster.",
            )


def _check_warmup(config: Mapping[str, Any]) -> Iterator[Finding]:
    samples = config.get("model_warmup", [])
    if not samples and is_onnx(config):
        yield warning(
            "warmup-missing",
            "There is no model_warmup: the version counts as ready before its first request, which is slow on a GPU, "
            "where cuDNN searches for kernels for each new shape. Add samples for batch 1 and for max_batch_size.",
        )
    required = {tensor.get("name") for tensor in config.get("input", []) if not tensor.get("optional")}
    allowed = {tensor.get("name") for tensor in config.get("input", [])} | scheduler_tensors(config, "input")
    for sample in samples:
        name, size = sample.get("name", ""), int(sample.get("batch_size", 0))
        if size > max(max_batch(config), 1):
            yield error(
                "warmup-batch",
                f"The warmup sample {name!r} has batch_size {size}, above max_batch_size {max_batch(config)}: the "
                "model does not load. Lower it.",
            )
        given = set(sample.get("inputs", {}))
        if not required <= given <= allowed:
            yield error(
                "warmup-input",
                f"The warmup sample {name!r} has the inputs {_names(given)}, the model {_names(required)}: the model "
                "does not load. Name every input of the model.",
            )


def _numbers(versions: list[int]) -> str:
    return f"version{'s' if len(versions) > 1 else ''} {', '.join(map(str, versions))}"


def _names(names: Any) -> str:
    return ", ".join(repr(name) for name in sorted(names, key=str)) or "none"
