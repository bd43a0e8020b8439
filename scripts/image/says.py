"""What a failure of Docker's means, and what to do: about the very registry that it is about."""

import re
from collections.abc import Sequence
from typing import Literal

from scripts.host.errors import TaskFailure
from scripts.host.shell import Completed
from scripts.registry import partitions
from scripts.registry.reference import Reference

HUB = "docker.io"
# When it is said, what the client or the engine says, in lower case, and what to do about it; the first that fits
# counts. A build prints much that is no failure: its rows, and those for any time, fit only what is one.
# {registry} is the registry's host, {login} how one logs in there.
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
        r"certificate has expired|certificate is not yet valid",
        "the certificate of {registry} is not valid today. Check the clock of this machine: date. If it is right, the "
        "registry's owner has to renew the certificate.",
    ),
    (
        "any time",
        r"certificate is valid for|is not valid for any names|doesn't contain any ip sans|certificate is not valid for",
        "the certificate that came for {registry} belongs to another name. Is the registry's name right? If it is, a "
        "proxy or a name server leads elsewhere.",
    ),
    (
        "any time",
        r"x509: |failed to verify certificate",
        "Docker does not trust the certificate of {registry}. If a proxy opens TLS here, or the registry has a "
        "certificate of its owner's, give Docker the one that signed it, {trust}.",
    ),
    (
        "any time",
        r"server gave http response to https client",
        "{registry} speaks HTTP without TLS, which Docker takes only on this machine. Give the registry TLS, or name "
        "it in insecure-registries in /etc/docker/daemon.json.",
    ),
    (
        "any time",
        r"pull rate limit|download rate limit",
        "{registry} gives no more images to this address for some hours. With a login it gives more. {login}",
    ),
    (
        "any time",
        r"toomanyrequests|too many requests|rate exceeded",
        "{registry} asks for a pause. Run the task again in a minute.",
    ),
    (
        "any time",
        r"proxyconnect|proxy authentication required",
        "the proxy that Docker's engine uses does not let it through to {registry}. Check the engine's proxy: docker "
        "info shows it.",
    ),
    (
        "any time",
        r"error getting credentials|docker-credential-",
        "the program that keeps Docker's logins does not work here. ~/.docker/config.json names it (credsStore, "
        "credHelpers): install it, or take that line out and log in again.",
    ),
    ("build", r"token has expired|authorization token .*expired", "the login to {registry} has expired. {login}"),
    ("build", r"no basic auth credentials", "Docker has no login for {registry}. {login}"),
    (
        "build",
        r"unauthorized|authentication required",
        "{registry} wants a login, or does not take the one it got. {login}",
    ),
    (
        "build",
        r"pull access denied",
        "{registry} does not give the base image: is its name right? If it is, it wants a login. {login}",
    ),
    (
        "build",
        r"\b403 forbidden|requested access to the resource is denied|denied: ",
        "{registry} does not allow the base image to this login. Is the image's name right? If it is, its owner has to "
        "allow it, or another login is needed. {login}",
    ),
    ("build", r"manifest unknown|manifest for", "{registry} has no base image of that tag or digest."),
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
        "{registry} cannot be reached: is there a network, a proxy? Or name an image that is here: --base.",
    ),
    (
        "build",
        r"i/o timeout|tls handshake timeout|unexpected eof",
        "the connection to {registry} broke. A repeat continues with what has been downloaded.",
    ),
    (
        "push",
        r"expired",
        "the login to {registry} has expired, which it does after 12 hours. Run the task again: layers that are "
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
        "{registry} has no such repository. {create}",
    ),
    (
        "push",
        r"no basic auth credentials",
        "Docker did not send the login that the task had made at {registry}. A docker from a snap, or a wrapper that "
        "sets DOCKER_CONFIG, does not find it: use Docker's own packages.",
    ),
    (
        "push",
        r"\bforbidden\b",
        "{registry} answers 403 Forbidden. A proxy, a VPC endpoint or a rule of the registry may forbid it. {rights}",
    ),
    (
        "push",
        r"not authorized to perform|requested access to the resource is denied|access denied|\bdenied\b",
        "{registry} does not allow it. {rights}",
    ),
    (
        "push",
        r"unauthorized|authentication required|incorrect username or password",
        "{registry} does not take the login that AWS gave. Check AWS_ACCOUNT_ID, the region and REGISTRY_HOST, and run "
        "the task again.",
    ),
    (
        "push",
        r"no such host|dial tcp|i/o timeout|timeout|connection re(set|fused)|broken pipe|unexpected eof|\beof\b|"
        r"network is unreachable|server misbehaving|http: |closed network connection|"
        r"received unexpected http status: 5",
        "the connection to {registry} was lost. Run the task again: layers that are there are not sent again.",
    ),
)
# How much of what was printed a message repeats.
_LINES_OF_BUILD, _LINES_OF_PUSH = 15, 3
_PROGRESS = re.compile(r"[0-9a-f]{12}: |The push refers to repository")
# A host that the engine asked, in Docker's words, and the hosts that are Docker Hub.
_ASKED = re.compile(r"(?:https?://|lookup )([a-z0-9][\w.-]*(?::\d+)?)(?:/(?:v2/|token\b|auth/|service/)|: | on )")
_HUBS = ("registry-1.docker.io", "auth.docker.io", "index.docker.io")


