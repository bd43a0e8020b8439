"""The chart on a real API, by those who do not go through this project's tasks: kubectl, Helm, a rotation by hand."""

import json
import subprocess
import sys
from typing import Any

import attrs
import pytest

from tests.cluster.plane import ControlPlane, HelmMajor
from tests.cluster.user import ROOT

pytestmark = pytest.mark.timeout(240, func_only=True)
CHART = str(ROOT / "helm" / "triton")
IMAGE = ("--set=image.repository=registry.example.com/x", f"--set=image.digest=sha256:{'1' * 64}", "--set=replicas=0")
OWN = "--set=admin.existingSecret=triton-admin"


@attrs.frozen(kw_only=True)
class Place:
    """A namespace, and who works in it.

    Attributes:
        plane: The cluster.
        namespace: The namespace.
        helm: The major of Helm.
    """

    plane: ControlPlane
    namespace: str
    helm: HelmMajor

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run a program, which must succeed, and return its standard output."""
        done = subprocess.run(
            arguments,
            cwd=ROOT,
            env=self.plane.environment(self.helm),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def upgrade(self, *values: str) -> None:
        """Install or upgrade the release `x`."""
        self.run("helm", "upgrade", "--install", "x", CHART, f"--namespace={self.namespace}", *IMAGE, *values)

    def get(self, *what: str) -> dict[str, Any]:
        """Return an object."""
        found: dict[str, Any] = json.loads(self.run("kubectl", "get", *what, f"-n={self.namespace}", "--output=json"))
        return found

    def key(self) -> str:
        """Return the generated key as it is written."""
        return str(self.get("secret", "x-triton-admin")["data"]["key"])

    def sum(self) -> str:
        """Return the checksum of the key that the pods carry; empty for none."""
        template = self.get("deployment", "x-triton")["spec"]["template"]
        return str(template["metadata"]["annotations"].get("checksum/admin-key", ""))


@pytest.fixture(params=[3, 4], ids=["helm3", "helm4"])
def place(request: pytest.FixtureRequest, plane: ControlPlane, namespace: str) -> Place:
    """Give a namespace to an administrator with each Helm."""
    return Place(plane=plane, namespace=namespace, helm=request.param)


def test_applying_twice_is_applying_once(place: Place) -> None:
    """`helm template | kubectl apply` goes to the right namespace, starts no test, and finds nothing to do again.

    `invoke status` shows it, though Helm knows of no release.
    """
    template = ("helm", "template", "x", CHART, f"--namespace={place.namespace}", "--kube-version=1.34", OWN, *IMAGE)
    first = place.run(*template)
    assert first == place.run(*template)
    place.run("kubectl", "apply", "--filename=-", stdin=first)
    made = place.get("deployment", "x-triton")["metadata"]
    # What kubectl would send although the API has it already: a quantity that is written in another way, for one.
    again = place.run("kubectl", "apply", "--filename=-", stdin=place.run(*template))
    assert [line for line in again.splitlines() if not line.endswith(" unchanged")] == []
    assert place.get("deployment", "x-triton")["metadata"]["generation"] == made["generation"]
    assert place.get("pods")["items"] == []
    command = (sys.executable, "-m", "invoke", "status", "--release=x", f"--namespace={place.namespace}", "--json")
    said = place.run(*command)
    found = json.loads(said[said.index("{\n") :])
    assert (found["revisions"], found["chart"].partition("-")[0], found["replicas"]) == ([], "triton", 0)


def test_a_generated_key_is_kept_until_it_is_deleted(place: Place) -> None:
    """Upgrades keep key and pods; after the key was deleted, the next upgrade makes another, and other pods."""
    place.upgrade()
    key, carried = place.key(), place.sum()
    assert carried
    place.upgrade()
    assert (place.key(), place.sum()) == (key, carried)
    place.run("kubectl", "delete", "secret", "x-triton-admin", f"-n={place.namespace}")
    place.upgrade()
    assert place.key() != key
    assert place.sum() not in ("", carried)


def test_a_key_of_ones_own_is_rotated_as_the_page_says(place: Place) -> None:
    """With a Secret of the user's, made by the lines of docs/gitops.md, pods are replaced when it changes."""
    sums = []
    for key in ("a" * 40, "b" * 40):
        make = ("kubectl", "create", "secret", "generic", "triton-admin", "--from-file=key=/dev/stdin")
        where = f"-n={place.namespace}"
        secret = place.run(*make, where, "--dry-run=client", "--output=yaml", stdin=key)
        place.run("kubectl", "apply", "--filename=-", stdin=secret)
        place.upgrade(OWN)
        sums.append(place.sum())
    assert "" not in sums
    assert sums[0] != sums[1]
    place.run("kubectl", "rollout", "restart", "deployment/x-triton", f"-n={place.namespace}")


def test_helm_may_make_the_namespace(place: Place) -> None:
    """A namespace that is not there yet says nothing, and still the key is made and kept."""
    new = attrs.evolve(place, namespace=f"{place.namespace}-new")
    try:
        new.upgrade("--create-namespace")
        key = new.key()
        new.upgrade()
        assert new.key() == key
    finally:
        new.run("kubectl", "delete", "namespace", new.namespace, "--ignore-not-found", "--wait=false")


def test_who_may_only_edit_a_namespace_can_deploy(place: Place) -> None:
    """Looking for the cluster asks for no right beyond the namespace."""
    place.run(
        *("kubectl", "create", "rolebinding", "edit", "--clusterrole=edit", "--user=limited", f"-n={place.namespace}")
    )
    limited = attrs.evolve(place, plane=attrs.evolve(place.plane, kubeconfig=place.plane.limited))
    limited.upgrade()
    assert limited.key()
