"""Packaging: what appears in the repository, and what leaves it untouched."""

import hashlib
import os
import re
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import onnx
import pytest

from scripts.graph import rewrite
from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from scripts.packaging import build, staging
from scripts.packaging.package import Source, Wishes, package
from scripts.repository import config_pbtxt, golden
from scripts.repository.lint.model import lint
from scripts.repository.versions import PackagedVersion, packaged
from tests.doubles import small_classifiers
from triton_sdk.contract import ModelContract
from triton_sdk.labels import imagenet

LABELS = tuple("abcde")


def silent(_: str) -> None:
    """Take a line of progress."""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The path of a repository that does not exist yet."""
    return tmp_path / "models"


@pytest.fixture
def sources(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Source]:
    """Write tiny classifiers to files, outside the folders that are compared."""
    folder = tmp_path_factory.mktemp("onnx")

    def write(model: onnx.ModelProto | None = None, **changes: Any) -> Source:
        path = folder / f"{len(list(folder.iterdir()))}.onnx"
        onnx.save_model(small_classifiers.classifier(**changes) if model is None else model, path)
        return Source.onnx(path)

    return write


def put(source: Source, repository: Path, **options: Any) -> PackagedVersion:
    """Package *source* as the model "tiny", unless the options say otherwise; those of `Wishes` become one."""
    known = {field.name for field in attrs.fields(Wishes)}
    wishes = Wishes(**{"labels": LABELS} | {name: value for name, value in options.items() if name in known})
    others = {name: value for name, value in options.items() if name not in known}
    return package(source, repository=repository, **{"model": "tiny", "progress": silent, "wishes": wishes, **others})


def tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Return every path below *folder* with its mode and hash: equal trees mean that nothing changed."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


def contract_of(model: Path) -> ModelContract:
    """Return what the configuration in a model's folder says."""
    return ModelContract.from_config(config_pbtxt.parse(model / "config.pbtxt"))


def test_a_new_model_appears_complete(repository: Path, sources: Callable[..., Source]) -> None:
    """The first version comes with configuration, labels, golden data and manifest, and the linter is content."""
    done = put(sources(), repository)
    assert (done.model, done.version, done.path) == ("tiny", 1, repository / "tiny" / "1")
    assert set(tree(repository)) == {
        "tiny",
        "tiny/1",
        "tiny/1/golden.npz",
        "tiny/1/manifest.json",
        "tiny/1/model.gpu.onnx",
        "tiny/1/model.onnx",
        "tiny/1/model.weights",
        "tiny/config.pbtxt",
        "tiny/configs",
        "tiny/configs/gpu.pbtxt",
        "tiny/labels.txt",
    }
    assert lint(repository) == []
    assert packaged(repository) == [done]
    assert str(contract_of(repository / "tiny").input) == "image UINT8 (n, 16, 16, 3)"
    assert [path.name for path in repository.parent.iterdir()] == ["models"]


