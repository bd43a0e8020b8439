"""Publishing a packaged version: what is sent, and what is refused."""

import shutil
from pathlib import Path

import onnx
import pytest

from scripts.agent.folder import Folder
from scripts.agent.store import Store
from scripts.host.errors import TaskFailure
from scripts.packaging.package import package
from scripts.sources.source import Source
from scripts.versions.publish import publish
from tests.doubles import tiny


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with two versions of ``cars``, and one of ``birds``, which has other classes."""
    root = tmp_path_factory.mktemp("packaged")
    for name, seed, classes in (("cars", 1, 3), ("cars", 2, 3), ("birds", 3, 4)):
        onnx.save(tiny.classifier(seed=seed, classes=classes), root / f"{name}.onnx")
        package(Source.onnx(root / f"{name}.onnx"), model=name, repository=root / "models", progress=lambda _: None)
    return root / "models"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return an empty store."""
    (tmp_path / "store").mkdir()
    return Store(Folder(tmp_path / "store"))


def send(repository: Path, store: Store, *, model: str = "cars", version: int | None = None) -> tuple[int, bool, int]:
    """Publish, and return the version, whether it is new, and the bytes that the bar counted."""
    shown: list[tuple[int, int]] = [(0, 0)]
    done = publish(repository, store, model=model, version=version, progress=lambda *pair: shown.append(pair))
    assert shown[-1][0] == shown[-1][1]
    return done.version.version, done.new, shown[-1][1]


def test_the_highest_version_is_published_unless_one_is_named(packaged: Path, store: Store) -> None:
    """A second time nothing is new, and the bar is full all the same."""
    number, new, size = send(packaged, store)
    assert (number, new) == (2, True)
    assert size > 1000
    assert send(packaged, store) == (2, False, size)
    assert send(packaged, store, version=1)[:2] == (1, True)
    assert store.versions("cars") == [1, 2]


def test_what_lies_beside_the_versions_is_published_too(packaged: Path, store: Store) -> None:
    """A server that lacks the model can serve it."""
    send(packaged, store)
    found = store.find("cars", 2)
    assert found is not None
    assert "config.pbtxt" in found.shared
    assert not any(name.startswith(("1/", "2/")) for name in found.shared)


def test_another_contract_is_refused(packaged: Path, store: Store, tmp_path: Path) -> None:
    """Callers of one model must not notice which version answers."""
    send(packaged, store, version=1)
    other = tmp_path / "models" / "cars"
    shutil.copytree(packaged / "birds", other)
    (other / "1").rename(other / "2")
    manifest = other / "2" / "manifest.json"
    text = manifest.read_text(encoding="utf-8").replace('"model": "birds"', '"model": "cars"')
    manifest.write_text(text.replace('"version": 1', '"version": 2'), encoding="utf-8")
    with pytest.raises(TaskFailure, match="another model's name"):
        send(tmp_path / "models", store)
    assert store.versions("cars") == [1]


def test_another_content_under_a_number_is_refused(packaged: Path, store: Store, tmp_path: Path) -> None:
    """Nothing of it replaces what is there."""
    send(packaged, store, version=1)
    shutil.copytree(packaged / "cars" / "2", tmp_path / "models" / "cars" / "1")
    with pytest.raises(TaskFailure, match="A published version never changes"):
        send(tmp_path / "models", store)


@pytest.mark.parametrize(
    ("model", "version", "saying"),
    [
        ("boats", None, "No model 'boats' is packaged .* Packaged: birds, cars"),
        ("../cars", None, "No model '../cars' is packaged"),
        ("cars", 9, "Version 9 of cars is not packaged .* Packaged: 1, 2"),
    ],
)
def test_what_is_not_packaged_is_named(
    packaged: Path, store: Store, model: str, version: int | None, saying: str
) -> None:
    """With what is."""
    with pytest.raises(TaskFailure, match=saying):
        send(packaged, store, model=model, version=version)


def test_a_version_without_a_manifest_is_refused(packaged: Path, store: Store, tmp_path: Path) -> None:
    """Nothing tells what it takes and gives."""
    shutil.copytree(packaged, tmp_path / "models")
    (tmp_path / "models" / "cars" / "2" / "manifest.json").unlink()
    with pytest.raises(TaskFailure, match="has no manifest"):
        send(tmp_path / "models", store)
