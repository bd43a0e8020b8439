"""Serve ONNX models under the name of Triton's own ONNX Runtime backend, by its Python backend.

It runs in the isolated runtime and refuses at load time what the real backend would refuse, so that a repository that
loads here loads in production.
"""

# Longer than 300 lines: the runtime gets this one file, which Triton finds by its name.

import contextlib
import ctypes
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]  # Triton provides it

Config = Mapping[str, Any]
Answers = dict[str, np.ndarray[Any, Any]]

# On a CPU an image costs more the more of them run at once: what is between the layers no longer fits the caches. On
# one core of an EPYC, ms an image: MobileNetV2 4.2 in runs of 1 to 4, 5.1 of 8, 6.0 of 16, 6.6 of 32; ResNet50 38.
CPU_ROWS = 4

# The stub around this file was built against NumPy 1. Under NumPy 2 the arrays that it makes have strides of 0, so that
# each element reads as the first, those that it takes count as empty, and strings end it: numbers then go by DLPack.
OLD_NUMPY = np.__version__.startswith("1.")
USED = ctypes.c_char_p(b"used_dltensor")

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# The real backend's words for the numbers in a configuration's parameters: onnxruntime_backend, src/onnxruntime.cc.
CONV_SEARCHES = {0: "EXHAUSTIVE", 1: "HEURISTIC", 2: "DEFAULT"}
ARENA_GROWTHS = {0: "kNextPowerOfTwo", 1: "kSameAsRequested"}
OPTIMISATIONS = {
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}

# Triton's data types by those of ONNX Runtime; the two have no others in common that NumPy can hold.
DATA_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}