def test_the_packaged_graph_is_the_original_on_pixels(repository: Path, sources: Callable[..., Source]) -> None:
    """On other pixels than those of the proof, it equals softmax(original(normalised pixels)) within 1e-4."""
    done = put(sources(seed=4), repository, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    side, graph = small_classifiers.SIDE, small_classifiers.classifier(seed=4)
    pixels = np.random.default_rng(1).integers(0, 256, (7, side, side, 3), dtype=np.uint8)
    normal = (pixels / 255 - np.array([0.4, 0.5, 0.6])) / np.array([0.2, 0.3, 0.4])
    logits = Session(graph).scores(normal.transpose(0, 3, 1, 2).astype(np.float32)).astype(float)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    got = Session(done.path / "model.onnx").scores(pixels)
    assert np.abs(got - expected).max() < 1e-4
    assert got.std() > 0.01  # a constant answer would prove nothing


def test_the_golden_output_is_what_the_file_answers(repository: Path, sources: Callable[..., Source]) -> None:
    """The golden data hold distinct images and the published file's own answers to them."""
    done = put(sources(), repository)
    kept = golden.load(done.path / "golden.npz")
    assert len(np.unique(kept.input.reshape(len(kept.input), -1), axis=0)) == golden.COUNT
    answers = Session(done.path / "model.onnx").scores(kept.input)
    assert golden.compare(kept.output, answers).difference < 1e-6


def test_the_next_version_takes_the_next_number(repository: Path, sources: Callable[..., Source]) -> None:
    """Without a number the next after the highest is taken, and what was there stays as it was."""
    put(sources(), repository, version=3)
    before = tree(repository)
    assert put(sources(seed=2), repository, labels=None).version == 4
    assert put(sources(seed=3), repository, version=1).version == 1
    after = tree(repository)
    assert before.items() <= after.items()
    assert [(found.model, found.version) for found in packaged(repository)] == [("tiny", n) for n in (1, 3, 4)]


def test_packaging_twice_gives_the_same_bytes(tmp_path: Path, sources: Callable[..., Source]) -> None:
    """Neither time nor place stands in what is written."""
    source = sources()
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        put(source, tmp_path / place / "models")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_everyone_can_read_it(repository: Path, sources: Callable[..., Source]) -> None:
    """A server that runs as another user can read all of it, whatever the umask of who packaged."""
    old = os.umask(0o077)
    try:
        put(sources(), repository)
    finally:
        os.umask(old)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (repository, *repository.rglob("*"))}
    assert modes == {0o755, 0o644}


def test_a_fixed_batch_is_freed(repository: Path, sources: Callable[..., Source]) -> None:
    """A graph for one image at a time is served in batches, with the same answers."""
    done = put(sources(batch=1), repository)
    pixels = golden.images(3, height=small_classifiers.SIDE, width=small_classifiers.SIDE)
    session = Session(done.path / "model.onnx")
    assert np.abs(session.scores(pixels) - session.alone(pixels)).max() < 1e-6


def test_the_input_can_be_kept(repository: Path, sources: Callable[..., Source]) -> None:
    """With keep_input the graph takes what it took, and the configuration says how to normalise."""
    done = put(sources(input_name="data"), repository, keep_input=True, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    contract = contract_of(repository / "tiny")
    assert str(contract.input) == "data FP32 (n, 3, 16, 16)"
    assert (contract.mean, contract.std, contract.scores) == ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "probabilities")
    assert golden.load(done.path / "golden.npz").input.dtype == np.float32
    assert lint(repository) == []


def test_a_resize_of_its_own_is_said_in_the_configuration(repository: Path, sources: Callable[..., Source]) -> None:
    """A version with another resize adds one parameter, and edits of the file survive."""
    put(sources(), repository)
    path = repository / "tiny" / "config.pbtxt"
    edited = "# our own\n" + path.read_text().replace("queue_delay_microseconds: 0", "queue_delay_microseconds: 64")
    path.write_text(edited)
    path.chmod(0o664)
    put(sources(seed=2), repository, resize=20)
    contract = contract_of(repository / "tiny")
    assert path.read_text().startswith(edited)
    assert (contract.framing_for(1).resize, contract.framing_for(2).resize) == (18, 20)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664


def test_configuration_from_git_gets_versions_only(repository: Path, sources: Callable[..., Source]) -> None:
    """Where configuration and labels lie without a version, packaging leaves both as they are."""
    put(sources(), repository)
    shutil.rmtree(repository / "tiny" / "1")
    before = tree(repository)
    assert put(sources(), repository, labels=None).version == 1
    after = tree(repository)
    assert before.items() <= after.items()
    assert after.keys() - before.keys() == {
        "tiny/1",
        *(
            f"tiny/1/{name}"
            for name in ("golden.npz", "manifest.json", "model.gpu.onnx", "model.onnx", "model.weights")
        ),
    }


