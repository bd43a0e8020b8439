"""Which models of a repository are served."""

from pathlib import Path

import pytest

from scripts.host.errors import TaskFailure
from scripts.server.local import docker_command, local_server
from scripts.server.request import generate
from tests.doubles import tiny
from triton_sdk.errors import LocalServerError
from triton_sdk.local import LocalTriton, Runtime, left_out, model_choice


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with a packaged model, and one that has a configuration only, as in a fresh clone."""
    (tmp_path / "packaged" / "1").mkdir(parents=True)
    (tmp_path / "packaged" / "2").mkdir()
    (tmp_path / "waiting").mkdir()
    for name in ("packaged", "waiting"):
        (tmp_path / name / "config.pbtxt").touch()
    return tmp_path


def test_a_model_without_a_version_is_left_out(repository: Path) -> None:
    """Triton would refuse to start with it, so the packaged models are named to the server."""
    assert left_out(repository) == ["waiting"]
    assert model_choice(repository) == ("--model-control-mode=explicit", "--load-model=packaged")
    command = docker_command(repository, image="h/triton:1", http_port=1, grpc_port=2, metrics_port=3, gpu=False)
    assert command.argv[-1] == "--load-model=packaged"
    assert command.argv[command.argv.index("tritonserver") - 1] == "h/triton:1"


def test_a_repository_of_packaged_models_is_served_as_it_is(repository: Path) -> None:
    """Nothing is chosen where nothing is left out: the server sees what a cluster's would."""
    (repository / "waiting" / "1").mkdir()
    assert left_out(repository) == []
    assert model_choice(repository) == ()


@pytest.mark.parametrize("name", ["01", "v1", "0", ".1", "1.5", "\u0661", "-1"])
def test_what_triton_takes_for_no_version_is_none(repository: Path, name: str) -> None:
    """A model whose folders are named otherwise is left out like one without any."""
    (repository / "waiting" / name).mkdir()
    (repository / "waiting" / "1").touch()  # a file is no version
    assert left_out(repository) == ["waiting"]


def test_without_any_version_there_is_nothing_to_serve(tmp_path: Path) -> None:
    """The local server says so before it starts, as `invoke serve` does."""
    (tmp_path / "waiting").mkdir()
    (tmp_path / "waiting" / "config.pbtxt").touch()
    server = LocalTriton(tmp_path, runtime=Runtime(folder=tmp_path, minor="3.11"))
    with pytest.raises(LocalServerError, match=r"No model in .* has a version"):
        server.start()


def test_no_request_is_written_for_a_model_without_a_version(repository: Path, tmp_path: Path) -> None:
    """No server answers it; the message says how to package one."""
    (repository / "waiting" / "config.pbtxt").write_text(tiny.config("waiting", tiny.classifier()))
    with pytest.raises(TaskFailure, match=r"'waiting' has no version.*package-model --model waiting"):
        generate(None, model="waiting", repository=repository, output=tmp_path / "input.json")
    assert not (tmp_path / "input.json").exists()


def test_a_container_with_gpus_takes_the_configurations_for_them(repository: Path) -> None:
    """Only with GPUs, and only where a model has such a configuration: Triton takes one name."""
    without = docker_command(repository, image="h/triton:1", http_port=1, grpc_port=2, metrics_port=3, gpu=True)
    assert "--model-config-name=gpu" not in without.argv
    (repository / "packaged" / "configs").mkdir()
    (repository / "packaged" / "configs" / "gpu.pbtxt").touch()
    for gpu in (True, False):
        command = docker_command(repository, image="h/triton:1", http_port=1, grpc_port=2, metrics_port=3, gpu=gpu)
        assert ("--model-config-name=gpu" in command.argv) is gpu


def test_nothing_packaged_is_refused(tmp_path: Path) -> None:
    """The message says how to package."""
    with pytest.raises(TaskFailure, match="invoke package-model"):
        local_server(tmp_path, progress=print)
