"""Whether the cluster answers, and whether we may do there what a deployment does."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from scripts.cluster.helm import Helm
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.says import ClusterFailure
from scripts.host.errors import TaskFailure
from scripts.host.program import Version
from scripts.host.secret import Secret

CHANGES = ("get", "create", "patch", "delete")


@attrs.frozen(order=True)
class Right:
    """Something that may be allowed.

    Attributes:
        group: The API group; empty for the core.
        resource: The resource, in the plural, with a subresource after ``/``.
        verb: What is done to it.
        everywhere: Whether it is asked for the whole cluster, not for the namespace.
    """

    group: str
    resource: str
    verb: str
    everywhere: bool = False

    def review(self, namespace: str) -> dict[str, Any]:
        """Return the question whether it is."""
        resource, _, part = self.resource.partition("/")
        asked = {"group": self.group, "resource": resource, "subresource": part, "verb": self.verb}
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked if self.everywhere else {**asked, "namespace": namespace}},
        }


def server_version(kubectl: Kubectl) -> Version:
    """Return the version of the cluster's API.

    Raises:
        ClusterFailure: If it gives no answer.
    """
    told = json.loads(kubectl.text("get", "--raw=/version", doing="reach the cluster"))
    return Version.parse(told["gitVersion"]) or Version(1, 0)


def client_version(kubectl: Kubectl) -> Version:
    """Return kubectl's version.

    Raises:
        ClusterFailure: If there is no kubectl.
    """
    told = kubectl.json("version", "--client", doing="ask kubectl for its version")
    return Version.parse(told["clientVersion"]["gitVersion"]) or Version(1, 0)


def require_tools(kubectl: Kubectl, helm: Helm) -> None:
    """Look for the programs, without which nothing can be looked at.

    Raises:
        TaskFailure: If one of them is missing; the message names all that are.
    """
    problems = []
    looks: tuple[Callable[[], object], ...] = (lambda: client_version(kubectl), helm.version)
    for look in looks:
        try:
            look()
        except ClusterFailure as failure:
            if failure.cause == "missing program":
                problems.append(str(failure))
    if problems:
        raise TaskFailure("\n".join([*problems, "Nothing was changed."]))


def namespace_exists(kubectl: Kubectl, name: str) -> bool:
    """Say whether the namespace is there; one that this login may not look at is believed to be.

    Raises:
        ClusterFailure: If the cluster cannot be asked, or the namespace is about to go.
    """
    # A word for the namespace, and a second one if it has the order to go.
    words = "--output=jsonpath={.kind} {.metadata.deletionTimestamp}"
    try:
        said = kubectl.text(
            "get", "namespace", name, "--ignore-not-found", words, doing="look for the namespace"
        ).split()
    except ClusterFailure as error:
        if error.cause != "forbidden":
            raise
        return True
    if len(said) > 1:
        wait = kubectl.command("wait", "--for=delete", f"namespace/{name}", "--timeout=300s")
        raise ClusterFailure(
            f"The namespace {name} is about to go, and takes nothing new. Wait until it is gone ({wait}), or choose "
            "another one (TRITON_NAMESPACE or --namespace)."
        )
    return bool(said)


def needed(kinds: Iterable[tuple[str, str]], *, new_namespace: bool) -> list[Right]:
    """Return what a deployment must be allowed to do with objects of *kinds* (API version, kind)."""
    rights = {Right(version.rpartition("/")[0], plural(kind), verb) for version, kind in kinds for verb in CHANGES}
    # Helm keeps its releases in Secrets; the rest is for waiting and for telling why.
    rights |= {Right("", "secrets", verb) for verb in ("list", "update", *CHANGES)}
    rights |= {Right("", "pods", "list"), Right("", "pods/log", "get"), Right("", "events", "list")}
    rights |= {Right("apps", "deployments", "list"), Right("apps", "replicasets", "list")}
    if new_namespace:
        rights |= {Right("", "namespaces", verb, everywhere=True) for verb in ("create", "patch")}
    return sorted(rights)


def refused(kubectl: Kubectl, rights: list[Right], *, namespace: str) -> list[Right]:
    """Return those of *rights* that this login does not have, asking for all at once.

    Raises:
        ClusterFailure: If the cluster cannot be asked.
    """
    reviews = [right.review(namespace) for right in rights]
    question = Secret(json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews}))
    answer = kubectl.text("create", "--filename=-", "--output=json", doing="ask for permissions", stdin=question)
    found = list(_each(answer))
    if len(found) != len(rights):
        raise ClusterFailure("The cluster did not say what this login may do.")
    return [right for right, told in zip(rights, found, strict=True) if not (told.get("status") or {}).get("allowed")]


def plural(kind: str) -> str:
    """Return the name of *kind* as a resource."""
    name = kind.lower()
    if name.endswith(("s", "x", "ch")):
        return f"{name}es"
    return f"{name.removesuffix('y')}ies" if name.endswith("y") and name[-2] not in "aeiou" else f"{name}s"


def say_refused(rights: Iterable[Right], *, namespace: str) -> str:
    """Return *rights* in words."""
    verbs: dict[str, list[str]] = {}
    for right in rights:
        name = f"{right.resource}.{right.group}" if right.group else right.resource
        verbs.setdefault(name, []).append(right.verb)
    listed = "; ".join(f"{', '.join(each)} {name}" for name, each in verbs.items())
    return (
        f"This login may not, in the namespace {namespace}: {listed}. Ask for a Role with these verbs and a "
        "RoleBinding (kubectl auth can-i --list shows what there is)."
    )


def _each(text: str) -> Iterable[dict[str, Any]]:
    """Yield the objects of *text*: kubectl prints one after the other, or a list."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text.rstrip()):
        found, end = decoder.raw_decode(text, at)
        yield from found["items"] if found.get("kind") == "List" else [found]
        at = end + len(text[end:]) - len(text[end:].lstrip())
