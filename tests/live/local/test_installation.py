"""The runtime of a local Triton is installed once and whole, whoever else installs it and whatever is killed."""

import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.doubles import tiny
from tests.live.local.scene import ROOT, infer
from triton_sdk.errors import LocalServerError
from triton_sdk.local import LocalTriton, Runtime, _interpreters, provision

INSTALL = """
import sys
from pathlib import Path
from triton_sdk.local import provision
print(provision(progress=lambda line: print(line, flush=True), cache=Path(sys.argv[1])).folder)
"""


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory, runtime: Runtime) -> Path:  # noqa: ARG001 - first, or skip
    """An empty cache folder."""
    return tmp_path_factory.mktemp("cache")


def test_two_processes_install_one_runtime(shared_cache: Path, repository: Path) -> None:
    """Two programs that find an empty cache at once end with the same runtime, installed by one of them; it serves."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", INSTALL, str(shared_cache)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for _ in range(2)
    ]
    said = [child.communicate(timeout=55)[0].splitlines() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert said[0][-1] == said[1][-1]
    assert sum(any("virtual environment" in line for line in lines) for lines in said) == 1
    assert sum(any("Waiting for another process" in line for line in lines) for lines in said) == 1
    tiny.write_model(repository)
    with LocalTriton(repository, runtime=provision(cache=shared_cache)) as server:
        assert infer(server, [1, 2, 3, 4])[0] == 200


def test_a_killed_installation_is_made_anew(tmp_path: Path, runtime: Runtime, repository: Path) -> None:
    """An installation that was killed half-way is never taken for a whole one, and its remains are removed."""
    assert runtime.complete
    child = subprocess.Popen(
        [sys.executable, "-c", INSTALL, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    with child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("Installing collected"):
                break
        child.kill()
    told: list[str] = []
    again = provision(progress=told.append, cache=tmp_path)
    assert any("Removing an unfinished" in line for line in told)
    tiny.write_model(repository)
    with LocalTriton(repository, runtime=again) as server:
        assert infer(server, [1, 2, 3, 4])[0] == 200


def test_an_installation_that_fails_says_why_and_leaves_nothing(
    tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip's last lines are in the error, and the next attempt starts clean."""
    assert runtime.complete
    wrong = tmp_path / "requirements.txt"
    wrong.write_text(f"flatbuffers==25.12.19 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr("triton_sdk.local._runtime.REQUIREMENTS", wrong)
    with pytest.raises(LocalServerError, match=r"(?s)pip install.*DO NOT MATCH THE HASHES"):
        provision(cache=tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] in ([], [".lock"])


def test_the_newest_python_serves_numbers(
    tmp_path: Path, runtime: Runtime, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under Python 3.13, and so NumPy 2, numbers of several types go in and out unchanged and strings are refused."""
    assert runtime.complete
    programs = [shutil.which("python3.13"), *map(str, Path.home().glob(".pyenv/versions/3.13*/bin/python3.13"))]
    fit = [program for program in programs if program and _interpreters.unfit(_interpreters.probe(program)) is None]
    if not fit:
        pytest.skip("there is no Python 3.13 with a shared library here")
    monkeypatch.setattr(_interpreters, "names", lambda: fit)
    newest = provision(cache=tmp_path / "cache")
    tiny.write_model(repository)
    for datatype in ("UINT8", "BOOL", "INT64", "FP64", "FP32"):
        kind = {"FP32": "FLOAT", "FP64": "DOUBLE"}.get(datatype, datatype)
        tiny.write_model(repository, datatype.lower(), model=tiny.echo(onnx.TensorProto.DataType.Value(kind)))
    with LocalTriton(repository, runtime=newest) as server:
        assert infer(server, [1, 2, 3, 4, 5, 6, 7, 8], shape=[2, 4]) == (200, {"y": [2, 4, 6, 8, 10, 12, 14, 16]})
        for datatype in ("UINT8", "INT64", "FP64", "FP32"):
            assert infer(server, [3, 5], model=datatype.lower(), datatype=datatype) == (200, {"y": [3, 5]})
        assert infer(server, [True, False], model="bool", datatype="BOOL") == (200, {"y": [True, False]})
        assert "Exception" not in server.log_tail(500)
    tiny.write_model(repository, "text", model=tiny.echo(onnx.TensorProto.STRING))
    with pytest.raises(LocalServerError, match=r"'text' version 1: .*holds strings"):
        LocalTriton(repository, runtime=newest).start()
