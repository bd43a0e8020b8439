"""What Triton refuses, or does otherwise than expected, about batches, queues and instances."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from scripts.repository.lint.backend import is_onnx
from scripts.repository.lint.finding import Finding, error, warning

# Each of them turns off that Triton makes a batch ready while another one runs.
_QUEUE_BOUNDS = ("max_queue_size", "default_timeout_microseconds", "allow_timeout_override")
# gRPC's bound on a message, which is the server's too (the core's MAX_GRPC_MESSAGE_SIZE).
MAX_MESSAGE = 2**31 - 1
# Of the types whose size the type tells.
_SIZES = {"BOOL": 1, "UINT8": 1, "INT8": 1, "UINT16": 2, "INT16": 2, "FP16": 2, "BF16": 2, "FP64": 8}
_SIZES |= {"UINT32": 4, "INT32": 4, "FP32": 4, "UINT64": 8, "INT64": 8}


def max_batch(config: Mapping[str, Any]) -> int:
    """Return most images in one request; 0 where requests carry no batch axis."""
    return int(config.get("max_batch_size", 0))


def scheduler_tensors(config: Mapping[str, Any], side: str) -> set[str]:
    """Return the tensors of a *side*, input or output, that the server feeds or takes itself: no request has them."""
    sequence = config.get("sequence_batching", {})
    names = {str(tensor.get(f"{side}_name", "")) for tensor in sequence.get("state", [])}
    if side == "input":
        names |= {str(control.get("name", "")) for control in sequence.get("control_input", [])}
    names |= {str(name) for tensor in config.get(f"batch_{side}", []) for name in tensor.get("target_name", [])}
    return names


def row_bytes(tensor: Mapping[str, Any]) -> int:
    """Return what one image of a configuration's *tensor* takes, in bytes, at least: a free dimension counts as 1."""
    dims = [max(int(dim), 1) for dim in tensor.get("dims", [])]
    return math.prod(dims) * _SIZES.get(str(tensor.get("data_type", "")).removeprefix("TYPE_"), 1)


def check_scheduling(config: Mapping[str, Any], *, for_gpus: bool) -> Iterator[Finding]:
    """Yield what is wrong with how requests become batches, and with what runs them."""
    yield from _check_sizes(config)
    yield from _check_queue(config.get("dynamic_batching", {}))
    yield from _check_sequences(config)
    yield from _check_instances(config, for_gpus=for_gpus)
    if config.get("response_cache", {}).get("enable"):
        yield warning(
            "response-cache",
            "The response cache is on: the cache works only if the server runs with --cache-config, and photographs "
            "hardly ever repeat byte for byte. Remove response_cache.",
        )


def _check_sizes(config: Mapping[str, Any]) -> Iterator[Finding]:
    limit = max_batch(config)
    for where, batching in (
        ("dynamic_batching", config.get("dynamic_batching", {})),
        ("sequence_batching.oldest", config.get("sequence_batching", {}).get("oldest", {})),
    ):
        preferred = [int(size) for size in batching.get("preferred_batch_size", [])]
        wrong = [size for size in preferred if size < 1]
        above = [size for size in preferred if size > limit]
        for sizes, why in ((wrong, "not positive"), (above, f"above max_batch_size {limit}")):
            if sizes:
                yield error(
                    "preferred-batch-size",
                    f"{where}: preferred_batch_size {', '.join(map(str, sizes))} is {why}: Triton refuses the model. "
                    "Correct it, or leave it out: without it the server takes whatever is queued.",
                )
    largest = max((row_bytes(tensor) for tensor in config.get("input", [])), default=0)
    if is_onnx(config) and limit * largest > MAX_MESSAGE:
        yield warning(
            "max-batch",
            f"max_batch_size is {limit}: so many images are {limit * largest / 2**30:,.0f} GiB, and neither a request "
            f"nor a batch of that size can be had. Lower it to what memory holds, such as "
            f"{min(32, max(MAX_MESSAGE // largest, 1))}.",
        )


def _check_queue(batching: Mapping[str, Any]) -> Iterator[Finding]:
    policy, levels = batching.get("default_queue_policy", {}), int(batching.get("priority_levels", 0))
    by_level = {int(level): own for level, own in batching.get("priority_queue_policy", {}).items()}
    if levels:
        default = int(batching.get("default_priority_level", 0))
        for what, level in (("default_priority_level", default), *(("priority_queue_policy", key) for key in by_level)):
            if not 1 <= level <= levels:
                yield error(
                    "priority",
                    f"dynamic_batching: {what} is {level}, but priority_levels allows 1 to {levels}: Triton refuses "
                    "the model. Correct it.",
                )
    if batching.get("preserve_ordering"):
        delayed = any(
            own.get("timeout_action") == "DELAY" and int(own.get("default_timeout_microseconds", 0))
            for own in (policy, *by_level.values())
        )
        if levels > 1 or delayed:
            yield error(
                "preserve-ordering",
                f"dynamic_batching says preserve_ordering beside {'priorities' if levels > 1 else 'a DELAY'}, which "
                "changes the order: Triton refuses the model. Remove one of the two.",
            )
    bounds = [field for field in _QUEUE_BOUNDS if policy.get(field, "0") not in ("0", 0, False)]
    if bounds or levels:
        yield warning(
            "bounded-queue",
            f"dynamic_batching sets {', '.join(bounds) or 'priority_levels'}: Triton then makes no batch ready "
            "while another one runs, and 24.10 lets a request wait for up to half a second beside an idle model. Leave "
            "it out unless requests must be refused under load.",
        )


def _check_sequences(config: Mapping[str, Any]) -> Iterator[Finding]:
    kept = config.get("response_cache", {}).get("enable")
    for field, used in (
        ("sequence_batching", "sequence_batching" in config),
        ("a decoupled transaction policy", config.get("model_transaction_policy", {}).get("decoupled")),
    ):
        if kept and used:
            yield error(
                "response-cache",
                f"response_cache is on beside {field}: Triton refuses the model. Remove response_cache.",
            )
    direct = config.get("sequence_batching", {}).get("direct", {})
    if not 0 <= (share := float(direct.get("minimum_slot_utilization", 0))) <= 1:
        yield error(
            "sequence-batching",
            f"minimum_slot_utilization is {share:g}, but Triton takes 0 to 1, and refuses the model. Correct it.",
        )


def _check_instances(config: Mapping[str, Any], *, for_gpus: bool) -> Iterator[Finding]:
    for group in config.get("instance_group", []):
        count, kind = int(group.get("count", 1)), group.get("kind", "KIND_AUTO")
        if group.get("gpus") and kind in ("KIND_CPU", "KIND_MODEL"):
            yield error(
                "instance-gpus",
                f"instance_group asks for {kind} and names gpus: Triton refuses the model. Remove one of the two.",
            )
        if group.get("profile") and is_onnx(config):
            yield error(
                "instance-profile",
                "instance_group has a profile, which only TensorRT's own models have: Triton refuses the model. "
                "Remove it.",
            )
        if for_gpus:
            continue
        if kind == "KIND_GPU":
            yield warning(
                "kind-gpu",
                "instance_group asks for KIND_GPU: on a machine without a GPU the model does not load. Leave kind "
                "out: then a GPU is used if there is one.",
            )
        if count > 1 and kind in ("KIND_GPU", "KIND_AUTO"):
            yield warning(
                "instance-count",
                f"instance_group has count {count}, which is for each GPU, not in all, and for each version: every "
                "instance holds its own copy of the weights. Use 1 unless a measurement shows that more is faster.",
            )
