"""The commands of README and docs that need no cluster, run as they are printed, in the order of the pages.

The reader's folder is a copy of the project with the files that the pages name. The ports are free ones instead of
8000 and those after it, and the store is a folder of the test's.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from scripts.packaging.package import package
from scripts.server.agent import free_beside
from scripts.server.endpoint import AGENT_OFFSET
from scripts.sources.source import Source
from tests.doubles import tiny
from tests.doubles.pictures import jpeg
from tests.shown import fenced

ROOT = Path(__file__).parent.parent.parent
# The others ask for an account, a cluster, Docker or a GPU, and each has tests of its own.
PAGES = ("README.md", "quickstart.md", "packaging.md", "versions-in-production.md")
# How the commands of these pages begin that are not run here, and where they are.
ELSEWHERE = {
    r"pip |nox ": "the sessions themselves, and tests/release",
    r"invoke package-model --model ": "they download: tests/wire/download, and the session smoke",
    r"invoke package-model --onnx \w+.onnx --images": "a trained model: tests/tasks/test_owners_models.py",
    r"invoke serve|MODEL_STORE=": "the reader's other terminal and `.env`, which are the fixture's",
    r"invoke smoke-test --local": "the session smoke",
    r"invoke compare ": "an owner's pictures: tests/live/test_compare.py",
    r"invoke canary ": "calls of several consumers: tests/live/versions/test_canary.py",
    r"invoke (check-env|create-repository|push-|deploy-|destroy-|status)": "an account or a cluster: tests/cluster",
    r"invoke (smoke-test|versions|promote --model cars --version 3|rollback --model cars)$": "a cluster: tests/cluster",
    r"git ": "the reader's own repository",
    r"curl \S+ -d '": "plans of another moment: tests/wire/test_agent.py, tests/wire/test_traffic.py",
}
RUN_S = 60


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """Return the folder of a reader who has followed the pages up to here."""
    folder = tmp_path / "clone"
    for name in ("scripts", "triton_sdk", "helm"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tasks.py", folder)
    (tmp_path / "store").mkdir()
    (folder / ".env").write_text(f"MODEL_STORE={(tmp_path / 'store').as_uri()}\n", encoding="utf-8")
    (folder / "helm" / "values.yaml").write_text("models: {cars: {serve: [1, 2]}}\n", encoding="utf-8")
    (folder / "photo.jpg").write_bytes(jpeg(60, 40))
    for seed, model in ((1, "resnet50"), (1, "mobilenetv2"), (1, "cars"), (2, "cars"), (3, "retrained")):
        onnx.save(tiny.classifier(seed=seed), folder / f"{model}.onnx")
        if model != "retrained":
            path = Source.onnx(folder / f"{model}.onnx")
            package(path, model=model, repository=folder / "model_repository", progress=lambda _: None)
    return folder


def serve(folder: Path, environment: dict[str, str]) -> "tuple[subprocess.Popen[str], int]":
    """Start `invoke serve`, and return it and its HTTP port once it serves; gRPC, metrics and agent follow the port."""
    said = ""
    for _ in range(3):
        port = free_beside(1, 2, AGENT_OFFSET)
        ports = f"--http-port {port} --grpc-port {port + 1} --metrics-port {port + 2}"
        child = subprocess.Popen(
            ["invoke", "serve", *ports.split()],
            cwd=folder,
            env=environment | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert child.stdout is not None
        for line in child.stdout:
            said += line
            if "Ctrl-C" in line:
                return child, port
        child.wait(RUN_S)
        child.stdout.close()
        if "already in use" not in said:  # another program was quicker
            break
    raise AssertionError(said)


@contextlib.contextmanager
def serving(folder: Path, environment: dict[str, str]) -> Iterator[int]:
    """Run `invoke serve` in the reader's other terminal, and give its HTTP port."""
    child, port = serve(folder, environment)
    try:
        yield port
        child.send_signal(signal.SIGINT)
        child.wait(RUN_S)
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("runtime")
def test_the_pages_commands_work_as_printed(reader: Path) -> None:
    """Each ends well, and no answer is an error; the first page that shows a command decides when it is run."""
    shown = [one for page in PAGES for one in fenced() if one.place.startswith(f"{page}:")]
    commands: dict[str, str] = {}
    for one in shown:
        if not any(re.match(how, one.text) for how in ELSEWHERE):
            commands.setdefault(one.text, one.place)
    assert len(commands) >= 12
    if shutil.which("curl") is None and os.environ.get("CI") != "true":
        pytest.skip("curl is missing, with which the pages ask the server")
    outside = dict(os.environ)
    outside["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{outside['PATH']}"
    outside.pop("MODEL_STORE", None)
    with serving(reader, outside) as port:
        environment = outside | {"TRITON_GRPC_URL": f"localhost:{port + 1}"}
        for text, place in commands.items():
            here = re.sub(r"localhost:80(\d\d)", lambda found: f"localhost:{port + int(found[1])}", text)
            here = re.sub(r"--url localhost$", f"--url localhost:{port}", here)
            done = subprocess.run(
                ["bash", "-c", here],
                cwd=reader,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=RUN_S,
                check=False,
            )
            assert done.returncode == 0, f"{place}: {text}\n{done.stdout}{done.stderr}"
            assert '"error"' not in done.stdout, f"{place}: {text}\n{done.stdout}"
