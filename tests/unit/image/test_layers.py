"""What goes into an image, and what does not: models and packages, as layers of fixed bytes."""

import json
import shutil
import tarfile
from collections import Counter
from io import BufferedReader
from pathlib import Path

import onnx
import pytest

from scripts.agent.files import digest, scan
from scripts.host import files
from scripts.host.errors import TaskFailure
from scripts.image import layers, runtime
from scripts.image.tarball import MTIME
from scripts.repository import manifest
from tests.doubles.runners import Script, package_flowers
from triton_sdk.local import REQUIREMENTS


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Package a small classifier in two versions."""
    return package_flowers(tmp_path_factory.mktemp("packaged"))


@pytest.fixture
def repository(packaged: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may spoil."""
    return Path(shutil.copytree(packaged, tmp_path / "models"))


def test_the_digest_of_models_covers_their_configuration(repository: Path) -> None:
    """A changed config.pbtxt is another set of models."""
    before = layers.checked(repository).digest
    with (repository / "flowers" / "config.pbtxt").open("a", encoding="utf-8") as config:
        config.write("\n# a note\n")
    assert layers.checked(repository).digest != before


def test_a_version_is_named_as_the_store_and_the_agent_name_it(repository: Path) -> None:
    """By all its files, so that a graph for GPUs in half precision beside the same model.onnx is another version."""
    folder = repository / "flowers" / "1"
    before, whole = layers.checked(repository).versions[0].digest, layers.checked(repository).digest
    assert before == digest(scan(folder))
    graph = onnx.load(folder / "model.gpu.onnx", load_external_data=False)
    graph.doc_string = "another one"
    onnx.save(graph, folder / "model.gpu.onnx")
    told = json.loads((folder / "manifest.json").read_text())
    told["sha256"]["model.gpu.onnx"] = manifest.sha256(folder / "model.gpu.onnx")
    (folder / "manifest.json").write_text(json.dumps(told))
    after = layers.checked(repository)
    assert after.versions[0].digest == digest(scan(folder)) != before
    assert after.digest != whole


def test_an_empty_repository_is_refused(tmp_path: Path) -> None:
    """The message says how to package."""
    with pytest.raises(TaskFailure, match="invoke package-model"):
        layers.checked(tmp_path)


