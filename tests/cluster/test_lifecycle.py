"""A deployment from its first day to its last: deploy, look, check, upgrade, roll back, remove, by task and by hand.

In order: the tests up to the upgrade share one release, and change nothing.
"""

import contextlib
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.deployment import Deployment, Offer, deployment
from tests.cluster.plane import Access, ControlPlane
from tests.cluster.user import RELEASE
from tests.waiting import wait_until

# Of what a test does itself: what it stands on may have to be built first.
pytestmark = pytest.mark.timeout(240, func_only=True)
READY_S = 90.0


@pytest.fixture(scope="module")
def first_words() -> list[str]:
    """Keep what the first deployment printed."""
    return []


@pytest.fixture(scope="module")
def deployed(access: Access, offer: Offer, first_words: list[str]) -> Iterator[Deployment]:
    """Deploy two pods, with Helm 4, to a namespace that is not there yet."""
    with deployment(access, offer, restricted=False) as made:
        first_words.append(made.deployed("--set=replicas=2"))
        yield made


def row(said: str, name: str) -> str:
    """Return what a table of two columns says about *name*."""
    found = re.search(rf"^ *{name}  +(\S.*?) *$", said, re.MULTILINE)
    assert found is not None, said
    return found[1]


def wait_for(what: str, holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    wait_until(holds, what, within_s=READY_S, every_s=0.2)


def test_a_deployment_says_what_it_does_and_what_runs(deployed: Deployment, first_words: list[str]) -> None:
    """Context and namespace come before anything is done; then the command, the pods as they come, and a table."""
    (said,) = first_words
    command = said.index(f"helm upgrade --install {RELEASE} ")
    assert said.index("context ") < command
    assert said.index(f"namespace  {deployed.user.namespace}, release {RELEASE}") < command
    assert row(said, "release") == f"{RELEASE} in namespace {deployed.user.namespace}"
    assert row(said, "revision") == "1"
    assert row(said, "image") == deployed.offer.image
    assert row(said, "pods ready") == "2 of 2"
    assert row(said, "GPUs") == "none"
    node = deployed.user.kubectl("get", "pods", "--output=jsonpath={.items[0].spec.nodeName}")
    assert node in row(said, "on nodes")
    assert f"{RELEASE}-headless.{deployed.user.namespace}:8001" in said
    assert len(deployed.pods()) == 2
    for name in deployed.pods():
        assert re.search(rf"pod {name} \(new\) on \S+: ready", said), said


def test_status_tells_release_pods_and_models(deployed: Deployment) -> None:
    """The tables name revision, digest, pods, node, and each version in each pod."""
    said = deployed.user.succeed("status")
    assert row(said, "release").startswith(f"{RELEASE}, revision 1, deployed")
    assert row(said, "image") == deployed.offer.image
    assert row(said, "pods") == "2 of 2 ready"
    for name in deployed.pods():
        assert re.search(rf"^ *{name} +ok +0 ", said, re.MULTILINE), said
        for version in deployed.offer.versions:
            assert re.search(rf"^ *{name} +{deployed.offer.model} +{version} +ok +\d+ +0 ", said, re.MULTILINE), said


def test_status_counts_the_requests_that_were_made(deployed: Deployment) -> None:
    """Between two readings as JSON lie exactly the requests that were sent, whichever pod answered them."""
    stable = deployed.offer.versions[0]

    def requests() -> int:
        found = deployed.status()
        assert found["replicas"] == 2
        assert {server["pod"] for server in found["servers"]} == deployed.pods().keys()
        assert {v["state"] for server in found["servers"] for v in server["versions"]} == {"READY"}
        asked = (deployed.offer.model, str(stable))
        versions = [version for server in found["servers"] for version in server["versions"]]
        return sum(v["requests"] for v in versions if (v["model"], v["version"]) == asked)

    before = requests()
    for _ in range(5):
        assert deployed.ask(version=stable) == str(stable)
    assert requests() == before + 5


def test_the_smoke_test_checks_every_pod_by_its_numbers(deployed: Deployment) -> None:
    """Both pods pass each check through a port-forward, with the answers that were packaged as the measure."""
    said = deployed.user.succeed("smoke-test", "--all-pods", f"--repository={deployed.offer.models}")
    assert re.search(r"\d+ checks, none failed", said), said
    for name in deployed.pods():
        for version in deployed.offer.versions:
            checked = rf"^ *{name} +ok +{deployed.offer.model} v{version} +golden, gRPC +\d+ images.*largest difference"
            assert re.search(checked, said, re.MULTILINE), said


def test_the_smoke_test_takes_one_pod_by_itself(deployed: Deployment) -> None:
    """Without options one ready pod is checked, and nothing of the port-forward is left."""
    said = deployed.user.succeed("smoke-test", f"--repository={deployed.offer.models}")
    assert re.search(r"\d+ checks, none failed", said), said
    assert sum(f"pod {name}" in said for name in deployed.pods()) == 1
    assert deployed.user.namespace not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout


def test_helm_test_passes(deployed: Deployment) -> None:
    """The chart's own test reaches the server through its Service, from a pod, which stays with its log."""
    assert "Succeeded" in deployed.helm("test", RELEASE)
    assert sum(name.startswith("pod/") and name.endswith("-test-ready") for name in deployed.contents()) == 1


def test_the_commands_by_hand_work_as_they_are_written(deployed: Deployment, access: Access, tmp_path: Path) -> None:
    """A port-forward to the Service, and the very `curl` that `generate-input` prints, get the model's answer."""
    # Where the ports of this machine are nobody's: in the cluster's network, which has its own loopback.
    inside = access.inside if isinstance(access, ControlPlane) else ()
    model, request = deployed.offer.model, tmp_path / "input.json"
    said = deployed.user.succeed(
        *("generate-input", f"--model={model}", f"--repository={deployed.offer.models}", f"--output={request}")
    )
    found = re.search(r"^ +(curl .*)$", said, re.MULTILINE)
    assert found is not None, said
    forward = f"kubectl port-forward svc/{RELEASE} 8000:8000 -n {deployed.user.namespace}"
    with beside([*inside, *shlex.split(forward)], deployed) as lines:
        assert lines("Forwarding from 127.0.0.1:8000 -> 8000")
        answered = deployed.run(*inside, *shlex.split(found[1]), "--silent", "--show-error")
        ready = deployed.run(*inside, "curl", "-si", f"localhost:8000/v2/models/{model}/ready")
    answer = json.loads(answered)
    assert answer["model_name"] == model
    assert answer["outputs"][0]["name"] == "probabilities"
    assert ready.startswith("HTTP/1.1 200")


@contextlib.contextmanager
def beside(command: list[str], of: Deployment) -> Iterator[Callable[[str], bool]]:
    """Run a program until the block ends; give what waits until it prints a line."""
    child = subprocess.Popen(
        ["setpriv", "--pdeathsig=TERM", *command],
        env=of.user.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout is not None
    lines = child.stdout
    try:
        yield lambda wanted: any(wanted in line for line in iter(lines.readline, ""))
    finally:
        child.terminate()
        child.wait(10)
        lines.close()


def test_a_second_deployment_changes_nothing(deployed: Deployment) -> None:
    """The same again is the same revision, and the very same pods."""
    before = deployed.pods()
    said = deployed.deployed("--set=replicas=2")
    assert row(said, "revision") == "1, unchanged"
    assert row(said, "pods ready") == "2 of 2"
    assert deployed.revision() == (1, "deployed")
    assert deployed.pods() == before


def test_a_dry_run_shows_what_would_change_and_changes_nothing(deployed: Deployment) -> None:
    """It prints the command and the difference; the release stays as it is."""
    said = deployed.deployed("--set=replicas=3", "--dry-run")
    assert re.search(rf"^helm upgrade --install {RELEASE} .*--set=replicas=3", said, re.MULTILINE), said
    assert re.search(r"^- +replicas: 2$", said, re.MULTILINE), said
    assert re.search(r"^\+ +replicas: 3$", said, re.MULTILINE), said
    assert deployed.revision() == (1, "deployed")


def test_from_an_upgrade_to_nothing(deployed: Deployment) -> None:
    """Upgrade, smoke test, `helm rollback` by hand, deploy again, remove: each tells what it did, nothing is left."""
    user, offer, before = deployed.user, deployed.offer, deployed.pods()
    key, written = deployed.admin_key()
    said = deployed.upgraded("--set=replicas=2")
    assert row(said, "revision") == "2"
    second = row(said, "image")
    assert deployed.admin_key() == (key, written), "an upgrade keeps the key: whoever has it would be locked out"
    new = deployed.pods()
    assert len(new) == 2
    assert not new.keys() & before.keys()
    smoked = user.succeed("smoke-test", f"--repository={offer.models}")
    if second != offer.image:
        assert re.search(rf"^ *ok +{offer.model} v3 +golden, gRPC ", smoked, re.MULTILINE), smoked
        assert deployed.ask() == "3"

    deployed.helm("rollback", RELEASE, "1")
    user.kubectl("rollout", "status", f"deployment/{RELEASE}", "--timeout=90s")
    wait_for("the pods of the rollback", lambda: len(deployed.pods()) == 2 and not deployed.pods().keys() & new.keys())
    told = user.succeed("status")
    assert row(told, "release").startswith(f"{RELEASE}, revision 3, deployed")
    assert row(told, "image") == offer.image
    if second != offer.image:
        assert deployed.ask() == "2"

    again = deployed.upgraded("--set=replicas=1")
    assert (row(again, "revision"), row(again, "image")) == ("4", second)
    assert len(deployed.pods()) == 1

    unasked = user.invoke("destroy-triton")
    assert unasked.returncode == 1
    assert "There is no terminal to ask on: --yes" in unasked.stdout
    assert len(deployed.pods()) == 1
    removed = user.succeed("destroy-triton", "--yes")
    for kind, name in (("Deployment", RELEASE), ("Secret", f"{RELEASE}-admin"), ("Service", f"{RELEASE}-headless")):
        assert re.search(rf"^ *{kind} +{name} *$", removed, re.MULTILINE), removed
    assert f"{RELEASE} is removed, and nothing of it is left." in removed
    assert deployed.contents() == set()
    # No one is there to be asked, so the namespace that the deployment made is left, and it is said what removes it.
    assert "--with-namespace" in removed
    assert deployed.namespace_exists()

    repeated = user.succeed("destroy-triton", "--yes", "--with-namespace")
    assert f"There is no release {RELEASE} in the namespace {user.namespace}: nothing to remove." in repeated
    assert not deployed.namespace_exists()
    assert "nothing to remove" in user.succeed("destroy-triton", "--yes")
    assert not [text for text in user.heard if key in text or written in text]


def test_the_same_with_helm_3_where_pods_are_restricted(access: Access, offer: Offer) -> None:
    """Deploy, upgrade, test, remove, under names of one's own; the namespace, which was there before, stays.

    Who removes it has Kubernetes' role `edit`, where the tests may make such a user.
    """
    named = ("--set=fullnameOverride=classifier", "--set=nameOverride=vision")
    with deployment(access, offer, helm=3, restricted=True) as made:
        assert "v3." in made.helm("version", "--short")
        said = made.deployed(*named)
        assert row(said, "pods ready") == "1 of 1"
        assert "port-forward service/classifier 8000 8001" in said
        assert row(made.user.succeed("status"), "image") == offer.image
        before = made.pods()
        assert row(made.deployed(*named), "revision") == "1, unchanged"
        assert row(made.upgraded(*named), "revision") == "2"
        assert not made.pods().keys() & before.keys()
        assert "none failed" in made.user.succeed("smoke-test", f"--repository={offer.models}")
        assert row(made.user.succeed("status"), "pods") == "1 of 1 ready"
        # Which a pod that Helm removes when its test has ended would not have any more.
        assert re.search(r"POD LOGS: \S+\n.*\S", made.helm("test", RELEASE, "--logs"))
        key, written = made.admin_key("classifier")

        editor: dict[str, str] = {}
        if isinstance(access, ControlPlane):
            made.user.kubectl("create", "rolebinding", "editor", "--clusterrole=edit", "--user=limited")
            editor = {"KUBECONFIG": str(access.limited)}
        done = made.user.invoke("destroy-triton", "--yes", "--with-namespace", extra=editor)
        assert done.returncode == 0, done.stdout
        removed = done.stdout
        assert "classifier" in removed
        assert "was not made by deploy-triton" in removed
        assert made.contents() == ({"rolebinding.rbac.authorization.k8s.io/editor"} if editor else set())
        assert made.namespace_exists()
        assert not [text for text in made.user.heard if key in text or written in text]
