"""Docker's client and engine: whether they can be used, and what a failure means."""

import re
from collections.abc import Sequence
from typing import Literal

from scripts.host.errors import TaskFailure
from scripts.host.shell import Command, Completed, Runner

INSTALL = "https://docs.docker.com/engine/install"

# When it is said, what the client or the engine says, in lower case, and what to do about it; the first that fits
# counts. A build prints much that is no failure: its rows, and those for any time, fit only what is one.
_MEANINGS: Sequence[tuple[Literal["any time", "build", "push"], str, str]] = (
    (
        "any time",
        r"no space left on device|disk quota exceeded",
        "the disk is full (Docker's or, in a push, the registry's). Make room: docker system df shows what takes it, "
        "docker system prune removes what no container uses. Then run the task again.",
    ),
    (
        "any time",
        r"permission denied while trying to connect|dial unix .*permission denied",
        "this user may not use Docker. Add it to the group docker (sudo usermod -aG docker $USER, then log in again), "
        "or use a rootless Docker.",
    ),
    (
        "any time",
        r"cannot connect to the docker daemon|is the docker daemon running|docker desktop is not running|"
        r"docker_engine|dial unix ",
        "Docker is not running: the client is installed, but its engine is not running. Start it (sudo systemctl start "
        "docker, or Docker Desktop), and check it with: docker version. For an engine elsewhere set DOCKER_HOST.",
    ),
    (
        "any time",
        r"error during connect",
        "the engine that DOCKER_HOST or the Docker context names gives no answer. Is it running and reachable?",
    ),
    (
        "any time",
        r"x509: |failed to verify certificate",
        "the registry's certificate is not trusted by Docker. Behind a proxy that opens TLS, give Docker its "
        "certificate in /etc/docker/certs.d/HOST/ca.crt.",
    ),
    (
        "any time",
        r"toomanyrequests|too many requests|rate exceeded",
        "the registry asks for a pause. Run the task again in a minute.",
    ),
    (
        "build",
        r"unauthorized",
        "the registry of the base image wants a login: docker login nvcr.io, user $oauthtoken, with an NGC API key.",
    ),
    (
        "build",
        r"pull access denied",
        "the base image cannot be had: is its name right, and are you logged in to its registry?",
    ),
    ("build", r"manifest unknown|manifest for", "the registry has no base image of that tag or digest."),
    ("build", r"no matching manifest", "the base image is not there for this platform: see --platform."),
    ("build", r"exec format error", "the base image is for another processor: see --platform."),
    (
        "build",
        r"buildx component is missing",
        "install Docker's buildx plugin, or unset DOCKER_BUILDKIT for the legacy builder.",
    ),
    (
        "build",
        r"no such host|connection re",
        "the registry cannot be reached: is there a network, a proxy? Or name an image that is here: --base.",
    ),
    (
        "build",
        r"i/o timeout|tls handshake timeout|unexpected eof",
        "the connection to the registry broke. A repeat continues with what has been downloaded.",
    ),
    (
        "push",
        r"expired",
        "the login to the registry has expired, which it does after 12 hours. Run the task again: layers that are "
        "there are not sent again.",
    ),
    (
        "push",
        r"tag invalid|immutable|cannot be overwritten",
        "the tag is taken, and tags are never changed. Give this image another one: --tag NAME",
    ),
    (
        "push",
        r"name unknown|repository .*does not exist|repository .*not found",
        "there is no such repository. Create it once with `invoke create-repository`, or correct ECR_REPOSITORY or "
        "AWS_REGION.",
    ),
    (
        "push",
        r"not authorized to perform|requested access to the resource is denied|access denied|\bdenied\b|forbidden",
        "the registry does not allow it. This identity needs the policy for pushing in docs/aws.md.",
    ),
    (
        "push",
        r"unauthorized|no basic auth credentials|authentication required|incorrect username or password",
        "the registry does not take the login. Check AWS_ACCOUNT_ID, the region and REGISTRY_HOST, and run the task "
        "again.",
    ),
    (
        "push",
        r"no such host|dial tcp|i/o timeout|timeout|connection re(set|fused)|broken pipe|unexpected eof|\beof\b|"
        r"network is unreachable|server misbehaving|http: |closed network connection|"
        r"received unexpected http status: 5",
        "the connection to the registry was lost. Run the task again: layers that are there are not sent again.",
    ),
)
# How much of what was printed a message repeats.
_LINES_OF_BUILD, _LINES_OF_PUSH = 15, 3
_PROGRESS = re.compile(r"[0-9a-f]{12}: |The push refers to repository")


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
        advice = _meaning(done.output) or "`docker info` says more."
        raise TaskFailure(f"Docker cannot be used: {_last_line(done.output)}\n{_sentence(advice)}")
    return _last_line(done.output)


def build_failed(done: Completed, *, base: str) -> TaskFailure:
    """Return the failure that says why a build on *base* failed, and what to do."""
    shown = "\n  ".join([line for line in done.output.splitlines() if line.strip()][-_LINES_OF_BUILD:])
    advice = _meaning(done.output, during="build")
    return TaskFailure(
        f"The build on {base} failed with status {done.status}. Its last lines:\n  {shown}"
        + (f"\n{_sentence(advice)}" if advice else "")
    )


def push_failed(output: str, *, doing: str) -> TaskFailure:
    """Return the failure that says why a step of a push failed, and what to do.

    Args:
        output: What docker printed, secrets taken out.
        doing: What it was for: ``"push HOST/NAME:TAG"``.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip() and not _PROGRESS.match(line.strip())]
    said = "\n".join(f"  {line}" for line in lines[-_LINES_OF_PUSH:])
    meaning = _meaning(output, during="push")
    if not meaning:
        meaning = "Docker's last words are below." if said else "Docker said nothing. Try: docker version"
    return TaskFailure(f"Cannot {doing}: {meaning}" + (f"\n{said}" if said else ""))


def _meaning(output: str, *, during: Literal["build", "push"] | None = None) -> str:
    """Return what to do about what docker printed; empty where that is not known."""
    said = output.lower()
    return next(
        (to_do for when, sign, to_do in _MEANINGS if when in ("any time", during) and re.search(sign, said)), ""
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _last_line(output: str) -> str:
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "no answer")
