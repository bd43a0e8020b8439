"""What kubectl and helm say when they fail: the cause, and what to do about it."""

import re
from collections.abc import Sequence
from typing import Literal

from scripts.host.errors import TaskFailure

Cause = Literal[
    "missing program",
    "context",
    "passing",
    "unreachable",
    "login",
    "trust",
    "forbidden",
    "not found",
    "busy",
    "other",
]

_KUBECONFIG = "KUBECONFIG names the file (default: ~/.kube/config); for EKS: aws eks update-kubeconfig --name CLUSTER"
INSTALL = {
    "kubectl": "https://kubernetes.io/docs/tasks/tools",
    "helm": "https://helm.sh/docs/intro/install",
}

# What is said, the cause, what it means, and what to do; the first that fits counts.
_KNOWN: Sequence[tuple[str, Cause, str, str]] = (
    (
        r"release: already exists|sh\.helm\.release\S* already exists|another operation .* is in progress"
        r"|cannot re-use a name",
        "busy",
        "somebody else deploys this release right now, and nothing was changed",
        "Wait for the other one; `invoke status` shows what runs",
    ),
    (
        r"context \"?.*\"? does not exist|no context exists|context was not found|cannot locate context",
        "context",
        "the kubeconfig has no such context",
        f"`kubectl config get-contexts` shows those there are; correct KUBE_CONTEXT or --context. {_KUBECONFIG}",
    ),
    (
        r"no configuration has been provided|current-context (?:is not set|must exist)|localhost:8080",
        "context",
        "there is no kubeconfig, or it has no current context",
        f"{_KUBECONFIG}. Choose one with KUBE_CONTEXT, or kubectl config use-context NAME",
    ),
    (
        r"error loading config file|error parsing|yaml: |couldn't get version/kind; json parse",
        "context",
        "the kubeconfig cannot be read",
        _KUBECONFIG,
    ),
    (
        r"getting credentials: exec|exec: executable|exec plugin",
        "login",
        "the program that gets the login for the cluster failed",
        "for EKS: is the aws client installed, AWS_PROFILE right, and aws sso login done?",
    ),
    (
        r"\((?:ServiceUnavailable|InternalError|Timeout|ServerTimeout|TooManyRequests)\)|internal error occurred"
        r"|currently unable to handle the request|unable to return a response in the time allotted"
        r"|too many requests|has prevented the request from succeeding|apiserver not ready|server is starting"
        r"|leader changed|no leader|request timed out|connection lost|lost connection|goaway"
        r"|server is shutting down|is \(re\)initializing|unhealthy cluster|server stopped|code = unavailable"
        r"|with body length 0"  # of a request that Go sends again after its connection is gone
        r"|\b50[234] |\b429 |service unavailable|bad gateway|gateway time-?out"
        r"|connection reset|broken pipe|: (?:unexpected )?EOF\s*$|\bEOF$",
        "passing",
        "the cluster's API is away for the moment, or has too much to do",
        "it may be upgraded right now: try again in some minutes; `kubectl get --raw=/readyz` says what it waits for",
    ),
    (
        r"must be logged in|unauthorized|asked for the client to provide credentials",
        "login",
        "the cluster does not take this login",
        "it may have expired: log in again (for EKS: aws sso login, or aws eks update-kubeconfig --name CLUSTER)",
    ),
    (
        r"x509: ",
        "trust",
        "the API's certificate is not trusted",
        f"does the kubeconfig belong to this cluster? {_KUBECONFIG}",
    ),
    (
        r"because it is being terminated",
        "other",
        "the namespace is about to go",
        "wait until it is gone, or choose another one (TRITON_NAMESPACE or --namespace)",
    ),
    (
        r"forbidden: |is forbidden|cannot (?:get|list|create|patch|update|delete) resource",
        "forbidden",
        "this login may not do that",
        "ask for the permission: a Role in the namespace, and a RoleBinding",
    ),
    (
        r"unable to connect|cluster unreachable|was refused|i/o timeout|no such host|connection refused"
        r"|deadline exceeded|request canceled|client\.timeout|tls handshake timeout|network is unreachable"
        r"|no route to host|no answer within",
        "unreachable",
        "the cluster's API gives no answer",
        "is the cluster running, the network or the VPN up, and the context the right one?",
    ),
    (r"\(notfound\)|not found", "not found", "it is not there", ""),
)
# Where kubectl asks for one thing several times, or tells its version, before it says what is wrong.
_NOISE = re.compile(
    r"^(?:[EWI]\d{4} |level=|Warning: |WARNING: |Unhandled Error)|memcache\.go|couldn't get current server API"
)


class ClusterFailure(TaskFailure):
    """What could not be done with the cluster.

    Attributes:
        cause: Why, so far as it is known.
    """

    def __init__(self, message: str, *, cause: Cause = "other") -> None:
        super().__init__(message)
        self.cause = cause


def explain(said: str, *, doing: str) -> ClusterFailure:
    """Return the failure that says, of what a program printed while *doing*, the cause and what to do."""
    line = gist(said)
    for pattern, cause, meaning, advice in _KNOWN:
        if re.search(pattern, said, re.IGNORECASE | re.MULTILINE):
            what = f"{meaning}: {line}" if line else meaning
            return ClusterFailure(
                f"Cannot {doing}: {what}" + (f"\n{advice[0].upper()}{advice[1:]}" if advice else ""), cause=cause
            )
    return ClusterFailure(f"Cannot {doing}: {line or 'it failed without a word'}")


def missing(program: str, purpose: str) -> ClusterFailure:
    """Return the failure that says how to get *program*."""
    return ClusterFailure(f"{program} is needed {purpose}: {INSTALL[program]}", cause="missing program")


def gist(said: str) -> str:
    """Return what was said, without the warnings and the repetitions before it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    kept = [line for line in lines if not _NOISE.search(line)] or lines[-1:]
    return "\n  ".join(re.sub(r"^(?:Error|error): ", "", line) for line in dict.fromkeys(kept))