class TritonPythonModel:
    """One instance of one version of a model."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the version's ONNX file and check it against its configuration."""
        config: Config = json.loads(args["model_config"])
        file = Path(args["model_repository"], args["model_version"], config["default_model_filename"] or "model.onnx")
        if file.is_dir():
            file = file / "model.onnx"  # a model with weights in files of their own may be a folder
        on_gpu = args["model_instance_kind"] == "GPU" and CUDA in ort.get_available_providers()
        providers: list[Any] = [CPU]
        if on_gpu:
            # The CUDA libraries come as packages, where the system's loader does not look.
            ort.preload_dlls()
            providers.insert(0, (CUDA, cuda_options(config, device=int(args["model_instance_device_id"]))))
        self.session = ort.InferenceSession(file, session_options(config, usable_cores()), providers=providers)
        running = self.session.get_providers()[0]
        if on_gpu and running != CUDA:
            raise refusal(config, f"onnxruntime cannot use the GPU and would run it on {running}: see the lines above")
        pb_utils.Logger.log_info(f"{args['model_instance_name']}: {file.name} runs {where(args, running)}")
        check(config, self.session.get_inputs(), self.session.get_outputs())
        self.run_options = run_options(config)
        self.inputs = [*(tensor["name"] for tensor in config["input"]), *controls(config)]
        self.batched = config["max_batch_size"] > 0
        self.rows = CPU_ROWS if self.batched and not on_gpu else None

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer *requests* in one run where the model has a batch axis; each answer or error is its request's own.

        If the model fails for all of them, this raises: Triton counts as failed only what raises, and as answered what
        comes back as an error (triton-inference-server/server, issue 7713).
        """
        wanted = [request.requested_output_names() for request in requests]
        feeds = [self.feed(request) for request in requests]
        answers = answer(self.run, feeds, wanted, batched=self.batched)
        if failures := failures_of(answers):
            raise pb_utils.TritonModelException(f"onnxruntime: {'; '.join(failures)}")
        return [response(result) for result in answers]

    def feed(self, request: Any) -> Answers:
        """Return the tensors of *request* by name; optional ones that it leaves out are left out."""
        tensors = {tensor.name(): tensor for tensor in request.inputs()}
        return {name: to_numpy(tensors[name]) for name in self.inputs if name in tensors}

    def run(self, feed: Answers, wanted: Sequence[str]) -> Answers:
        """Run the model and return the outputs *wanted* by name."""
        return in_parts(
            lambda part: dict(zip(wanted, self.session.run(list(wanted), part, self.run_options), strict=True)),
            feed,
            self.rows,
        )


def answer(
    run: Callable[[Answers, Sequence[str]], Answers],
    feeds: Sequence[Answers],
    wanted: Sequence[Sequence[str]],
    *,
    batched: bool,
) -> list[Answers | Exception]:
    """Return for each of *feeds* its outputs, or the error that it alone caused."""
    if batched and len(feeds) > 1:
        # Where that fails one of them is at fault, and only running them one by one tells which.
        with contextlib.suppress(Exception):
            return together(run, feeds, wanted)
    return alone(run, feeds, wanted)


def alone(
    run: Callable[[Answers, Sequence[str]], Answers], feeds: Sequence[Answers], wanted: Sequence[Sequence[str]]
) -> list[Answers | Exception]:
    """Run *feeds* one by one."""
    results: list[Answers | Exception] = []
    for feed, names in zip(feeds, wanted, strict=True):
        try:
            results.append(run(feed, names))
        except Exception as error:
            results.append(error)
    return results


def together(
    run: Callable[[Answers, Sequence[str]], Answers], feeds: Sequence[Answers], wanted: Sequence[Sequence[str]]
) -> list[Answers | Exception]:
    """Run *feeds* as one batch and split the outputs again along their first axis."""
    rows = [len(next(iter(feed.values()))) for feed in feeds]
    batch = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
    outputs = run(batch, sorted({name for names in wanted for name in names}))
    if any(len(output) != sum(rows) for output in outputs.values()):
        raise ValueError("an output does not have a row for each row of the input")
    cuts = np.cumsum(rows)[:-1]
    parts = {name: np.split(output, cuts) for name, output in outputs.items()}
    return [{name: parts[name][index] for name in names} for index, names in enumerate(wanted)]


def in_parts(run: Callable[[Answers], Answers], feed: Answers, rows: int | None) -> Answers:
    """Run *feed* in parts of about one size, of at most *rows* rows each, and join the outputs; None is for one run."""
    count = -(-len(next(iter(feed.values()), ())) // rows) if rows else 1
    if count <= 1:
        return run(feed)
    split = {name: np.array_split(tensor, count) for name, tensor in feed.items()}
    parts = [{name: tensors[index] for name, tensors in split.items()} for index in range(count)]
    outputs = [run(part) for part in parts]
    for part, output in zip(parts, outputs, strict=True):
        length = len(next(iter(part.values())))
        if any(array.shape[:1] != (length,) for array in output.values()):
            return run(feed)  # not row by row: only the whole is right
    return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}


def response(result: Answers | Exception) -> Any:
    """Wrap outputs or an error for Triton."""
    if not isinstance(result, Exception):
        return pb_utils.InferenceResponse([to_triton(name, array) for name, array in result.items()])
    code = pb_utils.TritonError.INVALID_ARG if is_invalid(result) else pb_utils.TritonError.INTERNAL
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"onnxruntime: {result}", code))


def failures_of(answers: Sequence[Answers | Exception]) -> list[str]:
    """Return what went wrong, each once, if the model failed for all requests and none of them is itself at fault."""
    errors = [result for result in answers if isinstance(result, Exception) and not is_invalid(result)]
    return list(dict.fromkeys(map(str, errors))) if len(errors) == len(answers) else []


def is_invalid(error: Exception) -> bool:
    """Say whether ONNX Runtime refuses what it was given."""
    return type(error).__name__ == "InvalidArgument"


def to_numpy(tensor: Any) -> np.ndarray[Any, Any]:
    """Return the data of a Triton *tensor*."""
    if not OLD_NUMPY:
        return np.from_dlpack(tensor)
    array: np.ndarray[Any, Any] = tensor.as_numpy()
    if array.dtype != object:
        return array
    # Triton's strings are bytes, ONNX Runtime's are text.
    return np.array([item.decode() for item in array.ravel()], dtype=object).reshape(array.shape)


def to_triton(name: str, array: np.ndarray[Any, Any]) -> Any:
    """Return *array* as a Triton tensor."""
    if OLD_NUMPY:
        return pb_utils.Tensor(name, array)
    capsule = array.__dlpack__()
    tensor = pb_utils.Tensor.from_dlpack(name, capsule)
    # The stub marks it as "used_dlpack", and NumPy, which looks for the standard's word, would complain at each answer.
    ctypes.pythonapi.PyCapsule_SetName(ctypes.py_object(capsule), USED)
    return tensor


def session_options(config: Config, cores: int) -> ort.SessionOptions:
    """Read the parameters that the real backend reads, with threads that suit several models on one machine."""
    parameters = parameters_of(config)
    instances = sum(max(1, group.get("count", 1)) for group in config.get("instance_group", [])) or 1
    options = ort.SessionOptions()
    threads = {name: number(config, f"{name}_op_thread_count") for name in ("intra", "inter")}
    options.intra_op_num_threads = threads["intra"] or max(1, cores // instances)
    options.inter_op_num_threads = threads["inter"]
    modes = {0: ort.ExecutionMode.ORT_SEQUENTIAL, 1: ort.ExecutionMode.ORT_PARALLEL}
    options.execution_mode = chosen(config, "execution_mode", modes)
    level = int(((config.get("optimization") or {}).get("graph") or {}).get("level", 0))
    options.graph_optimization_level = OPTIMISATIONS.get(level, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    if "enable_mem_arena" in parameters:
        options.enable_cpu_mem_arena = truth(config, "enable_mem_arena", parameters["enable_mem_arena"])
    if "enable_mem_pattern" in parameters:
        options.enable_mem_pattern = truth(config, "enable_mem_pattern", parameters["enable_mem_pattern"])
    if device_weights := parameters.get("session.use_device_allocator_for_initializers"):
        options.add_session_config_entry("session.use_device_allocator_for_initializers", device_weights)
    # Numbers too small to be normal, as trained weights have some, made a MobileNetV2 seven times slower on a CPU.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    # Versions are processes of their own here: threads that spin while they wait would take the other versions' cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def run_options(config: Config) -> ort.RunOptions:
    """Read the parameters of each run."""
    options = ort.RunOptions()
    if shrinks := parameters_of(config).get("memory.enable_memory_arena_shrinkage"):
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", shrinks)
    return options


def cuda_options(config: Config, *, device: int) -> dict[str, str]:
    """Return the options of ONNX Runtime on GPU *device*, read as the real backend reads them.

    Raises:
        TritonModelException: If the real backend would refuse them, or the local one has no such accelerator.
    """
    options: dict[str, str] = {}
    accelerators = (config.get("optimization") or {}).get("execution_accelerators") or {}
    for accelerator in accelerators.get("gpu_execution_accelerator", []):
        name = accelerator["name"]
        if name == "tensorrt":
            raise refusal(config, "the accelerator tensorrt is not supported by the local server")
        if name != "cuda":
            raise refusal(config, f"unknown Execution Accelerator {name!r} is requested")
        options.update({key: value for key, value in accelerator.get("parameters", {}).items() if value})
    for key in ("do_copy_in_default_stream", "use_ep_level_unified_stream"):
        if key in options:
            options[key] = str(int(truth(config, key, options[key])))
    if parameters := parameters_of(config):
        # Then they alone count, with their own defaults, whatever the accelerator says.
        options["cudnn_conv_algo_search"] = chosen(config, "cudnn_conv_algo_search", CONV_SEARCHES)
        options["arena_extend_strategy"] = chosen(config, "arena_extend_strategy", ARENA_GROWTHS)
        options["gpu_mem_limit"] = parameters.get("gpu_mem_limit", str(2**64 - 1))
        options["do_copy_in_default_stream"] = parameters.get("do_copy_in_default_stream", "1")
    return {**options, "device_id": str(device)}


def parameters_of(config: Config) -> dict[str, str]:
    """Return the parameters of *config* by name."""
    return {key: value["string_value"] for key, value in (config.get("parameters") or {}).items()}


def number(config: Config, key: str) -> int:
    """Return the parameter *key*, a whole number; 0 where it is not there."""
    text = parameters_of(config).get(key, "0")
    try:
        return int(text)
    except ValueError as error:
        raise refusal(config, f"the parameter {key} is {text!r}, but a whole number is expected") from error


def chosen(config: Config, key: str, known: Mapping[int, Any]) -> Any:
    """Return which of the *known* the parameter *key* means; it is a number, 0 where it is not there."""
    value = number(config, key)
    if value not in known:
        raise refusal(config, f"unsupported {key} value {value} is requested; it knows {', '.join(map(str, known))}")
    return known[value]


def truth(config: Config, key: str, text: str) -> bool:
    """Return whether *text*, the value of *key*, says yes."""
    known = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in known:
        raise refusal(config, f"{key} is {text!r}, but true or false is expected")
    return known[text.lower()]


def where(args: Mapping[str, str], running: str) -> str:
    """Return on what an instance runs, *running* being ONNX Runtime's first provider, in words."""
    if running == CUDA:
        return f"on GPU {args['model_instance_device_id']} ({running})"
    missed = ", though it may use a GPU: this runtime is for CPUs" if args["model_instance_kind"] == "GPU" else ""
    return f"on the CPU ({running}){missed}"


def usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return the number of cores that this process may use: those of its affinity, within its container's *quota*."""
    cores = len(os.sched_getaffinity(0))
    try:
        share, period = quota.read_text().split()
        return cores if share == "max" else max(1, min(cores, int(share) // int(period)))
    except (OSError, ValueError):
        return cores


def controls(config: Config) -> list[str]:
    """Return the names of the inputs that the server's sequence scheduler feeds to the model."""
    return [control["name"] for control in (config.get("sequence_batching") or {}).get("control_input", [])]


def check(config: Config, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Raise ``TritonModelException`` if *config* does not describe a model of these *inputs* and *outputs*."""
    for key in ("batch_input", "batch_output"):
        if config.get(key):
            raise refusal(config, f"{key} is not supported by the local server")
    if (config.get("sequence_batching") or {}).get("state"):
        raise refusal(config, "implicit state is not supported by the local server")
    given = {tensor["name"] for tensor in config["input"]} | set(controls(config))
    required = [node.name for node in inputs]
    if missing := [name for name in required if name not in given]:
        raise refusal(config, f"the configuration lacks the model's inputs {missing}")
    for kind, tensors, nodes in (("input", config["input"], inputs), ("output", config["output"], outputs)):
        known = {node.name: node for node in nodes}
        for tensor in tensors:
            node = known.get(tensor["name"])
            if node is None:
                raise refusal(config, f"unexpected {kind} {tensor['name']!r}; the model's are {sorted(known)}")
            check_tensor(config, kind, tensor, node)


def check_tensor(config: Config, kind: str, tensor: Config, node: Any) -> None:
    """Raise ``TritonModelException`` if *tensor* of *config* has not the data type and shape of *node*."""
    where = f"{kind} {tensor['name']!r}"
    data_type = DATA_TYPES.get(node.type, node.type)
    if data_type == "TYPE_STRING" and not OLD_NUMPY:
        raise refusal(config, f"{where} holds strings, which the local server can only carry under Python 3.11 or 3.12")
    if tensor["data_type"] != data_type:
        raise refusal(config, f"{where} is {tensor['data_type']} in the configuration and {data_type} in the model")
    dims = [int(dim) for dim in (tensor.get("reshape") or {"shape": tensor["dims"]})["shape"]]
    if config["max_batch_size"] > 0:
        dims.insert(0, -1)
        if node.shape and isinstance(node.shape[0], int):
            raise refusal(
                config,
                f"{where} has a fixed first dimension of {node.shape[0]} in the model, and cannot be batched: "
                "make it dynamic, or set max_batch_size to 0",
            )
    # A dimension that the model names is free; so is -1 in the configuration.
    same = len(dims) == len(node.shape) and all(
        not isinstance(actual, int) or dim in (-1, actual) for dim, actual in zip(dims, node.shape, strict=True)
    )
    if not same:
        raise refusal(config, f"{where} has shape {dims} in the configuration and {node.shape} in the model")


def refusal(config: Config, reason: str) -> Exception:
    """Return the error that makes Triton report the model as not loaded, for *reason*."""
    error: Exception = pb_utils.TritonModelException(f"model {config['name']!r}: {reason}")
    return error
