"""What holds the project together: the pins of its packages, and workflows that ask for sessions that are there."""

import configparser
import runpy
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.shown import ROOT, sessions

PYTHONS = ("3.11.2", "3.12.0", "3.13.0")


def requirements() -> list[Requirement]:
    """Return what setup.cfg asks for, of the package and of each extra."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = config["options.extras_require"]
    texts = [config["options"]["install_requires"], *(extras[name] for name in extras)]
    return [Requirement(line) for text in texts for line in text.split("\n") if line.strip()]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_package_is_pinned_within_its_bounds(python: str) -> None:
    """A bad release of a package breaks no session: each has one version, which setup.cfg allows, on every Python."""
    environment = {str(key): str(value) for key, value in default_environment().items()}
    environment |= {"python_version": python.rpartition(".")[0], "python_full_version": python}
    pinned: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate(environment):
            assert pin.name not in pinned, f"{pin.name} has two versions on {python}"
            [specifier] = pin.specifier
            assert specifier.operator == "=="
            pinned[pin.name] = specifier.version
    wrong = {
        str(wanted)
        for wanted in requirements()
        if not wanted.marker or wanted.marker.evaluate(environment)
        if not wanted.specifier.contains(pinned.get(canonicalize_name(wanted.name), "0"))
    }
    assert wrong == set(), "write constraints.txt anew: nox -s constraints"


def test_the_workflow_runs_sessions_that_are_there() -> None:
    """Each session of the matrix exists, and the tests run on each Python that the package names."""
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    matrix = yaml.safe_load(text)["jobs"]["check"]["strategy"]["matrix"]["include"]
    assert {one["session"] for one in matrix} <= sessions()
    tested = {one["python"] for one in matrix if one["session"] == "tests"}
    assert tested == {python.rpartition(".")[0] for python in PYTHONS}
    assert all(f"Python :: {python}\n" in (ROOT / "setup.cfg").read_text(encoding="utf-8") for python in tested)


def test_a_clone_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nox keeps its environments beside the noxfile: without room for them there is one message."""
    monkeypatch.setitem(sys.modules, "nox", _nox())
    monkeypatch.setattr(sys, "argv", ["nox", "-s", "smoke"])
    shutil.copy(ROOT / "noxfile.py", tmp_path)
    (tmp_path / ".nox").touch()
    with pytest.raises(SystemExit, match=f"nox keeps its environments in {tmp_path / '.nox'}, which cannot be used: "):
        runpy.run_path(str(tmp_path / "noxfile.py"))


def _nox() -> Any:
    """Return what stands in for nox, which no session installs."""
    options = types.SimpleNamespace()
    return types.SimpleNamespace(options=options, session=lambda function: function, Session=object)


def test_the_module_for_requests_run_by_its_path_says_how_it_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It once did not find its own package."""
    monkeypatch.setattr(sys, "argv", ["scripts/generate_input.py"])
    with pytest.raises(SystemExit, match=r"python -m scripts\.generate_input"):
        runpy.run_path(str(ROOT / "scripts" / "generate_input.py"), run_name="__main__")
