"""What the linter finds that bites on GPUs."""

from pathlib import Path

import onnx
import pytest

from scripts.graph.buckets import bucketed
from scripts.host.errors import TaskFailure
from scripts.image.build import Order
from scripts.repository.lint.finding import Finding
from scripts.repository.lint.gpu import check_base
from scripts.repository.lint.model import lint
from tests.doubles import small_classifiers

SIDE, CLASSES = small_classifiers.SIDE, small_classifiers.CLASSES
WARM_UP = f"""\
model_warmup {{
  name: "one" batch_size: 1
  inputs {{ key: "image" value {{ data_type: TYPE_UINT8 dims: [ {SIDE}, {SIDE}, 3 ] zero_data: true }} }}
}}
"""
CONFIG = f"""\
backend: "onnxruntime"
max_batch_size: 4
input {{ name: "image" data_type: TYPE_UINT8 dims: [ {SIDE}, {SIDE}, 3 ] }}
output {{ name: "probabilities" data_type: TYPE_FP32 dims: [ {CLASSES} ] }}
version_policy {{ all {{ }} }}
{WARM_UP}"""
BATCHING = "dynamic_batching { }\n"
RESIZE = 'parameters { key: "image.resize" value { string_value: "18" } }\n'


def parameter(key: str, value: str) -> str:
    """Return a parameter of a configuration."""
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'


def accelerator(name: str, **options: str) -> str:
    """Return an accelerator with *options*."""
    given = " ".join(f'parameters {{ key: "{key}" value: "{value}" }}' for key, value in options.items())
    return f'optimization {{ execution_accelerators {{ gpu_execution_accelerator {{ name: "{name}" {given} }} }} }}\n'


# pytest's folders are their owner's alone.
IGNORED = ("unpackaged", "unreadable-by-others")


def found(
    folder: Path, text: str, *, gpu: str | None = None, buckets: bool = False, names: tuple[str, ...] = ("one", "two")
) -> dict[str, Finding]:
    """Return the linter's findings about a model with these configurations, by rule; a version for each graph name."""
    for number, name in enumerate(names, start=1):
        version = folder / "pets" / str(number)
        version.mkdir(parents=True)
        graph = small_classifiers.packaged(seed=number)
        if buckets:
            graph = bucketed(graph, (1, 2, 4))
        graph.graph.name = name
        onnx.save_model(graph, version / "model.onnx")
    (folder / "pets" / "config.pbtxt").write_text(CONFIG + RESIZE + text)
    if gpu is not None:
        (folder / "pets" / "configs").mkdir()
        (folder / "pets" / "configs" / "gpu.pbtxt").write_text(CONFIG + gpu)
    return {finding.rule: finding for finding in lint(folder) if finding.rule not in IGNORED}


def test_a_configuration_for_gpus_is_expected(tmp_path: Path) -> None:
    """configs/gpu.pbtxt with buckets, several instances and options in their right places has no findings."""
    right = BATCHING + RESIZE + parameter("cudnn_conv_algo_search", "1") + accelerator("cuda", prefer_nhwc="1")
    group = "instance_group { count: 2 kind: KIND_GPU }\n"
    others = "".join(WARM_UP.replace("batch_size: 1", f"batch_size: {size}") for size in (2, 4))
    assert found(tmp_path, BATCHING, gpu=right + group + others, buckets=True) == {}


def test_a_plain_graph_with_batching_on_a_gpu_is_slow(tmp_path: Path) -> None:
    """It is said of a configuration for GPUs alone, and of one without batching not."""
    finding = found(tmp_path / "a", BATCHING, gpu=BATCHING + RESIZE)["plain-on-gpu"]
    assert finding.severity == "warning"
    assert finding.message.startswith("configs/gpu.pbtxt: ")
    assert "version 1, 2 has no buckets" in finding.message
    assert found(tmp_path / "b", BATCHING, gpu=RESIZE) == {}
    assert "plain-on-gpu" in found(tmp_path / "c", BATCHING + "instance_group { count: 1 kind: KIND_GPU }\n")


