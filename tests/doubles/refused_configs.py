"""Configurations that Triton refuses before any backend, or with it, each by one edit of one that it serves."""

import re
from collections.abc import Callable
from pathlib import Path

import attrs

from tests.doubles import tiny

Edit = Callable[[str], str]
_BACKEND = 'backend: "onnxruntime"'
_WARMUP = 'model_warmup [{{ name: "w" batch_size: {size} inputs {{ key: "x" value {{ {data} }} }} }}]'


def _swap(old: str, new: str) -> Edit:
    return lambda text: text.replace(old, new, 1)


def _add(more: str) -> Edit:
    return lambda text: text + more


def _parameter(name: str, value: str) -> Edit:
    return _add(f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}')


def _sample(data: str, size: int = 1) -> Edit:
    return _add(_WARMUP.format(size=size, data=data))


@attrs.frozen
class Case:
    """What is edited, and what the linter says of it: its rule, and a pattern that its message matches."""

    edit: Edit
    rule: str
    says: str


CASES = {
    "misspelt": Case(_swap(_BACKEND, 'backend: "onxruntime"'), "backend", r"'onxruntime'.*backend: \"onnxruntime\""),
    "capitals": Case(_swap(_BACKEND, 'backend: "ONNXRuntime"'), "backend", r'as in backend: "onnxruntime"'),
    "short": Case(_swap(_BACKEND, 'backend: "onnx"'), "backend", r'as in backend: "onnxruntime"'),
    "tensorrt": Case(_swap(_BACKEND, 'platform: "tensorrt_plan"'), "model-missing", r"1/model\.plan is missing"),
    "pair": Case(_add('platform: "tensorrt_plan"'), "platform", r"'tensorrt_plan' does not belong to .*'onnxruntime'"),
    "half-pair": Case(_add('platform: "onnxruntime"'), "platform", "'onnxruntime' does not belong"),
    "platform": Case(_swap(_BACKEND, 'platform: "onnxruntime"'), "platform", "none of those that Triton knows"),
    "ensemble-backend": Case(_add('platform: "ensemble"'), "ensemble", "no backend"),
    "ensemble-alone": Case(_swap(_BACKEND, 'platform: "ensemble"'), "ensemble", "no step"),
    "preferred-below": Case(_add("dynamic_batching { preferred_batch_size: [ -1 ] }"), "preferred-batch-size", "-1 is"),
    "preferred-zero": Case(_add("dynamic_batching { preferred_batch_size: 0 }"), "preferred-batch-size", "0 is not"),
    "oldest-zero": Case(
        _add("sequence_batching { oldest { max_candidate_sequences: 4 preferred_batch_size: 0 } }"),
        "preferred-batch-size",
        "oldest: .* not positive",
    ),
    "levels": Case(_add("dynamic_batching { priority_levels: 2 }"), "priority", "default_priority_level is 0"),
    "level": Case(
        _add("dynamic_batching { priority_levels: 2 default_priority_level: 5 }"), "priority", "is 5, .* 1 to 2"
    ),
    "level-policy": Case(
        _add(
            "dynamic_batching { priority_levels: 2 default_priority_level: 1 "
            "priority_queue_policy { key: 5 value { max_queue_size: 3 } } }"
        ),
        "priority",
        "priority_queue_policy is 5",
    ),
    "order": Case(
        _add("dynamic_batching { preserve_ordering: true priority_levels: 2 default_priority_level: 1 }"),
        "preserve-ordering",
        "beside priorities",
    ),
    "order-delay": Case(
        _add(
            "dynamic_batching { preserve_ordering: true default_queue_policy { timeout_action: DELAY "
            "default_timeout_microseconds: 5 } }"
        ),
        "preserve-ordering",
        "beside a DELAY",
    ),
    "cache-sequences": Case(
        _add("sequence_batching { } response_cache { enable: true }"), "response-cache", "beside sequence_batching"
    ),
    "cache-decoupled": Case(
        _add("model_transaction_policy { decoupled: true } response_cache { enable: true }"),
        "response-cache",
        "beside a decoupled",
    ),
    "slots": Case(
        _add("sequence_batching { direct { minimum_slot_utilization: 2 } }"), "sequence-batching", "is 2, but"
    ),
    "cpu-gpus": Case(_swap("kind: KIND_CPU", "kind: KIND_CPU gpus: [ 0 ]"), "instance-gpus", "KIND_CPU"),
    "model-gpus": Case(_swap("kind: KIND_CPU", "kind: KIND_MODEL gpus: [ 0 ]"), "instance-gpus", "KIND_MODEL"),
    "profile": Case(_swap("count: 1", 'count: 1 profile: "0"'), "instance-profile", "TensorRT"),
    "threads": Case(_parameter("intra_op_thread_count", "four"), "parameter", "'four', which is no whole number"),
    "threads-unit": Case(_parameter("inter_op_thread_count", "2 cores"), "parameter", "'2 cores'"),
    "threads-empty": Case(_parameter("intra_op_thread_count", ""), "parameter", "''"),
    "threads-many": Case(_parameter("intra_op_thread_count", "99999999999"), "parameter", "'99999999999'"),
    "mode": Case(_parameter("execution_mode", "2"), "parameter", "takes 0 or 1"),
    "arena": Case(_parameter("enable_mem_arena", "yes"), "parameter", "true or false"),
    "runtime": Case(_add('runtime: "libnothing.so"'), "backend", "runtime 'libnothing.so'"),
    "policy-latest": Case(_swap("all {}", "latest { num_versions: 0 }"), "version-policy", "none of the versions"),
    "policy-nothing": Case(_swap("all {}", "specific { }"), "version-policy", "none of the versions"),
    "shape-tensor": Case(_swap("dims: [4]", "dims: [4] is_shape_tensor: true"), "tensor", "TensorRT"),
    "warmup-shape": Case(_sample("data_type: TYPE_FP32 dims: 5 zero_data: true"), "warmup-data", r"\[5\].*\[4\]"),
    "warmup-open": Case(_sample("data_type: TYPE_FP32 dims: -1 zero_data: true"), "warmup-data", "each size"),
    "warmup-type": Case(_sample("data_type: TYPE_INT8 dims: 4 zero_data: true"), "warmup-data", "TYPE_INT8"),
    "warmup-empty": Case(_sample("data_type: TYPE_FP32 dims: 4"), "warmup-data", "none of zero_data"),
    "warmup-file": Case(
        _sample('data_type: TYPE_FP32 dims: 4 input_data_file: "raw"'), "warmup-data", "warmup/raw, which is missing"
    ),
}

# Those that no test tries on a server: of the first Triton 24.10's load never ends, and the second wants 32 GiB.
UNTRIED = {
    "python": Case(_swap(_BACKEND, 'backend: "python"'), "model-missing", r"1/model\.py is missing"),
    "warmup-huge": Case(
        lambda text: _sample("data_type: TYPE_FP32 dims: 4 zero_data: true", size=2**31 - 1)(
            re.sub(r"max_batch_size: \d+", f"max_batch_size: {2**31 - 1}", text)
        ),
        "warmup-data",
        "32 GiB of data",
    ),
}


def write(repository: Path, name: str, case: Case) -> Path:
    """Write the model *name* with what *case* says; return its folder."""
    folder = tiny.write_model(repository, name).parent
    text = case.edit((folder / "config.pbtxt").read_text())
    (folder / "config.pbtxt").write_text(text)
    return folder
