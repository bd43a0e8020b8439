"""Docker's client and engine: whether they can be used, and what a failure means."""

from collections.abc import Sequence

from scripts.host.errors import TaskFailure
from scripts.host.shell import Command, Completed, Runner

INSTALL = "https://docs.docker.com/engine/install"

# What the client or the engine says, in lower case, and what to do about it; the first that fits counts.
_UNUSABLE: Sequence[tuple[str, str]] = (
    (
        "permission denied",
        "This user may not use Docker. Add it to its group (sudo usermod -aG docker $USER, then log in again), or "
        "use rootless Docker.",
    ),
    (
        "cannot connect to the docker daemon",
        "Docker is installed, but its engine is not running. Start it: sudo systemctl start docker, or open Docker "
        "Desktop. For an engine elsewhere set DOCKER_HOST.",
    ),
    ("error during connect", "The engine that DOCKER_HOST or the Docker context names gives no answer."),
)
_BUILD: Sequence[tuple[str, str]] = (
    (
        "no space left on device",
        "The disk is full. `docker system df` shows what uses it, `docker system prune` frees it.",
    ),
    (
        "unauthorized",
        "The registry of the base image wants a login: docker login nvcr.io, user $oauthtoken, with an NGC API key.",
    ),
    ("pull access denied", "The base image cannot be had: is its name right, and are you logged in to its registry?"),
    ("manifest unknown", "The registry has no base image of that tag or digest."),
    ("manifest for", "The registry has no base image of that tag or digest."),
    ("no matching manifest", "The base image is not there for this platform: see --platform."),
    ("exec format error", "The base image is for another processor: see --platform."),
    ("cannot connect to the docker daemon", "The engine stopped during the build. Start it and repeat."),
    ("buildx component is missing", "Install Docker's buildx plugin, or unset DOCKER_BUILDKIT for the legacy builder."),
    (
        "no such host",
        "The registry cannot be reached: is there a network, a proxy? Or name an image that is here: --base.",
    ),
    ("i/o timeout", "The registry does not answer. A repeat continues with what has been downloaded."),
    ("tls handshake timeout", "The registry does not answer. A repeat continues with what has been downloaded."),
    ("unexpected eof", "The connection to the registry broke. A repeat continues with what has been downloaded."),
    ("connection re", "The registry cannot be reached: is there a network, a proxy? Or name an image here: --base."),
)
_SHOWN_LINES = 15


def require(runner: Runner) -> str:
    """Return the version of the engine.

    Raises:
        TaskFailure: If Docker is not installed, does not run, or may not be used; the message says what to do.
    """
    try:
        done = runner.capture(Command(("docker", "version", "--format", "{{.Server.Version}}")))
    except TaskFailure as error:
        raise TaskFailure(
            f"{error} An image needs Docker: {INSTALL}\n"
            "Without it, `invoke serve` runs the same models on a local Triton."
        ) from error
    if done.status:
        advice = _advice(_UNUSABLE, done.output) or "`docker info` says more."
        raise TaskFailure(f"Docker cannot be used: {_last_line(done.output)}\n{advice}")
    return _last_line(done.output)


def build_failed(done: Completed, *, base: str) -> TaskFailure:
    """Return the failure that says why a build on *base* failed, and what to do."""
    shown = "\n  ".join([line for line in done.output.splitlines() if line.strip()][-_SHOWN_LINES:])
    advice = _advice(_BUILD, done.output)
    return TaskFailure(
        f"The build on {base} failed with status {done.status}. Its last lines:\n  {shown}"
        + (f"\n{advice}" if advice else "")
    )


def _advice(known: Sequence[tuple[str, str]], output: str) -> str:
    said = output.lower()
    return next((advice for sign, advice in known if sign in said), "")


def _last_line(output: str) -> str:
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "no answer")
