"""Serve a model repository from this machine, for a while or until told to stop."""

import contextlib
import queue
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.host.errors import TaskFailure
from scripts.host.root import INPUT
from scripts.host.settings import Settings
from scripts.host.shell import Command, attach
from scripts.repository.versions import PackagedVersion, require
from scripts.server.agent import Agent, Folders, agent_command, free_beside
from scripts.server.endpoint import AGENT_OFFSET
from triton_sdk.errors import LocalServerError
from triton_sdk.local import LocalTriton, gpu_choice, left_out, model_choice


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
    return LocalTriton(
        repository,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        progress=progress,
        gpu=gpu,
    )


def serve(
    repository: Path,
    *,
    loaded: Settings,
    http_port: int,
    grpc_port: int,
    metrics_port: int,
    agent_port: int | None,
    gpu: bool,
    progress: Callable[[str], None],
    announce: Callable[[LocalTriton, Agent], None],
) -> None:
    """Serve *repository* with an agent beside the server until Ctrl-C or until the server ends by itself.

    Args:
        repository: The packaged models.
        loaded: The settings, which may name a model store.
        http_port: 0 takes a free one; likewise the next two.
        grpc_port: The port for gRPC.
        metrics_port: The port for Prometheus metrics.
        agent_port: The agent's port; None: the HTTP port and three.
        gpu: Whether to serve on NVIDIA's GPUs.
        progress: Called with a line for each stage.
        announce: Called once all models answer.

    Raises:
        TaskFailure: If there is nothing to serve, another server serves the same repository, or no version of a model
            can be served.
        LocalServerError: If the server cannot be installed or started, or stops unasked.
    """
    require(repository)
    if names := left_out(repository):
        progress(f"Leaving out {', '.join(names)}: it has no version")
    http_port = http_port or free_beside(AGENT_OFFSET)
    agent_port = http_port + AGENT_OFFSET if agent_port is None else agent_port
    with Folders.of(repository).taken(repository) as folders:
        server = LocalTriton(
            folders.served,
            http_port=http_port,
            grpc_port=grpc_port,
            metrics_port=metrics_port,
            args=("--model-control-mode=explicit",),
            progress=progress,
            gpu=gpu,
        )
        with server, watched(server) as ended:
            command = agent_command(repository, folders, loaded=loaded, port=agent_port, gpu=gpu, server=server)
            with Agent(command, port=agent_port, progress=progress) as agent:
                agent.wait_ready(alive=ended.empty)
                if ended.empty():
                    announce(server, agent)
                raise ended.get()


@contextlib.contextmanager
def watched(server: LocalTriton) -> Iterator["queue.Queue[LocalServerError]"]:
    """Give a queue that gets the error with which *server* ends unasked."""
    ended: queue.Queue[LocalServerError] = queue.Queue()

    def wait() -> None:
        try:
            server.wait()
        except LocalServerError as error:
            ended.put(error)

    threading.Thread(target=wait, name="server", daemon=True).start()
    yield ended


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
            *model_choice(repository), *(gpu_choice(repository) if gpu else ()),
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


def version_rows(state: Mapping[str, Any], known: Sequence[PackagedVersion]) -> list[tuple[str, str, str, str]]:
    """Return a row for each version that is packaged or served, with what the agent says of it and its contract."""
    contracts = {(one.model, str(one.version)): one.summary for one in known}
    said: dict[tuple[str, str], str] = {}
    for model, part in state.get("models", {}).items():
        for number, one in part["versions"].items():
            said[model, number] = "served" if one["phase"] == "serving" else f"{one['phase']}: {one['why'] or ''}"
        if (candidate := part["candidate"]) is not None:
            said[model, str(candidate["version"])] = f"candidate: {candidate['why'] or candidate['phase']}"
    waiting = "waits for `invoke promote`"
    order = sorted(contracts.keys() | said.keys(), key=lambda one: (one[0], int(one[1])))
    return [
        (model, number, said.get((model, number), waiting), contracts.get((model, number), ""))
        for model, number in order
    ]


def how_to_call(model: str, *, http_url: str, grpc_url: str) -> Sequence[str]:
    """Return lines that show a newcomer the first calls."""
    return (
        "curl:    invoke generate-input --model " + model,
        f"         curl -X POST {http_url}/v2/models/{model}/infer -d {shlex.quote(f'@{INPUT}')}",
        "Python:  from triton_sdk import ResNetClient",
        f'         with ResNetClient("{grpc_url}", model="{model}") as client:',
        '             print(client.predict("photo.jpg"))',
    )
