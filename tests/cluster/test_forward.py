"""Ports that lead to real pods: kept working while kubectl and pods are killed, and ended with what opened them."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import numpy as np
import pytest

from scripts.cluster.forward import Forwarding, forward
from scripts.cluster.kubectl import Kubectl
from scripts.host.errors import TaskFailure
from scripts.host.shell import LocalRunner
from scripts.server.endpoint import Endpoint
from tests.cluster.images import MODEL, Archive
from tests.cluster.plane import ControlPlane
from tests.cluster.user import RELEASE, ROOT, User
from tests.doubles.tcp_proxy import TcpProxy
from tests.waiting import wait_until
from triton_sdk import ResNetClient

NAMESPACE = "test-forward"
WITHIN_S = 60.0
pytestmark = pytest.mark.timeout(300, func_only=True)


@pytest.fixture(scope="module")
def user(plane: ControlPlane, digests: dict[str, str], archive: Archive) -> Iterator[User]:
    """Install the chart with two pods, and give a user of it."""
    values = {
        "gpu.enabled": "false",
        "replicas": "2",
        "image.repository": archive.first.partition(":")[0],
        "image.digest": digests[archive.first],
        "resources.requests.cpu": "50m",
        "preStopSeconds": "1",
        "exitTimeoutSeconds": "2",
    }
    made = User(plane=plane, namespace=NAMESPACE)
    subprocess.run(
        ["helm", "install", RELEASE, str(ROOT / "helm" / "triton"), f"--namespace={NAMESPACE}", "--create-namespace"]
        + [f"--set={name}={value}" for name, value in values.items()],
        env=made.environment(),
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )  # fmt: skip
    made.kubectl("rollout", "status", f"deployment/{RELEASE}", f"--timeout={WITHIN_S:.0f}s")
    yield made
    plane.kubectl("delete", "namespace", NAMESPACE, f"--timeout={WITHIN_S:.0f}s")


@pytest.fixture
def kubectl(user: User, monkeypatch: pytest.MonkeyPatch) -> Kubectl:
    """Give this process's own kubectl for the cluster."""
    environment = user.environment()
    for name in ("KUBECONFIG", "PATH"):
        monkeypatch.setenv(name, environment[name])
    return Kubectl(LocalRunner(), namespace=NAMESPACE)


def quiet(_: str) -> None:
    """Take a line."""


def until(what: str, holds: Callable[[], bool], *, within_s: float = WITHIN_S) -> None:
    """Wait until something holds."""
    wait_until(holds, what, within_s=within_s, every_s=0.05)