def test_dynamic_quantisation_is_measured_and_said(repository: Path, sources: Callable[..., Source]) -> None:
    """The figure is said, kept in the manifest, and makes the golden check's tolerance."""
    lines: list[str] = []
    done = put(sources(small_classifiers.dynamically_quantised()), repository, progress=lines.append)
    assert done.manifest is not None
    assert done.manifest.quantisation == "dynamic"
    figure = done.manifest.measured.batching
    assert figure > 1e-4
    assert done.manifest.tolerance >= 2 * figure
    said = [line for line in lines if "dynamically quantised" in line]
    assert len(said) == 1
    assert f"{figure:.2g}" in said[0]


def test_unknown_classes_stay_without_names(repository: Path, sources: Callable[..., Source]) -> None:
    """Without labels for 5 classes none are invented, and that is said."""
    lines: list[str] = []
    put(sources(), repository, labels=None, progress=lines.append)
    assert not (repository / "tiny" / "labels.txt").exists()
    assert not contract_of(repository / "tiny").labelled
    assert any("labels (none)" in line and "--labels FILE" in line for line in lines)


def test_a_thousand_classes_are_taken_for_imagenet_s(repository: Path, sources: Callable[..., Source]) -> None:
    """Without labels for 1000 classes ImageNet's are taken, the assumption is said, and it stays in the manifest."""
    lines: list[str] = []
    done = put(sources(classes=1000), repository, labels=None, progress=lines.append)
    assert (repository / "tiny" / "labels.txt").read_text().splitlines() == list(imagenet())
    assert any("labels (1000 names)" in line for line in lines)
    assert done.manifest is not None
    assert done.manifest.preprocessing is not None
    assert done.manifest.preprocessing.labels.source == "assumed"