def test_what_the_linter_refuses_is_refused(repository: Path) -> None:
    """A model file that is not the packaged one never gets into an image."""
    with (repository / "flowers" / "1" / "model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(TaskFailure, match="lint-repository"):
        layers.checked(repository)


def test_a_version_without_a_manifest_is_refused(repository: Path) -> None:
    """Nothing says what it should hold."""
    (repository / "flowers" / "2" / "manifest.json").unlink()
    with pytest.raises(TaskFailure, match=r"no manifest|manifest"):
        layers.checked(repository)


def test_only_named_files_are_staged(repository: Path, tmp_path: Path) -> None:
    """Whatever else lies beside the models, hidden or not, stays out of the context."""
    for place in (".env", "flowers/.env", "flowers/notes.txt", "flowers/1/credentials"):
        (repository / place).write_text("secret", encoding="utf-8")
    context = tmp_path / "context"
    context.mkdir()
    wanted = layers.checked(repository)
    adds = layers.stage(wanted, context)
    assert adds.splitlines() == [f"ADD layers/{name}.tar /" for name in ("flowers-1", "flowers-2", "configs")]
    held = set()
    for layer in (context / "layers").iterdir():
        with tarfile.open(layer) as archive:
            held |= {member.name for member in archive.getmembers() if member.isfile()}
    packed = ("model.onnx", "model.gpu.onnx", "model.weights", "golden.npz", "manifest.json")
    files = {f"models/flowers/{version}/{file}" for version in (1, 2) for file in packed}
    files |= {"models/flowers/config.pbtxt", "models/flowers/configs/gpu.pbtxt"}
    assert held == files


def test_what_changes_after_the_check_is_refused(repository: Path, tmp_path: Path) -> None:
    """A file is hashed as it is packed, so that what the linter saw is what the image gets."""
    wanted = layers.checked(repository)
    with (repository / "flowers" / "2" / "golden.npz").open("ab") as file:
        file.write(b"x")
    (tmp_path / "context").mkdir()
    with pytest.raises(TaskFailure, match=r"2/golden\.npz is not the file that was packaged"):
        layers.stage(wanted, tmp_path / "context")


def test_a_model_is_hashed_once_and_read_once_before_it_is_packed(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models have gigabytes: the linter hashes and parses each once, and packing reads it once more."""
    read = Counter[str]()

    def opened(path: Path) -> BufferedReader:
        read[str(path.relative_to(repository))] += 1
        return path.open("rb")

    monkeypatch.setattr(files, "opened", opened)
    wanted = layers.checked(repository)
    graphs = {f"flowers/{version}/{name}" for version in (1, 2) for name in ("model.onnx", "model.gpu.onnx")}
    assert {name: read[name] for name in graphs} == dict.fromkeys(graphs, 2)
    (tmp_path / "context").mkdir()
    layers.stage(wanted, tmp_path / "context")
    assert {name: read[name] for name in graphs} == dict.fromkeys(graphs, 3)


def test_a_link_is_not_followed_into_an_image(repository: Path, tmp_path: Path) -> None:
    """It could lead to any file of the machine."""
    wanted = layers.checked(repository)
    target = repository / "flowers" / "1" / "model.onnx"
    target.rename(tmp_path / "elsewhere.onnx")
    target.symlink_to(tmp_path / "elsewhere.onnx")
    (tmp_path / "context").mkdir()
    with pytest.raises(TaskFailure, match="no regular file"):
        layers.stage(wanted, tmp_path / "context")


def test_a_layer_is_the_same_bytes_for_the_same_content(repository: Path, tmp_path: Path) -> None:
    """Times, modes and owners on this machine leave no trace in it."""
    staged = []
    for turn, mode in enumerate((0o600, 0o664)):
        for path in repository.rglob("*.*"):
            path.chmod(mode)
            path.touch()
        context = tmp_path / str(turn)
        context.mkdir()
        layers.stage(layers.checked(repository), context)
        staged.append({path.name: path.read_bytes() for path in (context / "layers").iterdir()})
    assert staged[0] == staged[1]
    with tarfile.open(tmp_path / "0" / "layers" / "flowers-1.tar") as archive:
        members = archive.getmembers()
    assert [m.name for m in members][:3] == ["models", "models/flowers", "models/flowers/1"]
    assert {(m.mtime, m.uid, m.gid) for m in members} == {(MTIME, 0, 0)}
    assert {m.mode for m in members if m.isfile()} == {0o644}


def test_the_packages_are_those_of_the_images_python() -> None:
    """Conditions are judged by the image's Python, not by the one that runs; every package keeps its hashes."""
    text = REQUIREMENTS.read_text(encoding="utf-8")
    old, new = (runtime.requirements(text, python=python) for python in ("3.11", "3.13"))
    assert "numpy==1.26.4 --hash=sha256:" in old
    assert "numpy==2" not in old
    assert "numpy==2" in new
    assert all("--hash=sha256:" in line for line in old.splitlines())
    assert len(old.splitlines()) == 6


def test_the_runtime_layer_has_one_stub_and_no_programs(tmp_path: Path) -> None:
    """Other Pythons' stubs stay out; the server's program stays runnable."""
    for name in ("bin/onnxruntime_test", "numpy/a.py", "pytriton/tritonserver/bin/tritonserver"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch(mode=0o755 if name.endswith("server") else 0o644)
    for python in ("3.10", "3.11"):
        stub = tmp_path / "pytriton/tritonserver/python_backend_stubs" / python / runtime.STUB
        stub.parent.mkdir(parents=True)
        stub.touch()
    entries = {entry.name.removeprefix(f"{runtime.SITE}/"): entry for entry in runtime.entries(tmp_path)}
    assert set(entries) == {
        "numpy/a.py",
        "pytriton/tritonserver/bin/tritonserver",
        f"pytriton/tritonserver/python_backend_stubs/3.11/{runtime.STUB}",
        "pytriton/tritonserver/backends/onnxruntime/model.py",
        f"pytriton/tritonserver/backends/python/{runtime.STUB}",
    }
    assert getattr(entries["pytriton/tritonserver/bin/tritonserver"], "runnable", False)
    assert not getattr(entries["numpy/a.py"], "runnable", True)


def test_packages_that_cannot_be_fetched_are_one_message(tmp_path: Path) -> None:
    """What pip said last, and where to look."""
    runner = Script({"": (1, "ERROR: No matching distribution")})
    with pytest.raises(TaskFailure, match=r"(?s)No matching distribution.*package index"):
        runtime.stage(tmp_path / "a.tar", runner=runner, progress=lambda _: None)
    assert "--require-hashes" in runner.ran[0].argv
