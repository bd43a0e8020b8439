"""Which versions a model repository holds."""

from pathlib import Path

import pytest

from scripts.host.errors import TaskFailure
from scripts.repository.versions import is_version, packaged, require, version_folders


@pytest.mark.parametrize(("name", "taken"), [("1", True), ("10", True), ("0", False), ("01", False), ("-1", False)])
def test_a_version_is_named_as_triton_reads_it(name: str, taken: bool) -> None:
    """A positive whole number without a zero before it is a version."""
    assert is_version(name) is taken


@pytest.mark.parametrize("name", ["", "1a", "1 ", "²", "\u0661"])
def test_what_only_looks_like_a_number_is_no_version(name: str) -> None:
    """Triton reads ASCII digits, and nothing else that Python would take for a digit."""
    assert not is_version(name)


def test_versions_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """The tenth version comes after the second, and neither a file nor another folder is one."""
    for name in ("10", "2", "02", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "3").touch()
    assert list(version_folders(tmp_path).items()) == [(2, tmp_path / "2"), (10, tmp_path / "10")]
    assert version_folders(tmp_path / "missing") == {}


def test_a_version_without_a_readable_manifest_is_listed_all_the_same(tmp_path: Path) -> None:
    """What something else packaged is served as well; what is hidden is no model."""
    (tmp_path / "cars" / "1").mkdir(parents=True)
    (tmp_path / "cars" / "2").mkdir()
    (tmp_path / "cars" / "2" / "manifest.json").write_text("{", encoding="utf-8")
    (tmp_path / ".staging" / "1").mkdir(parents=True)
    found = packaged(tmp_path)
    assert [(each.model, each.version, each.path, each.manifest) for each in found] == [
        ("cars", number, tmp_path / "cars" / str(number), None) for number in (1, 2)
    ]
    assert found[0].summary == "no manifest: packaged by something else"
    assert packaged(tmp_path / "missing") == []


def test_a_repository_without_a_version_is_told_with_how_to_package_one(tmp_path: Path) -> None:
    """A model that has a configuration only is none that could be served."""
    (tmp_path / "cars").mkdir()
    (tmp_path / "cars" / "config.pbtxt").touch()
    with pytest.raises(TaskFailure, match=r"(?s)nothing to serve.*invoke package-model"):
        require(tmp_path)
    (tmp_path / "cars" / "1").mkdir()
    assert require(tmp_path) == packaged(tmp_path)
