"""Which models of a repository are served."""

from pathlib import Path

import pytest

from scripts.host.errors import TaskFailure
from scripts.server.local import choice, docker_command, left_out, local_server


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
    said: list[str] = []
    local_server(repository, progress=said.append)
    assert said == ["Leaving out waiting: no version of it is packaged"]
    assert choice(repository) == ("--model-control-mode=explicit", "--load-model=packaged")
    command = docker_command(repository, image="h/triton:1", http_port=1, grpc_port=2, metrics_port=3, gpu=False)
    assert command.argv[-1] == "--load-model=packaged"
    assert command.argv[command.argv.index("tritonserver") - 1] == "h/triton:1"


def test_a_repository_of_packaged_models_is_served_as_it_is(repository: Path) -> None:
    """Nothing is chosen where nothing is left out: the server sees what a cluster's would."""
    (repository / "waiting" / "1").mkdir()
    assert left_out(repository) == []
    assert choice(repository) == ()


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
