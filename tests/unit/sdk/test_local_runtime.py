import re
from pathlib import Path

import attrs
import pytest

from triton_sdk.errors import LocalServerError
from triton_sdk.local import _runtime
from triton_sdk.local._checks import check_repository, check_shared_memory
from triton_sdk.local._driver import CUDAS, Driver
from triton_sdk.local._interpreters import Interpreter
from triton_sdk.local._runtime import Runtime, digest
from triton_sdk.local._server import LocalTriton

PYTHON = Interpreter(executable=Path("/usr/bin/python3.11"), version="3.11.2", library=Path("/usr/lib/libpython"))


def test_every_requirement_is_pinned_and_hashed() -> None:
    """Nothing gets into the runtime that was not named by version and hash."""
    text = _runtime.REQUIREMENTS.read_text()
    entries = [entry for entry in re.split(r"\n(?=\S)", re.sub(r"(?m)^#.*\n", "", text)) if entry.strip()]
    assert len(entries) == 7
    for entry in entries:
        assert re.match(r"[a-z-]+==[\d.]+ (; python_version [<>=]+ \"3\.13\" )?\\\n", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


@pytest.mark.parametrize("cuda", CUDAS)
def test_a_runtime_for_gpus_has_another_onnxruntime(cuda: int) -> None:
    """It is the same runtime with onnxruntime-gpu and NVIDIA's packages, pinned and hashed, in onnxruntime's place."""
    packages = Driver(gpus=1, cuda=(cuda, 4)).packages.read_text(encoding="utf-8")
    text = _runtime.on_gpus(_runtime.REQUIREMENTS.read_text(encoding="utf-8"), packages)
    entries = [entry for entry in re.split(r"\n(?=\S)", re.sub(r"(?m)^(#.*)?\n", "", text)) if entry.strip()]
    names = [entry.partition("==")[0] for entry in entries]
    assert "onnxruntime" not in names
    assert {"onnxruntime-gpu", "nvidia-pytriton", "numpy", "protobuf"} < set(names)
    assert any(name.startswith("nvidia-cudnn") for name in names)
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==[\d.]+ (; python_version [<>=]+ \"3\.13\" )?\\\n", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_the_name_of_a_runtime_tells_its_contents() -> None:
    """Another requirement, backend, version or place of the interpreter is another runtime."""
    names = {
        digest(PYTHON, b"a", b"b"),
        digest(PYTHON, b"ab", b""),
        digest(PYTHON, b"a", b"c"),
        digest(attrs.evolve(PYTHON, version="3.11.3"), b"a", b"b"),
        digest(attrs.evolve(PYTHON, executable=Path("/opt/python3.11")), b"a", b"b"),
    }
    assert len(names) == 5
    assert digest(PYTHON, b"a", b"b") in names


@pytest.mark.parametrize("missing", [None, "python", "server", "stub", "backend", "library"])
def test_a_runtime_that_lacks_a_part_is_not_complete(tmp_path: Path, missing: str | None) -> None:
    """A damaged runtime is noticed, one whose Python was uninstalled included."""
    whole = Runtime(folder=tmp_path, minor="3.11")
    parts = {
        "python": whole.python,
        "server": whole.server,
        "stub": whole.stub,
        "backend": whole.backend,
        "library": whole.libraries / "libpython3.11.so.1.0",
    }
    for name, path in parts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == missing:
            path.symlink_to("/no/such/file")
        else:
            path.touch()
    assert whole.complete is (missing is None)


def test_the_server_sees_the_runtime_first() -> None:
    """The runtime's Python comes first on PATH, its folder of libraries is the only one, and nobody phones home."""
    variables = Runtime(folder=Path("/cache/runtime"), minor="3.11").variables
    assert variables["PATH"].startswith("/cache/runtime/bin:")
    assert variables["LD_LIBRARY_PATH"] == "/cache/runtime/libpython"
    assert variables["ORT_DISABLE_TELEMETRY"] == "1"


def test_a_repository_without_models_is_refused(tmp_path: Path) -> None:
    """A missing or empty repository is named before anything starts, unless models are to be loaded later."""
    with pytest.raises(LocalServerError, match="nowhere is not there"):
        check_repository(tmp_path / "nowhere", (), progress=print)
    (tmp_path / "resnet50" / "1").mkdir(parents=True)
    with pytest.raises(LocalServerError, match="holds no model"):
        check_repository(tmp_path, (), progress=print)
    check_repository(tmp_path, ("--model-control-mode=explicit",), progress=print)
    (tmp_path / "resnet50" / "config.pbtxt").touch()
    check_repository(tmp_path, (), progress=print)


def test_too_little_shared_memory_is_refused_or_told(tmp_path: Path) -> None:
    """What cannot start is refused, what may run out under large batches is told, and plenty is passed over."""
    for version in ("1", "2", "notes"):
        (tmp_path / "resnet50" / version).mkdir(parents=True)
    told: list[str] = []
    with pytest.raises(LocalServerError, match=r"1 MiB left.* 2 model versions.*--shm-size"):
        check_shared_memory(tmp_path, progress=told.append, free=1 << 20)
    assert told == []
    check_shared_memory(tmp_path, progress=told.append, free=63 << 20)
    assert len(told) == 1
    assert "--shm-size" in told[0]
    check_shared_memory(tmp_path, progress=told.append, free=64 << 20)
    assert len(told) == 1


def test_a_server_that_is_not_running_says_so(tmp_path: Path) -> None:
    """Addresses of a server that was not started are an error, stopping it is not."""
    server = LocalTriton(tmp_path)
    server.stop()
    assert server.log_tail() == ""
    with pytest.raises(LocalServerError, match="not running"):
        _ = server.http_url


def test_runtimes_of_other_versions_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime that provision() would use is none of them, nor are its lock and a folder of another name."""
    monkeypatch.setattr(_runtime, "find_interpreter", lambda: PYTHON)
    used = f"runtime-3.11-{digest(PYTHON, _runtime.REQUIREMENTS.read_bytes(), _runtime.BACKEND.read_bytes())}"
    for name in (used, "runtime-3.11-0123456789abcdef", "runtime-gpu-3.12-0123456789abcdef", "serving"):
        (tmp_path / name).mkdir()
    (tmp_path / f"{used}.lock").touch()
    assert [path.name for path in _runtime.old_runtimes(tmp_path)] == [
        "runtime-3.11-0123456789abcdef", "runtime-gpu-3.12-0123456789abcdef"
    ]  # fmt: skip