def build_failed(done: Completed, *, base: str) -> TaskFailure:
    """Return the failure that says why a build on *base* failed, and what to do."""
    shown = "\n  ".join([line for line in done.output.splitlines() if line.strip()][-_LINES_OF_BUILD:])
    advice = meaning(done.output, during="build", registry=registry_of(base))
    return TaskFailure(
        f"The build on {base} failed with status {done.status}. Its last lines:\n  {shown}"
        + (f"\n{sentence(advice)}" if advice else "")
    )


def push_failed(output: str, *, doing: str, registry: str = "") -> TaskFailure:
    """Return the failure that says why a step of a push failed, and what to do.

    Args:
        output: What docker printed, secrets taken out.
        doing: What it was for: ``"push HOST/NAME:TAG"``.
        registry: The registry's host, where the step is about one.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip() and not _PROGRESS.match(line.strip())]
    said = "\n".join(f"  {line}" for line in lines[-_LINES_OF_PUSH:])
    means = meaning(output, during="push", registry=registry)
    if not means:
        means = "Docker's last words are below." if said else "Docker said nothing. Try: docker version"
    return TaskFailure(f"Cannot {doing}: {means}" + (f"\n{said}" if said else ""))


def meaning(output: str, *, during: Literal["build", "push"] | None = None, registry: str = "") -> str:
    """Return what to do about what docker printed; empty where that is not known.

    Args:
        output: What it printed.
        during: What it was for.
        registry: The registry that was meant, where the words name no other.
    """
    said = output.lower()
    to_do = next(
        (to_do for when, sign, to_do in _MEANINGS if when in ("any time", during) and re.search(sign, said)), ""
    )
    if (asked := _ASKED.search(said)) is not None:
        registry = HUB if asked[1] in _HUBS else asked[1]
    return to_do.format(
        registry={"": "the registry", HUB: "Docker Hub"}.get(registry, registry),
        login=_login(registry),
        trust=(
            f"as /etc/docker/certs.d/{registry}/ca.crt"
            if registry not in ("", HUB)
            else "through this machine's own certificates, and start Docker again"
        ),
        rights=(
            "This identity needs the policy for pushing in docs/aws.md."
            if _is_ecr(registry)
            else "Ask the registry's owner for the right to push there."
        ),
        create=(
            "Create it once with `invoke create-repository`, or correct ECR_REPOSITORY or AWS_REGION."
            if _is_ecr(registry)
            else "Create it there, or correct ECR_REPOSITORY or REGISTRY_HOST."
        ),
    )


def registry_of(image: str) -> str:
    """Return the host of the registry that Docker asks for *image*."""
    return Reference(repository=image.partition("@")[0]).host or HUB


def sentence(text: str) -> str:
    """Return *text* with a capital letter, unless a host begins it."""
    return text if re.match(r"\S+[.:]\S", text) else f"{text[0].upper()}{text[1:]}"


def last_line(output: str) -> str:
    """Return the last line that is not empty."""
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "no answer")


def _is_ecr(registry: str) -> bool:
    return not registry or partitions.registry_host().fullmatch(registry) is not None


def _login(registry: str) -> str:
    if (own := partitions.registry_host().fullmatch(registry)) is not None:
        return (
            f"Log in: aws ecr get-login-password --region {own[2]} | docker login --username AWS --password-stdin "
            f"{registry}"
        )
    if registry == "nvcr.io":
        return "Log in: docker login nvcr.io, user $oauthtoken, with an NGC API key."
    return f"Log in: docker login{f' {registry}' if registry not in ('', HUB) else ''}"