@pytest.mark.parametrize("option", ["cudnn_conv_algo_search", "gpu_mem_limit", "arena_extend_strategy"])
def test_options_under_the_accelerator_are_overwritten(tmp_path: Path, option: str) -> None:
    """With any parameter in the configuration they do nothing; without one they count."""
    text = accelerator("cuda", **{option: "HEURISTIC"})
    finding = found(tmp_path / "a", "", gpu=RESIZE + text)["accelerator-overwritten"]
    assert f"sets {option}, and Triton overwrites that" in finding.message
    assert "accelerator-overwritten" not in found(tmp_path / "b", "", gpu=text)
    assert found(tmp_path / "c", "", gpu=RESIZE + accelerator("cuda", use_tf32="0")) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [("cudnn_conv_algo_search", "HEURISTIC"), ("cudnn_conv_algo_search", "3"), ("arena_extend_strategy", "same")],
)
def test_words_where_triton_takes_numbers_are_errors(tmp_path: Path, key: str, value: str) -> None:
    """The model does not load on a GPU, and does on a CPU, where nobody reads them."""
    finding = found(tmp_path, parameter(key, value))["gpu-parameter"]
    assert finding.severity == "error"
    assert f"The parameter {key} is '{value}'" in finding.message


def test_precision_mode_does_nothing_any_more(tmp_path: Path) -> None:
    """TensorRT 11 takes the precision from the graph; FP32 is what it makes in any case."""
    finding = found(tmp_path / "a", "", gpu=RESIZE + accelerator("tensorrt", precision_mode="FP16"))["precision-mode"]
    assert "the engine stays FP32" in finding.message
    assert found(tmp_path / "b", "", gpu=RESIZE + accelerator("tensorrt", precision_mode="FP32")) == {}


@pytest.mark.parametrize(("cache", "severity"), [("1", "error"), ("0", "warning")])
def test_graphs_of_one_name_share_an_engine(tmp_path: Path, cache: str, severity: str) -> None:
    """Under TensorRT each graph needs a name of its own; elsewhere it does not matter."""
    tensorrt = RESIZE + accelerator("tensorrt", trt_engine_cache_enable=cache)
    finding = found(tmp_path / "a", "", gpu=tensorrt, names=("torch", "torch"))["engine-names"]
    assert finding.severity == severity
    assert "pets version 1, pets version 2 are all named 'torch'" in finding.message
    assert found(tmp_path / "b", "", gpu=tensorrt) == {}
    assert found(tmp_path / "c", "", gpu=RESIZE, names=("torch", "torch")) == {}


@pytest.mark.parametrize(
    ("image", "old"),
    [
        ("nvcr.io/nvidia/tritonserver:26.07-py3", True),
        ("mirror.example/tritonserver:25.12-py3@sha256:aa", True),
        ("nvcr.io/nvidia/tritonserver:26.08-py3", False),
        ("nvcr.io/nvidia/tritonserver:27.01-py3-min", False),
        ("mirror.example/our/triton:1", False),
    ],
)
def test_a_base_below_the_floor_is_refused(image: str, old: bool, tmp_path: Path) -> None:
    """The linter says it of the settings, and the build refuses it; what it cannot tell passes."""
    assert [finding.rule for finding in check_base(image)] == (["base-image"] if old else [])
    if old:
        with pytest.raises(TaskFailure, match=r"tritonserver:26\.08.*\(--base or TRITON_BASE_IMAGE\)"):
            Order(repository=tmp_path, base=image)
    else:
        assert Order(repository=tmp_path, base=image).base_image == image


@pytest.mark.parametrize(("limit", "wrong"), [("2g", True), ("-1", True), ("", True), ("2147483648", False)])
def test_a_limit_of_memory_is_a_number_of_bytes(limit: str, *, wrong: bool, tmp_path: Path) -> None:
    """ONNX Runtime refuses anything else, on a GPU alone."""
    config = BATCHING + parameter("cudnn_conv_algo_search", "1") + parameter("gpu_mem_limit", limit)
    rules = found(tmp_path, BATCHING, gpu=RESIZE + config, buckets=True)
    assert ("gpu-parameter" in rules) is wrong
