"""Packaging for GPUs: a second graph beside the one for CPUs, and what serves it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from scripts.graph.buckets import bucketed, open_shapes, sizes_of
from scripts.graph.load import load
from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from scripts.packaging import gpu
from scripts.packaging.package import Source, Wishes, package
from scripts.packaging.wishes import GpuWish, wish
from scripts.repository import config_pbtxt, manifest
from scripts.repository.lint.model import lint
from scripts.repository.versions import PackagedVersion
from tests.doubles import batched_models, small_classifiers

LABELS = tuple("abcde")
IMAGES = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The path of a repository that does not exist yet."""
    return tmp_path / "models"


@pytest.fixture
def put(repository: Path, tmp_path: Path) -> Callable[..., PackagedVersion]:
    """Package a graph as the model "tiny"; the lines of progress are in ``put.lines``."""

    def packaged(graph: onnx.ModelProto | None = None, **options: Any) -> PackagedVersion:
        path = tmp_path / "original.onnx"
        onnx.save_model(small_classifiers.classifier() if graph is None else graph, path)
        known: dict[str, Any] = {"model": "tiny", "wishes": Wishes(labels=LABELS), "progress": lines.append}
        return package(Source.onnx(path), repository=repository, **{**known, **options})

    lines: list[str] = []
    packaged.lines = lines  # type: ignore[attr-defined]
    return packaged


def config(version: PackagedVersion) -> dict[str, Any]:
    """Return the configuration for GPUs of a version's model."""
    return config_pbtxt.parse(version.path.parent / "configs" / "gpu.pbtxt")


def test_a_version_has_two_graphs_and_one_set_of_weights(put: Callable[..., PackagedVersion], repository: Path) -> None:
    """Both graphs answer the same, every shape in a branch is constant, and the files are all in the manifest."""
    done = put()
    files = {path.name for path in done.path.iterdir()}
    assert files == {"model.onnx", "model.gpu.onnx", "model.weights", "golden.npz", "manifest.json"}
    kept = manifest.read(done.path / "manifest.json")
    assert set(kept.sha256) == files - {"manifest.json"}
    assert kept.gpu is not None
    assert (kept.gpu.precision, kept.gpu.buckets) == ("fp32", (1, 2, 4, 8, 16, 32))
    assert open_shapes(load(done.path / "model.gpu.onnx")) == []
    plain, buckets = Session(done.path / "model.onnx"), Session(done.path / "model.gpu.onnx")
    for count in range(1, 33):
        np.testing.assert_allclose(buckets.scores(IMAGES[:count]), plain.scores(IMAGES[:count]), atol=1e-5)
    assert lint(repository) == []


def test_the_configuration_for_gpus_serves_every_branch(put: Callable[..., PackagedVersion]) -> None:
    """It names its graph, batches, warms every branch up, and asks for the quick search where Triton reads it."""
    found = config(put(on_gpu=GpuWish(buckets=(1, 3, 32))))
    assert found["default_model_filename"] == "model.gpu.onnx"
    assert found["dynamic_batching"] == {}
    assert [sample["batch_size"] for sample in found["model_warmup"]] == [1, 3, 32]
    assert found["parameters"]["cudnn_conv_algo_search"] == {"string_value": "1"}
    assert found["instance_group"] == [{"count": 2}]


def test_models_that_share_a_gpu_have_one_instance_each(put: Callable[..., PackagedVersion], repository: Path) -> None:
    """By default: the first model had two, and has two again when it is alone; what somebody wrote stays as it is."""
    first = put()
    chosen = put(model="chosen")
    path = chosen.path.parent / "configs" / "gpu.pbtxt"
    assert [config(version)["instance_group"] for version in (first, chosen)] == [[{"count": 1}]] * 2
    assert "tiny shares the GPU with 1: configs/gpu.pbtxt has 1 by default in instance_group now" in put.lines  # type: ignore[attr-defined]
    path.write_text(path.read_text().replace("count: 1", "count: 4"))
    put(model="third")
    assert config(chosen)["instance_group"] == [{"count": 4}]
    (finding,) = lint(repository)
    assert (finding.rule, finding.model) == ("instances-shared", "chosen")
    assert "3 models of this repository share" in finding.message
    for name in ("chosen", "third"):
        shutil.rmtree(repository / name)
    put(small_classifiers.classifier(seed=2))
    assert config(first)["instance_group"] == [{"count": 2}]
    assert put.lines[-1].startswith("tiny is the only model")  # type: ignore[attr-defined]


