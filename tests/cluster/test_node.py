"""The real node: pods of our own CPU image on it, locked down as production's are."""

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.images import MODEL, REPOSITORY, Archive
from tests.cluster.node import Node
from tests.cluster.plane import ControlPlane
from tests.waiting import wait_until

APP = "server"
PRE_STOP_S = 3
WITHIN_S = 60.0


def wait_for(what: str, holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    wait_until(holds, what, within_s=WITHIN_S, every_s=0.1)


def answers(url: str) -> bool:
    """Say whether a server answers with status 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def deployment(image: str) -> dict[str, Any]:
    """Return a Deployment of *image* that asks for no more rights than it needs."""
    container = {
        "name": APP,
        "image": image,
        "ports": [{"name": "http", "containerPort": 8000}],
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": "http"}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_S}}},
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "shm", "mountPath": "/dev/shm"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {
            **{"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        ],
    }
    labels = {"app": APP}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": APP},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def service(name: str, address: str | None) -> dict[str, Any]:
    """Return a Service for the Deployment's pods: with an address of its own, or with theirs where it is ``"None"``."""
    spec = {"selector": {"app": APP}, "ports": [{"name": "http", "port": 8000}], "clusterIP": address}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


class Namespace:
    """A namespace that takes locked-down pods only."""

    def __init__(self, plane: ControlPlane, name: str) -> None:
        self.plane = plane
        self.name = name

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl in it."""
        return self.plane.kubectl(f"--namespace={self.name}", *arguments, stdin=stdin)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create what is described."""
        described = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl("apply", "--filename=-", stdin=json.dumps(described))

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods that are not on their way out."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", "pods", "--output=json"))["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def pod(self) -> str:
        """Return the name of the one pod."""
        (pod,) = self.pods()
        return str(pod["metadata"]["name"])


@contextlib.contextmanager
def namespace(plane: ControlPlane, name: str) -> Iterator[Namespace]:
    """Make a namespace; it goes with the block."""
    made = {"metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    plane.kubectl("apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "Namespace", **made}))
    try:
        yield Namespace(plane, name)
    finally:
        plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def served(node: Node, digests: dict[str, str], archive: Archive) -> Iterator[Namespace]:
    """Serve the first image by its digest, as a chart does, behind two Services."""
    with namespace(node.plane, "node-served") as made:
        made.apply(deployment(f"{REPOSITORY}@{digests[archive.first]}"), service("one", None), service("each", "None"))
        made.kubectl("rollout", "status", f"deployment/{APP}", "--timeout=60s")
        yield made


def test_a_locked_down_pod_gets_ready(served: Namespace) -> None:
    """The server runs as uid 1000 on a read-only root, where Kubernetes enforces its strictest profile."""
    script = "cat /proc/1/comm; id -u; touch /new 2>/dev/null || echo read-only; grep Seccomp: /proc/1/status"
    printed = served.kubectl("exec", served.pod(), "--", "sh", "-c", script)
    assert printed.split() == ["tritonserver", "1000", "read-only", "Seccomp:", "2"]


def test_its_logs_can_be_read(served: Namespace) -> None:
    """What the server prints comes out at kubectl."""
    assert "Started HTTPService" in served.kubectl("logs", served.pod())


def test_a_port_forward_reaches_it(served: Namespace, tmp_path: Path) -> None:
    """A model answers at a port of this machine."""
    command = [str(served.plane.bin / "kubectl"), f"--namespace={served.name}", "port-forward", "service/one", ":8000"]
    log = tmp_path / "log"
    with log.open("wb") as stream:
        forward = subprocess.Popen(command, env=served.plane.environment(), stdout=stream, stderr=stream)
    try:
        wait_for("the port-forward", lambda: "Forwarding from" in log.read_text())
        port = re.findall(r"127\.0\.0\.1:(\d+)", log.read_text())[0]
        assert answers(f"http://127.0.0.1:{port}/v2/models/{MODEL}/versions/2/ready"), log.read_text()
    finally:
        forward.terminate()
        forward.wait(10)