def forwarding_kubectls() -> dict[int, str]:
    """Return the processes that forward ports in the tests' namespace: their ids, and what they run."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (process / "cmdline").read_bytes().decode().split("\0")
            if Path(arguments[0]).name == "kubectl" and {f"--namespace={NAMESPACE}", "port-forward"} <= set(arguments):
                found[int(process.name)] = " ".join(arguments)
    return found


@attrs.define
class Traffic:
    """Requests, one after the other, for as long as the block runs.

    Attributes:
        endpoint: To whom.
        right: How many were answered.
        silence_s: The longest time without an answer.
    """

    endpoint: Endpoint
    right: int = 0
    silence_s: float = 0.0
    _stopping: threading.Event = attrs.field(factory=threading.Event, init=False)
    _thread: threading.Thread | None = attrs.field(default=None, init=False)

    def __enter__(self) -> "Traffic":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stopping.is_set():
            with contextlib.suppress(TaskFailure):
                if self.endpoint.get(f"/v2/models/{MODEL}/ready", timeout_s=5).status == 200:
                    self.right += 1
                    last, before = time.monotonic(), last
                    self.silence_s = max(self.silence_s, last - before)
            time.sleep(0.01)

    def flows(self) -> None:
        """Wait for more right answers."""
        before = self.right
        until("right answers", lambda: self.right > before + 10)


def classify(client: ResNetClient) -> int:
    """Ask for one prediction and return how many classes have a score."""
    return len(client.predict(np.zeros((32, 32, 3), np.uint8)).top)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_a_killed_kubectl_is_replaced_in_the_middle_of_traffic(kubectl: Kubectl, how: signal.Signals) -> None:
    """Requests fail for a moment; then the same ports lead there again, and a client that was connected goes on."""
    told: list[str] = []
    with forward(kubectl, f"svc/{RELEASE}", progress=told.append) as forwarding:
        ports = dict(forwarding.ports)
        with (
            ResNetClient(forwarding.endpoint().grpc, model=MODEL, timeout=30) as client,
            Traffic(forwarding.endpoint()) as traffic,
        ):
            traffic.flows()
            assert classify(client) > 0
            for kill in (1, 2, 3):
                (pid,) = forwarding_kubectls()
                os.kill(pid, how)
                until("a restart", lambda kill=kill: forwarding.restarts == kill)  # type: ignore[misc]
                traffic.flows()
                assert classify(client) > 0
        assert forwarding.ports == ports
        assert forwarding.trouble == ""
        assert len(told) == 3
        assert traffic.silence_s < 20
    assert forwarding_kubectls() == {}


@pytest.fixture
def network(
    kubectl: Kubectl, plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TcpProxy]:
    """Give a network between kubectl and the API that can be broken."""
    found = kubectl.json("config", "view", "--minify", "--raw")["clusters"][0]
    server = urlsplit(found["cluster"]["server"])
    with TcpProxy(server.netloc) as proxy:
        path = tmp_path / "kubeconfig"
        path.write_bytes(plane.kubeconfig.read_bytes())
        monkeypatch.setenv("KUBECONFIG", str(path))
        kubectl.text(
            *("config", "set-cluster", found["name"]),
            *(f"--server=https://{proxy.url}", f"--tls-server-name={server.hostname}"),
        )
        yield proxy


@pytest.mark.parametrize("how", ["reset", "api gone for a while", "silence"])
def test_a_broken_network_is_survived(kubectl: Kubectl, network: TcpProxy, how: str) -> None:
    """Connections that are reset, an API that is not there for a while, a network that swallows everything."""
    told: list[str] = []
    with (
        forward(kubectl, f"svc/{RELEASE}", progress=told.append) as forwarding,
        Traffic(forwarding.endpoint()) as traffic,
    ):
        ports = dict(forwarding.ports)
        traffic.flows()
        if how == "reset":
            assert network.reset() > 0
        elif how == "silence":
            network.hold()
        else:
            network.refuse()
        until("that it is noticed", lambda: bool(told))
        if how == "silence":
            # What was held back is lost, as it is when a VPN comes up again.
            network.reset()
            network.release()
        elif how != "reset":
            network.accept()
        until("a restart", lambda: forwarding.restarts > 0)
        traffic.flows()
        assert forwarding.ports == ports
        assert forwarding.trouble == ""
    assert forwarding_kubectls() == {}


def test_a_service_leads_to_another_pod_when_one_goes(kubectl: Kubectl, user: User) -> None:
    """The connection to a pod that is deleted is replaced by one to another that is ready, on the same ports."""
    with forward(kubectl, f"svc/{RELEASE}", progress=quiet) as forwarding:
        first, ports = forwarding.pod, dict(forwarding.ports)
        with Traffic(forwarding.endpoint()) as traffic:
            traffic.flows()
            user.kubectl("delete", "pod", first, "--wait=false")
            until("another pod", lambda: forwarding.pod != first)
            traffic.flows()
        assert forwarding.ports == ports
    user.kubectl("rollout", "status", f"deployment/{RELEASE}", f"--timeout={WITHIN_S:.0f}s")


def test_a_pod_that_is_gone_is_given_up_with_the_reason(kubectl: Kubectl, user: User) -> None:
    """There is no other for that name: what is known of it is said, and the block ends as it would have."""
    name = user.kubectl("get", "pods", "--output=jsonpath={.items[0].metadata.name}")
    with forward(kubectl, f"pod/{name}", progress=quiet, patience_s=5) as forwarding:
        user.kubectl("delete", "pod", name)
        until("an end of patience", lambda: bool(forwarding.trouble))
        assert name in forwarding.trouble
    assert forwarding_kubectls() == {}
    user.kubectl("rollout", "status", f"deployment/{RELEASE}", f"--timeout={WITHIN_S:.0f}s")


def open_for_a_moment(kubectl: Kubectl, subject: str) -> Forwarding:
    """Forward ports, and end that at once."""
    with forward(kubectl, subject, progress=quiet, patience_s=5) as forwarding:
        return forwarding


def test_what_cannot_be_reached_is_one_message(kubectl: Kubectl, user: User) -> None:
    """No such Service, no such pod, no pod that is ready, with the reason."""
    with pytest.raises(TaskFailure, match=f'find the service no-such in {NAMESPACE}.*"no-such" not found'):
        open_for_a_moment(kubectl, "svc/no-such")
    with pytest.raises(TaskFailure, match='"no-such" not found'):
        open_for_a_moment(kubectl, "pod/no-such")
    user.kubectl("create", "deployment", "stuck", "--image=no-such-image:1")
    user.kubectl("expose", "deployment", "stuck", "--port=8000")
    until("a pod", lambda: "stuck" in user.kubectl("get", "pods", "--selector=app=stuck", "--output=name"))
    with pytest.raises(TaskFailure, match=r"No pod of Service stuck is ready:\n  stuck-"):
        open_for_a_moment(kubectl, "svc/stuck")
    user.kubectl("delete", "--cascade=foreground", "deployment,service", "stuck")


def test_who_may_not_is_told(kubectl: Kubectl, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without rights gets a message that says so."""
    monkeypatch.setenv("KUBECONFIG", str(plane.limited))
    with pytest.raises(TaskFailure, match="this login may not do that"):
        open_for_a_moment(kubectl, f"svc/{RELEASE}")


def test_the_smoke_test_checks_every_pod(user: User, archive: Archive) -> None:
    """It reads the admin key by itself, finds the versions, and the numbers of each are right; no key is shown."""
    printed = user.succeed("smoke-test", "--all-pods", "--repository", str(archive.models))
    pods = user.kubectl("get", "pods", "--output=jsonpath={.items[*].metadata.name}").split()
    assert len(pods) == 2
    for pod in pods:
        assert printed.count(f"{pod}: {MODEL} v2: golden, gRPC") == 1
    assert "none failed" in printed
    key = user.kubectl("get", "secret", f"{RELEASE}-admin", "--output=go-template={{.data.key | base64decode}}")
    assert len(key) > 10
    assert key not in printed
    assert forwarding_kubectls() == {}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_smoke_test_that_is_stopped_leaves_no_kubectl(user: User, archive: Archive, how: signal.Signals) -> None:
    """However it ends; Ctrl-C and SIGTERM end it with one word and status 130."""
    child = subprocess.Popen(
        [sys.executable, "-m", "invoke", "smoke-test", "--repository", str(archive.models)],
        cwd=ROOT, env=user.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until("a port-forward", lambda: bool(forwarding_kubectls()))
        child.send_signal(how)
        _, errors = child.communicate(timeout=30)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == (-how if how is signal.SIGKILL else 130)
    assert "Traceback" not in errors
    until("an end", lambda: not forwarding_kubectls())
