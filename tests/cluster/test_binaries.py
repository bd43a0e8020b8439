"""How the programs of a cluster are built: once, from what is pinned."""

import re
from pathlib import Path

import platformdirs
import pytest

from tests.cluster import binaries
from tests.cluster.binaries import FAMILIES, Family
from tests.image.ground import Missing

# A `go` that writes down what it was asked for, and makes the program that was to be built.
GO = """#!/bin/sh
echo "$(basename "$PWD") $*" >> {asked}
test ! -e {broken} || {{ echo 'no such module' >&2; exit 1; }}
while test "$1" != -o; do shift; done
mkdir -p "$(dirname "$2")" "$GOCACHE" && echo a program > "$2"
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `go` of our own where the real one would be, and an empty cache; return their folder."""
    go = tmp_path / "go"
    go.write_text(GO.format(asked=tmp_path / "asked", broken=tmp_path / "broken"), encoding="utf-8")
    go.chmod(0o755)
    monkeypatch.setattr(binaries, "PATH", str(tmp_path))
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda _: tmp_path / "cache")
    return tmp_path


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: str(family.name))
def test_every_program_says_the_pinned_version(family: Family) -> None:
    """The linker is told the version that go.mod has, wherever the program shows one."""
    version = family.pinned()
    assert re.fullmatch(r"v\d+\.\d+\.\d+", version)
    assert family.flags().count(version) == (1 if family.version else 0)


def test_kubernetes_and_its_libraries_are_of_one_release() -> None:
    """Each of its modules is replaced by the one that was released with it."""
    (kubernetes,) = (family for family in FAMILIES if family.name == "kubernetes")
    text = (kubernetes.folder / "go.mod").read_text(encoding="utf-8")
    replaced = re.findall(r"^\t(\S+) => (\S+) v0\.(\S+)$", text, re.MULTILINE)
    assert len(replaced) > 30
    assert {f"v1.{version}" for _, _, version in replaced} == {kubernetes.pinned()}
    assert all(name == by for name, by, _ in replaced)


def test_programs_are_built_once(fake: Path) -> None:
    """A second call builds nothing; what a build needs meanwhile is gone."""
    folder = binaries.tools()
    assert (folder / "kubectl").read_text(encoding="utf-8") == "a program\n"
    assert (folder / "helm3" / "helm").resolve() != (folder / "helm4" / "helm").resolve()
    asked = (fake / "asked").read_text(encoding="utf-8").splitlines()
    assert len(asked) == sum(len(family.packages) for family in FAMILIES)
    assert not (fake / "cache" / "cluster-tools" / "work").exists()
    assert binaries.tools() == folder
    assert (fake / "asked").read_text(encoding="utf-8").splitlines() == asked


def test_a_build_that_fails_is_told_and_goes_on_later(fake: Path) -> None:
    """The reason is what Go printed; what was built before stays."""
    folder = binaries.tools()
    (folder / "kwok").resolve().parent.rename(fake / "old kwok")
    folder.rename(fake / "old folder")
    (fake / "asked").unlink()
    (fake / "broken").touch()
    with pytest.raises(Missing, match=r"go build sigs\.k8s\.io/kwok/cmd/kwok failed: no such module"):
        binaries.tools()
    (fake / "broken").unlink()
    assert (binaries.tools() / "kwok").exists()
    assert [line.split()[0] for line in (fake / "asked").read_text(encoding="utf-8").splitlines()] == ["kwok", "kwok"]


def test_without_go_the_reason_is_told(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names Go, and nothing is built."""
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(Missing, match="Go is not installed"):
        binaries.tools()
    assert not (fake / "asked").exists()
