"""Docker's client and engine: whether they can be used, which images they have, and what they answer."""

import json
from collections.abc import Mapping
from typing import Any, Self

import attrs

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


@attrs.frozen(kw_only=True)
class LocalImage:
    """An image in the engine on this machine.

    Attributes:
        name: What it was asked for by.
        id: The digest of its configuration (of its manifest, in an engine with the containerd store).
        labels: Its labels.
        digests: ``REPOSITORY@DIGEST`` under which registries have it, as far as this engine knows.
    """

    name: str
    id: str
    labels: Mapping[str, str]
    digests: tuple[str, ...]

    @classmethod
    def inspect(cls, name: str, *, runner: Runner) -> Self:
        """Look the image up.

        Raises:
            TaskFailure: If there is no such image, or no engine.
        """
        if (found := cls.find(name, runner=runner)) is None:
            raise TaskFailure(f"There is no image {name} on this machine. Build it: invoke build-image")
        return found

    @classmethod
    def find(cls, name: str, *, runner: Runner) -> Self | None:
        """Look the image up; None where there is no such image.

        Raises:
            TaskFailure: If the engine cannot be asked.
        """
        done = runner.capture(Command(("docker", "image", "inspect", "--format", "{{json .}}", name)))
        if done.status != 0:
            if "no such image" in done.said.lower():
                return None
            raise says.push_failed(done.said, doing=f"look at the image {name}")
        found = described(done, what=f"the image {name}")
        config = found.get("Config") or {}
        return cls(
            name=name,
            id=found["Id"],
            labels=config.get("Labels") or {},
            digests=tuple(found.get("RepoDigests") or ()),
        )


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
