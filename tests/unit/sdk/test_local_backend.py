import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from tests.doubles import tiny
from triton_sdk.local import BACKEND

Feed = dict[str, Any]


class ModelRefusedError(Exception):
    """Stands for Triton's exception."""


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The backend's module, loaded as Triton does, beside a stand-in for what Triton provides."""
    utilities = ModuleType("triton_python_backend_utils")
    utilities.TritonModelException = ModelRefusedError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", utilities)
    spec = importlib.util.spec_from_file_location("onnxruntime_backend", BACKEND)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def feeds(*rows: int) -> list[Feed]:
    """Return a request of so many rows for each of *rows*, numbered through."""
    numbers = np.arange(sum(rows), dtype=np.float32)[:, None]
    return [{"x": part} for part in np.split(numbers, np.cumsum(rows)[:-1])]


class Model:
    """Doubles ``x`` as ``y`` and negates it as ``z``, and keeps what it was asked for; it fails on 13."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, list[str]]] = []

    def __call__(self, feed: Feed, wanted: Sequence[str]) -> Feed:
        """Run once."""
        self.runs.append((len(feed["x"]), list(wanted)))
        if 13 in feed["x"]:
            raise ValueError("thirteen")
        outputs = {"y": 2 * feed["x"], "z": -feed["x"]}
        return {name: outputs[name] for name in wanted}


def test_requests_are_one_run_and_get_their_own_rows(backend: ModuleType) -> None:
    """Requests of several sizes are joined, and each gets the outputs that it asked for and no others."""
    model = Model()
    results = backend.answer(model, feeds(1, 3, 2), [["y"], ["z", "y"], ["z"]], batched=True)
    assert model.runs == [(6, ["y", "z"])]
    assert [sorted(result) for result in results] == [["y"], ["y", "z"], ["z"]]
    np.testing.assert_array_equal(results[1]["y"], [[2], [4], [6]])
    np.testing.assert_array_equal(results[2]["z"], [[-4], [-5]])


def test_a_failing_request_spares_the_others(backend: ModuleType) -> None:
    """Where the joined run fails, each request is run by itself, and only the one at fault gets the error."""
    requests = feeds(1, 1, 1)
    requests[1] = {"x": np.array([[13]], np.float32)}
    results = backend.answer(Model(), requests, [["y"]] * 3, batched=True)
    assert [type(result) for result in results] == [dict, ValueError, dict]
    np.testing.assert_array_equal(results[2]["y"], [[4]])


def test_requests_that_cannot_be_joined_are_run_one_by_one(backend: ModuleType) -> None:
    """Tensors of unlike shapes, and outputs without a row for each input row, are no failure."""
    unlike = [{"x": np.zeros((1, 2), np.float32)}, {"x": np.zeros((1, 3), np.float32)}]
    results = backend.answer(Model(), unlike, [["y"]] * 2, batched=True)
    assert [result["y"].shape for result in results] == [(1, 2), (1, 3)]
    total = backend.answer(lambda feed, _: {"y": feed["x"].sum(keepdims=True)}, feeds(2, 2), [["y"]] * 2, batched=True)
    assert [result["y"].item() for result in total] == [1, 5]


def test_a_model_without_a_batch_axis_is_run_for_each_request(backend: ModuleType) -> None:
    """With max_batch_size 0 the first axis means something else, so nothing is joined."""
    model = Model()
    backend.answer(model, feeds(1, 1), [["y"]] * 2, batched=False)
    assert [rows for rows, _ in model.runs] == [1, 1]


def test_a_cpu_runs_a_batch_in_parts_that_its_caches_hold(backend: ModuleType) -> None:
    """Parts are of about one size and joined in order; None, a GPU, and few rows are one run."""
    model = Model()
    (feed,) = feeds(10)
    outputs = backend.in_parts(lambda part: model(part, ["y", "z"]), feed, 4)
    assert [rows for rows, _ in model.runs] == [4, 3, 3]
    np.testing.assert_array_equal(outputs["y"], 2 * feed["x"])
    np.testing.assert_array_equal(outputs["z"], -feed["x"])
    for rows in (None, 10):
        model.runs.clear()
        backend.in_parts(lambda part: model(part, ["y"]), feed, rows)
        assert [rows for rows, _ in model.runs] == [10]


def test_a_model_that_does_not_work_row_by_row_sees_the_whole_batch(backend: ModuleType) -> None:
    """A sum over the batch is one of all rows, and not one for each part."""
    (feed,) = feeds(6)
    outputs = backend.in_parts(lambda part: {"y": part["x"].sum(keepdims=True)}, feed, 4)
    assert outputs["y"].tolist() == [[15.0]]


def test_the_parameters_of_the_real_backend_are_read(backend: ModuleType) -> None:
    """Thread counts and the execution mode are taken from the configuration."""
    parameters = {"intra_op_thread_count": "3", "inter_op_thread_count": "2", "execution_mode": "1"}
    config = {"parameters": {key: {"string_value": value} for key, value in parameters.items()}}
    options = backend.session_options(config, 8)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 2)
    assert options.execution_mode == ort.ExecutionMode.ORT_PARALLEL


def test_instances_share_the_cores(backend: ModuleType) -> None:
    """Without a parameter, the threads of all instances together are as many as there are cores, and never none."""
    groups = {"instance_group": [{"count": 2}, {"count": 1}]}
    assert [backend.session_options(groups, cores).intra_op_num_threads for cores in (12, 2)] == [4, 1]


@pytest.mark.parametrize(
    ("text", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("nonsense", None)]
)
def test_a_container_s_quota_bounds_the_cores(
    backend: ModuleType, tmp_path: Path, text: str, cores: int | None
) -> None:
    """A quota of processor time is respected, and one that cannot be read is no quota."""
    quota = tmp_path / "cpu.max"
    quota.write_text(text)
    everything = backend.usable_cores(tmp_path / "missing")
    assert backend.usable_cores(quota) == (everything if cores is None else cores)


def configured(
    accelerator: dict[str, str] | None = None, *, name: str = "cuda", parameters: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return a configuration as Triton's JSON has it, with these *parameters* and this accelerator for GPUs."""
    config: dict[str, Any] = {"name": "tiny"}
    config["parameters"] = {key: {"string_value": value} for key, value in (parameters or {}).items()}
    if accelerator is not None:
        listed = [{"name": name, "parameters": accelerator}]
        config["optimization"] = {"execution_accelerators": {"gpu_execution_accelerator": listed}}
    return config


