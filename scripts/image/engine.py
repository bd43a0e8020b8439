"""Docker's client and engine: whether they can be used, and what they answer."""

import json
from collections.abc import Mapping
from typing import Any

from scripts.host.errors import TaskFailure
from scripts.host.shell import Command, Completed, Runner
from scripts.image import says

INSTALL = "https://docs.docker.com/engine/install"


def require(runner: Runner) -> str:
    """Return the version of the engine.

    Raises:
        TaskFailure: If Docker is not installed, does not run, may not be used, or is another program of that name; the
            message says what to do.
    """
    try:
        done = runner.capture(Command(("docker", "version", "--format", "{{json .}}")))
    except TaskFailure as error:
        raise TaskFailure(
            f"{error} An image needs Docker: {INSTALL}\n"
            "Without it, `invoke serve` runs the same models on a local Triton."
        ) from error
    told = _json(done)
    if (other := _other(done, told)) is not None:
        raise TaskFailure(
            f"docker is {other} here, and images are built and pushed with Docker alone: others answer otherwise. "
            f"Install Docker: {INSTALL}\nWithout it, `invoke serve` runs the same models on a local Triton."
        )
    server = told.get("Server")
    if done.status or not server:
        advice = says.meaning(done.said) or "`docker info` says more."
        raise TaskFailure(
            f"Docker cannot be used: {says.last_line(done.errors or done.output)}\n{says.sentence(advice)}"
        )
    return str(server["Version"])


def _other(done: Completed, told: Mapping[str, Any]) -> str | None:
    """Name the program that answers under docker's name, or the engine behind it; None for Docker itself.

    Args:
        done: How ``docker version`` ended; podman says its name there when its engine does not run, too.
        told: What it said of client and server.
    """
    if "podman" in done.said.lower() or "APIVersion" in told.get("Client", {}):  # Docker writes ApiVersion
        return "Podman, or leads to Podman's engine (by DOCKER_HOST or the Docker context)"
    if "ApiVersion" in told.get("Client", {}) or (done.status and not told):
        return None
    return "another program, nerdctl perhaps"


def described(done: Completed, *, what: str) -> Mapping[str, Any]:
    """Return what docker said of one thing with ``--format {{json .}}``.

    Args:
        done: How docker ended.
        what: What it was asked for: ``"the image NAME"``.

    Raises:
        TaskFailure: If it said something else.
    """
    found = _json(done)
    if not isinstance(found.get("Id"), str):
        raise unlike(done, what=what)
    return found


def unlike(done: Completed, *, what: str) -> TaskFailure:
    """Return the failure for an answer that is not what docker was asked for."""
    shown = says.last_line(done.output)
    return TaskFailure(
        f"docker was asked for {what} and answered something else: {shown[:200]!r}. Is docker a wrapper or another "
        "program here? Check it with: docker version"
    )


def _json(done: Completed) -> Mapping[str, Any]:
    """Return the JSON object on standard output; an empty one where that is something else."""
    try:
        found = json.loads(done.output)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}