def test_a_model_that_only_a_cpu_serves_shares_no_gpu(put: Callable[..., PackagedVersion], repository: Path) -> None:
    """Its configuration says so; one that says nothing goes to the GPU, with a graph for it or without."""
    put(model="plain", on_gpu=None)
    assert config(put())["instance_group"] == [{"count": 1}]
    path = repository / "plain" / "config.pbtxt"
    path.write_text(path.read_text().replace("{ count: 1 }", "{ count: 1 kind: KIND_CPU }"))
    assert config(put(model="tiny", graph=small_classifiers.classifier(seed=2)))["instance_group"] == [{"count": 2}]


def test_a_configuration_that_cannot_be_written_keeps_no_version_out(
    put: Callable[..., PackagedVersion], repository: Path
) -> None:
    """The new version is there and right; the other model's count stays, and that is said."""
    first = put()
    path = first.path.parent / "config.pbtxt"
    path.rename(path.with_name("kept"))
    path.mkdir()
    put(model="other")
    assert (repository / "other" / "1").is_dir()
    assert any("the instances in tiny/configs/gpu.pbtxt stay as they are" in line for line in put.lines)  # type: ignore[attr-defined]


def test_a_graph_s_name_tells_its_weights(put: Callable[..., PackagedVersion]) -> None:
    """TensorRT finds engines by the graph's name: it differs from version to version, in either file, and on CPUs."""
    found = [put(small_classifiers.classifier(seed=seed)) for seed in (1, 2)]
    found.append(put(small_classifiers.classifier(seed=3), model="other", on_gpu=None))
    names = [load(version.path / "model.onnx").graph.name for version in found]
    assert len(set(names)) == 3
    assert names[0].startswith("tiny-")
    assert names[:2] == [load(version.path / "model.gpu.onnx").graph.name for version in found[:2]]


def test_the_graph_for_gpus_can_be_left_out(put: Callable[..., PackagedVersion], repository: Path) -> None:
    """Then a version is one file with its weights, as any server reads it, and there is no configuration for GPUs."""
    done = put(on_gpu=None)
    assert {path.name for path in done.path.iterdir()} == {"model.onnx", "golden.npz", "manifest.json"}
    assert not (repository / "tiny" / "configs").exists()
    assert manifest.read(done.path / "manifest.json").gpu is None


def test_half_precision_has_weights_of_its_own(put: Callable[..., PackagedVersion]) -> None:
    """Its graph computes in half, gives floats, and what that moved makes the tolerance of a server with it."""
    done = put(on_gpu=GpuWish(precision="fp16"))
    assert (done.path / "model.gpu.weights").is_file()
    graph = load(done.path / "model.gpu.onnx").graph
    assert TensorProto.FLOAT16 in {tensor.data_type for tensor in graph.initializer}
    assert TensorProto.FLOAT16 not in {t.data_type for t in load(done.path / "model.onnx").graph.initializer}
    plain, half = Session(done.path / "model.onnx"), Session(done.path / "model.gpu.onnx")
    moved = np.abs(plain.scores(IMAGES) - half.scores(IMAGES)).max()
    kept = manifest.read(done.path / "manifest.json")
    assert kept.gpu is not None
    assert 1e-6 < moved <= kept.gpu.tolerance


def test_half_precision_that_goes_wrong_is_refused(put: Callable[..., PackagedVersion], repository: Path) -> None:
    """Numbers beyond its range are found before anything is published."""
    graph = small_classifiers.classifier()
    for tensor, factor in zip(graph.graph.initializer, (1e6, 1e-6), strict=True):
        values = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    with pytest.raises(TaskFailure, match="Leave --gpu-precision fp16 out"):
        put(graph, on_gpu=GpuWish(precision="fp16"))
    assert not repository.exists()
    put(graph)


def test_a_quantised_graph_is_refused_in_half_precision(put: Callable[..., PackagedVersion]) -> None:
    """Half precision is for float graphs; the same model packages without it."""
    with pytest.raises(TaskFailure, match="Leave --gpu-precision fp16 out"):
        put(small_classifiers.dynamically_quantised(), max_batch=1, on_gpu=GpuWish(precision="fp16"))
    put(small_classifiers.dynamically_quantised(), max_batch=1)