def test_a_service_is_found_by_its_name(served: Namespace, node: Node) -> None:
    """A program on the node, and one in a pod, reach the server through its Service."""
    script = f"""\
import urllib.request
with urllib.request.urlopen("http://one.{served.name}.svc.cluster.local:8000/v2/health/ready", timeout=10) as answer:
    print(answer.status)
"""

    def reached() -> bool:
        called = subprocess.run([*node.inside, sys.executable, "-c", script], capture_output=True, check=False)
        return called.stdout.strip() == b"200"

    wait_for("the Service", reached)  # kube-proxy hears of a ready pod when everybody else does
    assert served.kubectl("exec", served.pod(), "--", "python3", "-c", script) == "200"


def test_a_headless_service_has_the_addresses_of_its_pods(served: Namespace, node: Node) -> None:
    """The name leads to every pod, and to nothing else."""
    served.kubectl("scale", f"deployment/{APP}", "--replicas=2")
    served.kubectl("rollout", "status", f"deployment/{APP}", "--timeout=60s")

    def found() -> set[str]:
        listed = subprocess.run(
            [*node.inside, "getent", "ahostsv4", f"each.{served.name}.svc.cluster.local"],
            capture_output=True,
            text=True,
            check=False,
        )
        return {line.split()[0] for line in listed.stdout.splitlines()}

    def pods() -> set[str]:
        return {pod["status"]["podIP"] for pod in served.pods()}

    assert len(pods()) == 2
    wait_for("both pods in DNS", lambda: found() == pods())
    served.kubectl("scale", f"deployment/{APP}", "--replicas=1")
    wait_for("one pod in DNS", lambda: len(found()) == 1 and found() == pods())


def test_a_deleted_pod_is_replaced_and_its_server_goes_on_for_as_long_as_pre_stop_sleeps(served: Namespace) -> None:
    """The Service has the new pod, and callers of the old one have the time to see that."""
    old = served.pod()
    url = "http://{}:8000/v2/health/live".format(served.kubectl("get", "pod", old, "--output=jsonpath={.status.podIP}"))
    began = time.monotonic()
    served.kubectl("delete", "pod", old, "--wait=false")
    while answers(url):
        assert time.monotonic() < began + WITHIN_S
        time.sleep(0.05)
    assert time.monotonic() - began > PRE_STOP_S - 0.5
    served.kubectl("rollout", "status", f"deployment/{APP}", "--timeout=60s")
    assert served.pod() != old
    served.kubectl("wait", "pod", old, "--for=delete", "--timeout=60s")


def test_a_version_that_cannot_be_loaded_ends_the_server(node: Node, digests: dict[str, str], archive: Archive) -> None:
    """The kubelet starts it again, and its log names the model."""
    with namespace(node.plane, "node-broken") as made:
        made.apply(deployment(f"{REPOSITORY}@{digests[archive.broken]}"))

        def restarted() -> bool:
            statuses = [status for pod in made.pods() for status in pod["status"].get("containerStatuses", [])]
            return any(status["restartCount"] for status in statuses)

        wait_for("the restart", restarted)
        logged = made.kubectl("logs", made.pod(), "--previous")
        assert f"failed to load '{MODEL}' version 3" in logged


def test_an_image_that_is_not_there_is_not_found_elsewhere(node: Node) -> None:
    """Nothing outside this machine is asked for long: the pod says that its image cannot be pulled."""
    with namespace(node.plane, "node-missing") as made:
        made.apply(deployment(f"{REPOSITORY}@sha256:{'0' * 64}"))

        def reasons() -> str:
            return made.kubectl("get", "events", "--output=jsonpath={.items[*].reason}")

        wait_for("the failed pull", lambda: "Failed" in reasons().split())