def test_a_gpu_s_options_are_those_of_the_real_backend(backend: ModuleType) -> None:
    """The accelerator's options pass through, and where there are parameters they alone say search and memory."""
    assert backend.cuda_options(configured(), device=1) == {"device_id": "1"}
    accelerator = {"cudnn_conv_algo_search": "HEURISTIC", "gpu_mem_limit": "5", "prefer_nhwc": "1", "use_tf32": "0"}
    assert backend.cuda_options(configured(accelerator), device=0) == {**accelerator, "device_id": "0"}
    found = backend.cuda_options(configured(accelerator, parameters={"image.resize": "256"}), device=0)
    assert found["prefer_nhwc"] == "1"
    assert found["use_tf32"] == "0"
    assert found["cudnn_conv_algo_search"] == "EXHAUSTIVE"
    assert found["gpu_mem_limit"] == str(2**64 - 1)
    parameters = {"cudnn_conv_algo_search": "1", "gpu_mem_limit": "9", "arena_extend_strategy": "1"}
    found = backend.cuda_options(configured(parameters=parameters), device=0)
    assert found["cudnn_conv_algo_search"] == "HEURISTIC"
    assert found["gpu_mem_limit"] == "9"
    assert found["arena_extend_strategy"] == "kSameAsRequested"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            configured(parameters={"cudnn_conv_algo_search": "HEURISTIC"}),
            "'HEURISTIC', but a whole number",
        ),
        (configured(parameters={"cudnn_conv_algo_search": "3"}), "unsupported cudnn_conv_algo_search value 3"),
        (configured(parameters={"arena_extend_strategy": "2"}), "unsupported arena_extend_strategy value 2"),
        (configured({}, name="openvino"), "unknown Execution Accelerator 'openvino'"),
        (configured({}, name="tensorrt"), "tensorrt is not supported by the local server"),
        (configured({"do_copy_in_default_stream": "maybe"}), "'maybe', but true or false"),
    ],
)
def test_what_the_real_backend_refuses_on_a_gpu_is_refused(
    backend: ModuleType, config: dict[str, Any], reason: str
) -> None:
    """Words for numbers, numbers that mean nothing, and accelerators that are not there."""
    with pytest.raises(ModelRefusedError, match=reason):
        backend.cuda_options(config, device=0)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"execution_mode": "2"}, "unsupported execution_mode value 2"),
        ({"intra_op_thread_count": "many"}, "'many', but a whole number"),
        ({"enable_mem_arena": "perhaps"}, "'perhaps', but true or false"),
    ],
)
def test_session_parameters_that_mean_nothing_are_refused(
    backend: ModuleType, parameters: dict[str, str], reason: str
) -> None:
    """They keep the model from loading on a CPU too."""
    with pytest.raises(ModelRefusedError, match=reason):
        backend.session_options(configured(parameters=parameters), 2)