def data_dependent() -> onnx.ModelProto:
    """Return a classifier with a value whose length the numbers decide."""
    graph = small_classifiers.classifier()
    graph.graph.node.extend(
        [
            helper.make_node("NonZero", ["logits"], ["places"]),
            helper.make_node("Cast", ["places"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMin", ["floats"], ["least"], keepdims=0),
            helper.make_node("Add", ["logits", "least"], ["moved"]),
        ]
    )
    graph.graph.output[0].name = "moved"
    return graph


def test_what_cannot_have_branches_stays_plain_without_batching(
    put: Callable[..., PackagedVersion], repository: Path
) -> None:
    """The reason is said, the file for GPUs is there all the same, and its configuration does not batch."""
    done = put(data_dependent())
    said = "\n".join(put.lines)  # type: ignore[attr-defined]
    assert "depends on more than the size of the batch" in said
    assert "batching off" in said
    found = config(done)
    assert "dynamic_batching" not in found
    assert [sample["batch_size"] for sample in found["model_warmup"]] == [1, 32]
    assert sizes_of(load(done.path / "model.gpu.onnx")) == ()
    np.testing.assert_array_equal(
        Session(done.path / "model.gpu.onnx").scores(IMAGES), Session(done.path / "model.onnx").scores(IMAGES)
    )
    put(data_dependent())
    assert lint(repository) == []


def test_branches_that_answer_otherwise_are_not_published(
    put: Callable[..., PackagedVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof sees one wrong branch, names the batch, and the graph stays plain."""

    def wrong(model: onnx.ModelProto, sizes: tuple[int, ...]) -> onnx.ModelProto:
        result = bucketed(model, sizes)
        for tensor in result.graph.initializer:
            if list(tensor.dims) == [8] and tensor.data_type == TensorProto.INT64:
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(8, np.int64), tensor.name))
        return result

    monkeypatch.setattr(gpu, "bucketed", wrong)
    done = put()
    assert "the branches give other answers: a batch of 5 differs most" in "\n".join(put.lines)  # type: ignore[attr-defined]
    assert sizes_of(load(done.path / "model.gpu.onnx")) == ()
    assert "dynamic_batching" not in config(done)
    # What leads into a branch and out of it is tried by itself, for the batches between.
    monkeypatch.setattr(gpu, "bucket_difference", lambda *_images, **_limits: (0.0, 1))
    put(small_classifiers.classifier(seed=2), model="other")
    assert "a batch of 5 is led astray on its way into a branch" in "\n".join(put.lines)  # type: ignore[attr-defined]


def test_later_versions_fit_the_configuration_for_gpus(put: Callable[..., PackagedVersion], repository: Path) -> None:
    """They leave it alone but for parameters of their own, which stand in both files, and may not lack its graph."""
    done = put()
    path = done.path.parent / "configs" / "gpu.pbtxt"
    before = path.read_text()
    put(small_classifiers.classifier(seed=1))
    assert path.read_text() == before
    put(small_classifiers.classifier(seed=2), wishes=Wishes(labels=LABELS, resize=30))
    for file in (path, repository / "tiny" / "config.pbtxt"):
        assert config_pbtxt.parse(file)["parameters"]["image.resize.3"] == {"string_value": "30"}
    with pytest.raises(TaskFailure, match="Leave --gpu-precision none out, or package under another model name"):
        put(on_gpu=None)
    put(on_gpu=None, model="other")
    assert lint(repository) == []


def test_a_model_without_a_graph_for_gpus_stays_so(put: Callable[..., PackagedVersion], repository: Path) -> None:
    """A version of a model that was packaged before gets none, unless it is asked for, which is refused."""
    put(on_gpu=None)
    done = put()
    assert not (done.path / "model.gpu.onnx").exists()
    assert "and this one gets none" in "\n".join(put.lines)  # type: ignore[attr-defined]
    for asked in (GpuWish(precision="fp16"), GpuWish()):
        with pytest.raises(TaskFailure, match="Package this version under another model name"):
            put(on_gpu=asked)
    assert lint(repository) == []


def test_configuration_from_git_gets_one_for_gpus(put: Callable[..., PackagedVersion], repository: Path) -> None:
    """A model without versions has nothing that could lack the graph, so that the file is added."""
    put(on_gpu=None)
    for path in (repository / "tiny" / "1").iterdir():
        path.unlink()
    (repository / "tiny" / "1").rmdir()
    done = put()
    assert config(done)["default_model_filename"] == "model.gpu.onnx"
    assert lint(repository) == []


def test_an_input_that_is_kept_with_an_open_size_has_branches(put: Callable[..., PackagedVersion]) -> None:
    """What the contract says of height and width is constant, though the graph leaves it open."""
    graph = small_classifiers.classifier()
    for dim, name in zip(graph.graph.input[0].type.tensor_type.shape.dim[2:], "hw", strict=True):
        dim.dim_param = name
    done = put(graph, keep_input=True, wishes=Wishes(labels=LABELS, size=(16, 16)))
    assert open_shapes(load(done.path / "model.gpu.onnx")) == []


def test_the_largest_batch_has_a_branch(put: Callable[..., PackagedVersion]) -> None:
    """Branches follow --max-batch; those of the owner's own have to end with it, and the advice is right."""
    done = put(max_batch=6)
    assert sizes_of(load(done.path / "model.gpu.onnx")) == (1, 2, 4, 6)
    with pytest.raises(TaskFailure, match=r"largest batch, which is 8. Write --buckets 1,2,4,8") as refused:
        put(model="other", max_batch=8, on_gpu=GpuWish(buckets=(1, 4)))
    advice = str(refused.value).partition("Write --buckets ")[2].partition(", or")[0]
    put(model="other", max_batch=8, on_gpu=wish(None, tuple(map(int, advice.split(",")))))
    one = put(model="single", max_batch=1)
    assert "dynamic_batching" not in config(one)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda version: (version / "model.weights").unlink(), "onnx-unreadable"),
        (lambda version: (version / "model.gpu.onnx").unlink(), "model-missing"),
        (lambda version: (version / "model.gpu.onnx").write_bytes(b"\x08nothing"), "onnx-unreadable"),
        (lambda version: outside(version), "onnx-unreadable"),
        (lambda version: edit(version, "max_batch_size: 32", "max_batch_size: 16"), "gpu-config"),
        (lambda version: edit(version, 'string_value: "18"', 'string_value: "19"'), "gpu-config"),
        (lambda version: edit(version, "batch_size: 8\n", "batch_size: 4\n"), "warmup-buckets"),
        (lambda version: both(version, "max_batch_size: 32", "max_batch_size: 64"), "buckets"),
    ],
    ids=["weights-gone", "graph-gone", "graph-broken", "outside", "batch", "resize", "cold", "too-large"],
)
def test_the_linter_knows_both_graphs(
    change: Callable[[Path], None], rule: str, put: Callable[..., PackagedVersion], repository: Path
) -> None:
    """Each way in which the two graphs, their weights and their configurations can fall apart is found."""
    change(put().path)
    assert rule in {finding.rule for finding in lint(repository)}


def edit(version: Path, old: str, new: str) -> None:
    """Change the configuration for GPUs."""
    path = version.parent / "configs" / "gpu.pbtxt"
    text = path.read_text()
    changed = text.replace(old, new)
    assert changed != text
    path.write_text(changed)


def both(version: Path, old: str, new: str) -> None:
    """Change both configurations."""
    edit(version, old, new)
    path = version.parent / "config.pbtxt"
    path.write_text(path.read_text().replace(old, new))


def outside(version: Path) -> None:
    """Let the graph for GPUs look for its weights outside of its folder."""
    (version.parent / "stolen.weights").write_bytes((version / "model.weights").read_bytes())
    path = version / "model.gpu.onnx"
    graph = onnx.load(path, load_external_data=False)
    for tensor in graph.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../stolen.weights"
    path.write_bytes(graph.SerializeToString())


def test_the_manifest_says_what_the_graph_for_gpus_is(put: Callable[..., PackagedVersion]) -> None:
    """Its precision, its branches, and how far its answers may lie from the golden ones."""
    kept = json.loads((put().path / "manifest.json").read_text())["gpu"]
    assert kept["buckets"] == [1, 2, 4, 8, 16, 32]
    assert kept["difference"] <= 1e-5
    assert kept["tolerance"] >= 1e-4


@pytest.mark.parametrize("name", ["decided-by-data", "loop", "scan", "functions", "quantised", "shape-chain"])
def test_graphs_of_all_kinds_are_packaged_with_branches(name: str, put: Callable[..., PackagedVersion]) -> None:
    """Subgraphs, functions, quantised weights and shapes that are computed: every shape in the branches is constant."""
    done = put(batched_models.MODELS[name](), wishes=Wishes(labels=LABELS, size=(8, 8)))
    assert open_shapes(load(done.path / "model.gpu.onnx")) == []
