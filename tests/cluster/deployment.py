"""A deployment by this project's tasks, and what the cluster says about it."""

import contextlib
import json
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import attrs

from scripts.repository.versions import packaged
from scripts.server.request import generate
from tests.cluster.plane import Access, HelmMajor
from tests.cluster.user import RELEASE, ROOT, User

# Small pods of small models, which come and go quickly.
VALUES: dict[str, Any] = {
    "gpu": {"enabled": False},
    "replicas": 1,
    "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
    "rollout": {"minReadySeconds": 0},
    "preStopSeconds": 1,
    "exitTimeoutSeconds": 1,
}
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
# Every namespace has these; events tell about what may be gone.
_EVERYWHERE = {"serviceaccount/default", "configmap/kube-root-ca.crt"}
_NO_OBJECTS = {"events", "events.events.k8s.io", "pods.metrics.k8s.io"}


@attrs.frozen(kw_only=True)
class Offer:
    """What there is to deploy.

    Attributes:
        image: An image, as ``--image`` takes it.
        models: The packaged models that are in it.
        model: One of them.
        versions: Its versions in the image; the first is the stable one.
        values: A file with values for small pods that come and go quickly.
        request: The body of an inference request for *model*.
        successor: The image of the next revision.
        difference: What else tells the next revision from this one.
    """

    image: str
    models: Path
    model: str
    versions: Sequence[int]
    values: Path
    request: Path
    successor: str
    difference: Sequence[str] = ()

    @classmethod
    def of(
        cls, image: str, models: Path, *, folder: Path, versions: Sequence[int] = (), successor: str = ""
    ) -> Self | None:
        """Return what there is to deploy of an image with what is packaged in *models*; None where there are none.

        Args:
            image: The image.
            models: The packaged models.
            folder: Where files may lie.
            versions: Those of the first model that are in the image; empty for all of them.
            successor: The image of the next revision; empty for the same.
        """
        if not (found := packaged(models)):
            return None
        names = sorted({version.model for version in found})
        versions = versions or [version.version for version in found if version.model == names[0]]
        readiness = {"model": names[0], "version": versions[0]}
        values, request = folder / "values.json", folder / "input.json"
        each: dict[str, Any] = {name: {} for name in names}
        values.write_text(json.dumps(VALUES | {"models": each, "readiness": readiness}))
        generate(None, model=names[0], repository=models, output=request)
        return cls(
            image=image,
            models=models,
            model=names[0],
            versions=versions,
            values=values,
            request=request,
            successor=successor or image,
            # Without another image something else must make new pods.
            difference=() if successor else ("--set=podAnnotations.next=yes",),
        )


@attrs.frozen(kw_only=True)
class Deployment:
    """A release in a namespace of its own.

    Attributes:
        user: Who deploys it.
        offer: What.
    """

    user: User
    offer: Offer

    def deploy(
        self, *arguments: str, image: str = "", within_s: float = 120, extra: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `invoke deploy-triton`, however that ends."""
        return self.user.invoke(*self.command(*arguments, image=image), within_s=within_s, extra=extra)

    def command(self, *arguments: str, image: str = "") -> list[str]:
        """Return the task with its arguments."""
        return ["deploy-triton", f"--values={self.offer.values}", f"--image={image or self.offer.image}", *arguments]

    def deployed(self, *arguments: str, image: str = "") -> str:
        """Run `invoke deploy-triton`, which must succeed, and return what it printed."""
        return self.user.succeed(*self.command(*arguments, image=image), within_s=150)

    def upgraded(self, *arguments: str) -> str:
        """Run `invoke deploy-triton` with what comes next, which must succeed, and return what it printed."""
        return self.deployed(*arguments, *self.offer.difference, image=self.offer.successor)

    def run(self, *command: str) -> str:
        """Run a program by hand, as the tasks would; return its standard output."""
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={name: value for name, value in self.user.environment().items() if value},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def helm(self, *arguments: str) -> str:
        """Run helm in the namespace by hand and return its standard output."""
        return self.run("helm", *arguments, f"--namespace={self.user.namespace}")

    def revision(self) -> tuple[int, str]:
        """Return number and state of the last revision."""
        last = json.loads(self.helm("history", RELEASE, "--output=json"))[-1]
        return int(last["revision"]), str(last["status"])

    def pods(self) -> dict[str, str]:
        """Return the server's pods that are ready and stay: name and uid."""
        selector = f"--selector=app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=server"
        found = json.loads(self.user.kubectl("get", "pods", selector, "--output=json"))["items"]
        return {
            pod["metadata"]["name"]: pod["metadata"]["uid"]
            for pod in found
            if "deletionTimestamp" not in pod["metadata"]
            and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
        }

    def ask(self, *, version: int | None = None) -> str:
        """Send an inference request to the Service, through the cluster's API, and return the version that answered."""
        one = "" if version is None else f"/versions/{version}"
        service = f"/api/v1/namespaces/{self.user.namespace}/services/{RELEASE}:http/proxy"
        path = f"{service}/v2/models/{self.offer.model}{one}/infer"
        answer = json.loads(self.user.kubectl("create", f"--raw={path}", f"--filename={self.offer.request}"))
        assert answer["outputs"][0]["data"], answer
        return str(answer["model_version"])

    def status(self) -> dict[str, Any]:
        """Return what `invoke status --json` prints."""
        said = self.user.succeed("status", "--json")
        found: dict[str, Any] = json.loads(said[said.index("\n{") :])
        return found

    def contents(self) -> set[str]:
        """Return all that is in the namespace, as ``KIND/NAME``, but for what every namespace has."""
        listed = self.user.kubectl("api-resources", "--verbs=list", "--namespaced", "--output=name").split()
        kinds = ",".join(kind for kind in listed if kind not in _NO_OBJECTS)
        return set(self.user.kubectl("get", kinds, "--output=name").split()) - _EVERYWHERE

    def namespace_exists(self) -> bool:
        """Say whether the namespace is there, and stays."""
        found = self.user.plane.kubectl(
            *("get", "namespace", self.user.namespace, "--ignore-not-found"),
            "--output=jsonpath={.status.phase}",
        )
        return found == "Active"

    def admin_key(self, name: str = RELEASE) -> tuple[str, str]:
        """Return the key of the restricted API as it is, and as it is written in its Secret, by the objects' name."""
        secret = f"{name}-admin"
        as_is = self.user.kubectl("get", "secret", secret, "--output=go-template={{.data.key | base64decode}}")
        written = self.user.kubectl("get", "secret", secret, "--output=jsonpath={.data.key}")
        assert len(as_is) >= 32
        return as_is, written


@contextlib.contextmanager
def deployment(access: Access, offer: Offer, *, helm: HelmMajor = 4, restricted: bool) -> Iterator[Deployment]:
    """Give a place to deploy to, and remove it with all that is in it.

    Args:
        access: The cluster.
        offer: What there is to deploy.
        helm: The major of Helm.
        restricted: Make the namespace, and have it enforce the strictest level of Pod Security; without, a deployment
            makes it.
    """
    name = f"triton-test-{secrets.token_hex(4)}"
    if restricted:
        access.kubectl("create", "namespace", name)
        access.kubectl("label", "namespace", name, RESTRICTED)
    try:
        yield Deployment(user=User(plane=access, namespace=name, helm=helm), offer=offer)
    finally:
        access.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")
