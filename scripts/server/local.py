"""Serve a model repository from this machine, for a while or until told to stop."""

from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.host.errors import TaskFailure
from scripts.host.shell import Command, attach
from scripts.repository.versions import packaged, require
from triton_sdk.local import LocalTriton, gpu_choice


def left_out(repository: Path) -> list[str]:
    """Return the models that have a configuration and no version yet, which would keep Triton from starting."""
    ready = {version.model for version in packaged(repository)}
    return [path.parent.name for path in sorted(repository.glob("*/config.pbtxt")) if path.parent.name not in ready]


def choice(repository: Path) -> tuple[str, ...]:
    """Return the server's flags that load the packaged models alone; none where that is all there are."""
    if not left_out(repository):
        return ()
    names = dict.fromkeys(version.model for version in packaged(repository))
    return ("--model-control-mode=explicit", *(f"--load-model={name}" for name in names))


def local_server(
    repository: Path,
    *,
    progress: Callable[[str], None],
    http_port: int = 0,
    grpc_port: int = 0,
    metrics_port: int = 0,
    gpu: bool = False,
) -> LocalTriton:
    """Return a local server for the packaged models of *repository*, not yet started, on *gpu* if that is asked for.

    Raises:
        TaskFailure: If no version is packaged.
    """
    require(repository)
    if names := left_out(repository):
        progress(f"Leaving out {', '.join(names)}: no version of it is packaged")
    return LocalTriton(
        repository,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        args=choice(repository),
        progress=progress,
        gpu=gpu,
    )


def serve(
    repository: Path,
    *,
    http_port: int,
    grpc_port: int,
    metrics_port: int,
    gpu: bool,
    progress: Callable[[str], None],
    announce: Callable[[LocalTriton], None],
) -> None:
    """Serve *repository* until Ctrl-C or until the server ends by itself.

    Raises:
        TaskFailure: If there is nothing to serve.
        LocalServerError: If the server cannot be installed or started, or stops unasked.
    """
    with local_server(
        repository, http_port=http_port, grpc_port=grpc_port, metrics_port=metrics_port, gpu=gpu, progress=progress
    ) as server:
        announce(server)
        server.wait()


def docker_command(
    repository: Path, *, image: str, http_port: int, grpc_port: int, metrics_port: int, gpu: bool
) -> Command:
    """Return the command that serves *repository* from NVIDIA's *image*, or one like it, on loopback."""
    ports = [
        f"--publish=127.0.0.1:{port}:{inside}"
        for port, inside in ((http_port, 8000), (grpc_port, 8001), (metrics_port, 8002))
    ]
    return Command(
        (
            "docker", "run", "--rm", "--init", "--shm-size=256m", *(["--gpus=all"] if gpu else []), *ports,
            f"--volume={repository.resolve()}:/models:ro", image,
            "tritonserver", "--model-repository=/models", "--disable-auto-complete-config",
            *choice(repository), *(gpu_choice(repository) if gpu else ()),
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