REFUSALS: dict[str, tuple[Callable[[Callable[..., Source]], Source], dict[str, Any], str]] = {
    "existing version": (lambda s: s(seed=2), {"version": 1}, "version 1 exists"),
    "other contract": (lambda s: s(side=8), {}, r"(?s)this version:.*\(n, 8, 8, 3\).*the model:.*\(n, 16, 16, 3\)"),
    "other classes": (lambda s: s(classes=7), {"labels": None}, r"(?s)\(n, 7\).*\(n, 5\)"),
    "kept input": (lambda s: s(), {"keep_input": True}, r"(?s)FP32.*UINT8"),
    "other labels": (lambda s: s(), {"labels": tuple("fghij")}, "share its labels"),
    "too few labels": (lambda s: s(), {"model": "new", "labels": LABELS[:4]}, "4 labels for 5 classes"),
    "too few labels for a version": (lambda s: s(), {"labels": LABELS[:4]}, "4 labels for 5 classes"),
    "blank label": (lambda s: s(), {"model": "new", "labels": ("a", "b", " ", "d", "e")}, "Label 2"),
    "another batch size": (lambda s: s(), {"max_batch": 7}, "up to 32 images"),
    "no file": (lambda _: Source.onnx(Path("missing.onnx")), {"model": "new"}, "missing.onnx does not exist"),
    "version 0": (lambda s: s(), {"version": 0}, "not 0"),
    "no batch": (lambda s: s(), {"model": "new", "max_batch": 0}, "not 0"),
    "name with a slash": (lambda s: s(), {"model": "../evil"}, "cannot name a model"),
    "name with a blank": (lambda s: s(), {"model": "go od"}, "cannot name a model"),
    "hidden name": (lambda s: s(), {"model": ".hidden"}, "cannot name a model"),
    "resize below crop": (lambda s: s(), {"resize": 8}, "smaller than the 16 x 16"),
    "no spread": (lambda s: s(), {"std": (0.0, 1.0, 1.0)}, "above 0"),
    "endless spread": (lambda s: s(), {"std": (1.0, float("inf"), 1.0)}, "above 0"),
    "mean of bytes": (lambda s: s(), {"mean": (123.675, 116.28, 103.53)}, "give --scale 1 too"),
    "mean that is none": (lambda s: s(), {"mean": (float("nan"), 0.0, 0.0)}, "pixels are from 0 to 1"),
    "too new": (lambda s: s(ir_version=14), {}, "IR version:? 14"),
    "several images at once": (lambda s: s(batch=4), {}, "exactly 4 images"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_changes_nothing(case: str, repository: Path, sources: Callable[..., Source]) -> None:
    """What cannot be packaged is refused in one message, and every file in and beside the repository is as before."""
    make, options, words = REFUSALS[case]
    put(sources(), repository)
    before = tree(repository.parent)
    with pytest.raises(TaskFailure, match=words):
        put(make(sources), repository, **options)
    assert tree(repository.parent) == before


@pytest.mark.parametrize("content", [b"", b"hello", None], ids=["empty", "text", "truncated"])
def test_broken_files_are_refused(content: bytes | None, tmp_path: Path, repository: Path) -> None:
    """What is no ONNX file, or only half of one, is refused and leaves nothing behind."""
    path = tmp_path / "model.onnx"
    whole = small_classifiers.classifier().SerializeToString()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    before = tree(tmp_path)
    with pytest.raises(TaskFailure, match=r"model\.onnx"):
        put(Source.onnx(path), repository)
    assert tree(tmp_path) == before


def test_no_classifier_is_refused_with_what_was_found(repository: Path, sources: Callable[..., Source]) -> None:
    """A model of text is no image classifier, and the message says what it takes."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["tokens"], ["same"])],
        "text",
        [onnx.helper.make_tensor_value_info("tokens", onnx.TensorProto.INT64, ["n", 128])],
        [onnx.helper.make_tensor_value_info("same", onnx.TensorProto.INT64, ["n", 128])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    with pytest.raises(TaskFailure, match=r"(?s)no image classifier.*tokens"):
        put(sources(model), repository)
    assert not repository.exists()


def test_a_false_fusion_is_not_published(
    repository: Path, sources: Callable[..., Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the rewritten graph computed something else, the proof would catch it."""
    true_fuse = rewrite.fuse

    def wrong(model: onnx.ModelProto, classifier: Any, **options: Any) -> onnx.ModelProto:
        return true_fuse(model, classifier, pixels=attrs.evolve(options["pixels"], mean=(0.5, 0.5, 0.5)))

    monkeypatch.setattr(build, "fuse", wrong)
    with pytest.raises(TaskFailure, match="Proof failed"):
        put(sources(), repository)
    assert not any(repository.parent.iterdir())


def test_an_unwritable_folder_is_refused(sources: Callable[..., Source]) -> None:
    """Where nothing can be written, the refusal names the folder; /proc refuses even root."""
    with pytest.raises(TaskFailure, match=r"Nothing can be written in /proc"):
        put(sources(), Path("/proc/models"))


def test_a_missing_parent_is_refused(tmp_path: Path, sources: Callable[..., Source]) -> None:
    """A repository in a folder that does not exist is a slip, not a wish."""
    with pytest.raises(TaskFailure, match="does not exist"):
        put(sources(), tmp_path / "no" / "models")


def test_a_folder_without_a_configuration_is_refused(repository: Path, sources: Callable[..., Source]) -> None:
    """Nothing is added to a folder of which nobody knows what it serves."""
    (repository / "tiny" / "1").mkdir(parents=True)
    with pytest.raises(TaskFailure, match=r"without a config\.pbtxt"):
        put(sources(), repository)
    assert list(tree(repository)) == ["tiny", "tiny/1"]


def test_a_full_disk_is_a_clear_error(
    repository: Path, sources: Callable[..., Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When writing fails in the middle, the message says so and nothing stays."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "golden.npz")

    monkeypatch.setattr(golden, "save", full)
    with pytest.raises(TaskFailure, match=r"golden\.npz: No space left on device\. Nothing was published"):
        put(sources(), repository)
    assert not any(repository.parent.iterdir())


def test_whoever_publishes_first_wins(
    repository: Path, sources: Callable[..., Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is overtaken takes the next number, or refuses if it was asked for that very one."""
    source, true_settle = sources(), staging.settle

    def overtaken(folder: Path) -> None:
        monkeypatch.setattr(staging, "settle", true_settle)
        put(sources(seed=9), repository)
        true_settle(folder)

    monkeypatch.setattr(staging, "settle", overtaken)
    assert put(source, repository).version == 2
    assert lint(repository) == []

    shutil.rmtree(repository)
    monkeypatch.setattr(staging, "settle", overtaken)
    with pytest.raises(TaskFailure, match="version 1 exists"):
        put(source, repository, version=1)
    assert [found.version for found in packaged(repository)] == [1]


def test_runs_at_once_get_numbers_of_their_own(repository: Path, sources: Callable[..., Source]) -> None:
    """Six runs at the same time publish six whole versions, each with its own resize."""
    source, failures = sources(), []

    def run(resize: int) -> None:
        try:
            put(source, repository, resize=resize)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(20 + index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = packaged(repository)
    assert [version.version for version in found] == [1, 2, 3, 4, 5, 6]
    contract = contract_of(repository / "tiny")
    recorded = {v.version: v.manifest.contract.resize for v in found if v.manifest}
    assert {number: contract.framing_for(number).resize for number in recorded} == recorded
    assert sorted(recorded.values()) == [20, 21, 22, 23, 24, 25]
    assert lint(repository) == []


def test_an_interruption_at_any_step_changes_nothing_or_all(
    repository: Path, sources: Callable[..., Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at each call that touches the disk leaves the model as it was or with one whole version more."""
    source = sources()
    put(source, repository)
    calls, write_text = {"now": 0, "stop": 0}, Path.write_text

    def interrupting(true: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            calls["now"] += 1
            if calls["now"] == calls["stop"]:
                if true is write_text:
                    true(args[0], args[1][: len(args[1]) // 2], **options)
                raise KeyboardInterrupt
            return true(*args, **options)

        return call

    for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "replace"), (Path, "write_text"), (Path, "chmod")):
        monkeypatch.setattr(owner, name, interrupting(getattr(owner, name)))
    interrupted = 0
    while True:
        before = {path: known for path, known in tree(repository).items() if not path.endswith(".pbtxt")}
        calls.update(now=0, stop=interrupted + 1)
        try:
            put(source, repository, resize=30)
        except KeyboardInterrupt:
            interrupted += 1
        else:
            break
        after = tree(repository)
        assert before.items() <= after.items()
        new = {path for path in after.keys() - before.keys() if not path.endswith(".pbtxt")}
        assert len(new) in (0, 6)  # nothing, or a version's folder with its five files
        assert lint(repository) == []  # which compares each version's resize with the configuration's
        assert [path.name for path in repository.parent.iterdir()] == ["models"]
    assert interrupted > 15
    assert lint(repository) == []


def test_leftovers_of_dead_runs_are_removed_and_those_of_others_kept(
    repository: Path, sources: Callable[..., Source]
) -> None:
    """A staging folder whose owner is gone is removed by the next run; one in use is left alone."""
    dead = repository.parent / ".models.staging-dead"
    (dead / "version").mkdir(parents=True)
    dead.with_name(f"{dead.name}.lock").touch()
    with staging.stage(repository) as alive:
        put(sources(), repository)
        assert alive.is_dir()
        assert not dead.exists()
    assert [path.name for path in repository.parent.iterdir()] == ["models"]


def test_packaged_lists_what_others_put_there(repository: Path) -> None:
    """Versions without a manifest are listed, hidden folders and odd names are not, and a missing folder is empty."""
    assert packaged(repository) == []
    for name in ("tiny/1", "tiny/02", "tiny/x", ".git/3"):
        (repository / name).mkdir(parents=True)
    (found,) = packaged(repository)
    assert (found.model, found.version, found.manifest) == ("tiny", 1, None)
    assert re.search("no manifest", found.summary)
