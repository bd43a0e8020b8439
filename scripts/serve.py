"""Serve a model repository from this machine until told to stop."""

from collections.abc import Callable, Sequence
from pathlib import Path

from scripts import models
from scripts.errors import TaskFailure
from scripts.shell import Command, attach
from triton_sdk.local import LocalTriton

# The first release in which NVIDIA mended what its bulletins of 2025 and 2026 list.
DOCKER_IMAGE = "nvcr.io/nvidia/tritonserver:26.07-py3"


def require_models(repository: Path) -> None:
    """Check that there is something to serve.

    Raises:
        TaskFailure: If no version is packaged in *repository*.
    """
    if not models.packaged(repository):
        raise TaskFailure(
            f"No model version is packaged in {repository}. Package one first:\n"
            "  invoke package-model --model resnet50                     (real weights, from the internet)\n"
            "  invoke package-model --model resnet50 --weights seeded    (made here, no internet needed)"
        )


def serve(
    repository: Path,
    *,
    http_port: int,
    grpc_port: int,
    metrics_port: int,
    progress: Callable[[str], None],
    announce: Callable[[LocalTriton], None],
) -> None:
    """Serve *repository* until Ctrl-C or until the server ends by itself.

    Raises:
        TaskFailure: If there is nothing to serve.
        LocalServerError: If the server cannot be installed or started, or stops unasked.
    """
    require_models(repository)
    with LocalTriton(
        repository, http_port=http_port, grpc_port=grpc_port, metrics_port=metrics_port, progress=progress
    ) as server:
        announce(server)
        server.wait()


def docker_command(repository: Path, *, http_port: int, grpc_port: int, metrics_port: int, gpu: bool) -> Command:
    """Return the command that serves *repository* from NVIDIA's image, on loopback."""
    ports = [
        f"--publish=127.0.0.1:{port}:{inside}"
        for port, inside in ((http_port, 8000), (grpc_port, 8001), (metrics_port, 8002))
    ]
    return Command(
        (
            "docker", "run", "--rm", "--init", "--shm-size=256m", *(["--gpus=all"] if gpu else []), *ports,
            f"--volume={repository.resolve()}:/models:ro", DOCKER_IMAGE,
            "tritonserver", "--model-repository=/models", "--disable-auto-complete-config",
        )
    )  # fmt: skip


def serve_docker(command: Command) -> None:
    """Run *command* on this terminal until it ends.

    Raises:
        TaskFailure: If Docker is missing or the server ends with an error.
    """
    status = attach(command)
    if status not in (0, 130):
        raise TaskFailure(f"Docker ended with status {status}; the command was:\n  {command}")


def how_to_call(model: str, *, http_url: str, grpc_url: str) -> Sequence[str]:
    """Return lines that show a newcomer the first calls."""
    return (
        "curl:    invoke generate-input --model " + model,
        f"         curl -X POST {http_url}/v2/models/{model}/infer -d @input.json",
        "Python:  from triton_sdk import ResNetClient",
        f'         with ResNetClient("{grpc_url}", model="{model}") as client:',
        '             print(client.predict("photo.jpg"))',
    )
