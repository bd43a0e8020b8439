"""What Docker says when a push fails, and what to do about it."""

import re

# The first that fits counts; in lower case.
_MEANINGS = (
    (
        r"no space left on device|disk quota exceeded",
        "the disk is full (Docker's or the registry's). Make room: docker system df shows what takes it, docker "
        "system prune "
        "removes what no container uses. Then run the task again.",
    ),
    (
        r"permission denied while trying to connect|dial unix .*permission denied",
        "this user may not talk to Docker. Add it to the group docker (sudo usermod -aG docker $USER, then log "
        "in again), or "
        "use a rootless Docker.",
    ),
    (
        r"cannot connect to the docker daemon|is the docker daemon running|docker desktop is not running|"
        r"error during connect|docker_engine|dial unix ",
        "Docker is not running. Start it (sudo systemctl start docker, or Docker Desktop), and check it with: "
        "docker version",
    ),
    (
        r"authorization token has expired|expired",
        "the login to the registry has expired, which it does after 12 hours. Run the task again: layers that "
        "are there are "
        "not sent again.",
    ),
    (
        r"tag invalid|immutable|cannot be overwritten",
        "the tag is taken, and tags are never changed. Give this image another one: --tag NAME",
    ),
    (
        r"name unknown|repository .*does not exist|repository .*not found",
        "there is no such repository. Create it once with `invoke create-repository`, or correct ECR_REPOSITORY "
        "or AWS_REGION.",
    ),
    (
        r"not authorized to perform|requested access to the resource is denied|access denied|\bdenied\b|forbidden",
        "the registry does not allow it. This identity needs the policy for pushing in docs/aws.md.",
    ),
    (
        r"unauthorized|no basic auth credentials|authentication required|incorrect username or password",
        "the registry does not take the login. Check AWS_ACCOUNT_ID, the region and REGISTRY_HOST, and run the "
        "task again.",
    ),
    (
        r"x509|certificate",
        "the registry's certificate is not trusted by Docker. Behind a proxy that opens TLS, give Docker its "
        "certificate in "
        "/etc/docker/certs.d/HOST/ca.crt.",
    ),
    (
        r"no such host|dial tcp|i/o timeout|timeout|connection re(set|fused)|broken pipe|unexpected eof|\beof\b|"
        r"network is unreachable|server misbehaving|http: |closed network connection|"
        r"received unexpected http status: 5",
        "the connection to the registry was lost. Run the task again: layers that are there are not sent again.",
    ),
    (
        r"toomanyrequests|too many requests|rate exceeded",
        "the registry asks for a pause. Run the task again in a minute.",
    ),
)
_LINES = 3
_PROGRESS = re.compile(r"[0-9a-f]{12}: |The push refers to repository")


def explain(output: str, *, doing: str) -> str:
    """Return the message for a docker command that failed.

    Args:
        output: What it printed, secrets taken out.
        doing: What it was for: ``"push HOST/NAME:TAG"``.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip() and not _PROGRESS.match(line.strip())]
    said = "\n".join(f"  {line}" for line in lines[-_LINES:])
    meaning = next((advice for pattern, advice in _MEANINGS if re.search(pattern, output.lower())), None)
    if meaning is None:
        meaning = "Docker's last words are below." if said else "Docker said nothing. Try: docker version"
    return f"Cannot {doing}: {meaning}" + (f"\n{said}" if said else "")