def test_a_session_flushes_denormals_and_takes_what_is_said_of_memory(backend: ModuleType) -> None:
    """Denormal numbers count as zero; arena and pattern can be switched off, and the graph's optimisation set."""
    config = configured(parameters={"enable_mem_arena": "false", "enable_mem_pattern": "0"})
    config["optimization"] = {"graph": {"level": -1}}
    options = backend.session_options(config, 2)
    assert options.get_session_config_entry("session.set_denormal_as_zero") == "1"
    assert (options.enable_cpu_mem_arena, options.enable_mem_pattern) == (False, False)
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    shrinks = configured(parameters={"memory.enable_memory_arena_shrinkage": "cpu:0"})
    assert backend.run_options(shrinks).get_run_config_entry("memory.enable_memory_arena_shrinkage") == "cpu:0"


@pytest.mark.parametrize(
    ("kind", "running", "words"),
    [
        ("GPU", "CUDAExecutionProvider", "on GPU 2 (CUDAExecutionProvider)"),
        ("CPU", "CPUExecutionProvider", "on the CPU (CPUExecutionProvider)"),
        ("GPU", "CPUExecutionProvider", "on the CPU (CPUExecutionProvider), though it may use a GPU: this runtime is"),
    ],
)
def test_the_log_says_where_a_model_runs(backend: ModuleType, kind: str, running: str, words: str) -> None:
    """The provider, and the GPU's number, or that a GPU goes unused."""
    args = {"model_instance_kind": kind, "model_instance_device_id": "2"}
    assert backend.where(args, running).startswith(words)


def described(name: str, *, dims: list[int], data_type: str = "TYPE_FP32", **more: Any) -> dict[str, Any]:
    """Return a tensor as Triton's JSON configuration has it."""
    return {"name": name, "data_type": data_type, "dims": dims, **more}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"input": [described("x", dims=[-1])]}, None),
        ({"input": [described("x", dims=[2, 2], reshape={"shape": [4]})]}, None),
        ({"input": [described("data", dims=[4])]}, r"lacks the model's inputs \['x'\]"),
        ({"output": [described("w", dims=[4])]}, r"unexpected output 'w'; the model's are \['y', 'z'\]"),
        ({"output": [described("y", dims=[4], data_type="TYPE_INT8")]}, "'y' is TYPE_INT8 .* TYPE_FP32 in the model"),
        ({"output": [described("y", dims=[5])]}, r"'y' has shape \[-1, 5\] .* \['n', 4\] in the model"),
        ({"output": [described("y", dims=[2, 2])]}, "'y' has shape"),
        ({"sequence_batching": {"state": [{}]}}, "implicit state is not supported"),
        ({"batch_input": [{}]}, "batch_input is not supported"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_at_load(
    backend: ModuleType, change: dict[str, Any], reason: str | None
) -> None:
    """What the production backend would refuse when it loads the model is refused here, and said in words."""
    session = ort.InferenceSession(tiny.scaler().SerializeToString())
    config = {"name": "tiny", "max_batch_size": 8}
    config |= {"input": [described("x", dims=[4])], "output": [described("y", dims=[4])]} | change
    if reason is None:
        backend.check(config, session.get_inputs(), session.get_outputs())
    else:
        with pytest.raises(ModelRefusedError, match=reason):
            backend.check(config, session.get_inputs(), session.get_outputs())


def test_a_fixed_batch_axis_is_refused_with_the_remedy(backend: ModuleType) -> None:
    """A graph for one image cannot be batched, and the message says both ways out."""
    session = ort.InferenceSession(tiny.scaler(batch=1).SerializeToString())
    config = {"name": "tiny", "max_batch_size": 8, "input": [described("x", dims=[4])], "output": []}
    with pytest.raises(ModelRefusedError, match=r"fixed first dimension of 1 .* set max_batch_size to 0"):
        backend.check(config, session.get_inputs(), session.get_outputs())
    config |= {"max_batch_size": 0, "input": [described("x", dims=[1, 4])]}
    backend.check(config, session.get_inputs(), session.get_outputs())
