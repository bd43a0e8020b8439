"""etcd, the API server, the controllers and the scheduler, as programs."""

import contextlib
import functools
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.cluster.namespace import Network
from tests.cluster.pki import Authority
from tests.cluster.processes import child, wait_until_ready

ETCD = "http://127.0.0.1:2379"
ISSUER = "https://kubernetes.default.svc.cluster.local"


@attrs.frozen(kw_only=True)
class Parts:
    """What the parts of a control plane have in common."""

    programs: Path
    folder: Path
    authority: Authority
    network: Network

    def start(self, program: str, *flags: str) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        """Start a program inside the network namespace."""
        command = [*self.network.inside, str(self.programs / program), *flags]
        return child(program, command, logs=self.folder / "logs")

    def await_health(self, program: str, process: subprocess.Popen[bytes], where: str) -> None:
        """Wait until a program answers at *where*, an address without a host."""
        scheme, _, path = where.partition("://")
        ask = functools.partial(_healthy, f"{scheme}://{self.network.address}{path}", self.authority.certificate)
        wait_until_ready(program, ask, process=process, log=self.folder / "logs" / f"{program}.log")

    def pki(self, name: str) -> str:
        """Return the path of a certificate or key."""
        return str(self.authority.folder / name)


@contextlib.contextmanager
def running(programs: Path, *, folder: Path, authority: Authority, network: Network) -> Iterator[None]:
    """Run a control plane until the block ends; it is ready when the block begins.

    Raises:
        RuntimeError: If a part does not get ready; with the last lines of its log.
    """
    parts = Parts(programs=programs, folder=folder, authority=authority, network=network)
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    addresses = [network.address, network.first_service, "127.0.0.1"]
    authority.issue(
        "server", "/CN=kube-apiserver", names=[*(f"DNS:{name}" for name in names), *(f"IP:{ip}" for ip in addresses)]
    )
    authority.issue("kubelet-client", "/O=system:masters/CN=kube-apiserver")
    authority.issue("front-proxy", "/CN=front-proxy")
    authority.issue("service-account", "/CN=service-accounts")
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(parts.start("etcd", *_etcd(parts)))
        parts.await_health("etcd", store, "http://:2381/health")
        server = stack.enter_context(parts.start("kube-apiserver", *_server(parts)))
        parts.await_health("kube-apiserver", server, "https://:6443/readyz")
        controllers = stack.enter_context(parts.start("kube-controller-manager", *_controllers(parts)))
        chooser = stack.enter_context(parts.start("kube-scheduler", *scheduler(parts)))
        parts.await_health("kube-controller-manager", controllers, "https://:10257/healthz")
        parts.await_health("kube-scheduler", chooser, "https://:10259/readyz")
        yield


def _etcd(parts: Parts) -> list[str]:
    peer = "http://127.0.0.1:2380"
    return [
        f"--data-dir={parts.folder / 'etcd'}",
        *(f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}"),
        *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"),
        f"--listen-metrics-urls=http://{parts.network.address}:2381",
        # What this one stores ends with it.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _server(parts: Parts) -> list[str]:
    authority = str(parts.authority.certificate)
    return [
        f"--etcd-servers={ETCD}",
        *("--secure-port=6443", f"--advertise-address={parts.network.address}"),
        f"--service-cluster-ip-range={parts.network.service_cidr}",
        *("--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true"),
        *(f"--client-ca-file={authority}", f"--tls-cert-file={parts.pki('server.pem')}"),
        f"--tls-private-key-file={parts.pki('server.key')}",
        *(f"--service-account-issuer={ISSUER}", f"--service-account-key-file={parts.pki('service-account.pem')}"),
        f"--service-account-signing-key-file={parts.pki('service-account.key')}",
        f"--kubelet-client-certificate={parts.pki('kubelet-client.pem')}",
        f"--kubelet-client-key={parts.pki('kubelet-client.key')}",
        "--kubelet-preferred-address-types=InternalIP",
        # The aggregation layer, straight to the endpoints: no kube-proxy is needed for it.
        *(f"--requestheader-client-ca-file={authority}", "--requestheader-allowed-names=front-proxy"),
        *("--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group"),
        *("--requestheader-extra-headers-prefix=X-Remote-Extra-", "--enable-aggregator-routing=true"),
        f"--proxy-client-cert-file={parts.pki('front-proxy.pem')}",
        f"--proxy-client-key-file={parts.pki('front-proxy.key')}",
    ]


def _own_api(parts: Parts, user: str) -> list[str]:
    config = parts.authority.kubeconfig(user)
    return [
        *(f"--kubeconfig={config}", f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}"),
        *(f"--tls-cert-file={parts.pki('server.pem')}", f"--tls-private-key-file={parts.pki('server.key')}"),
        "--leader-elect=false",
        # A hundred nodes at once: the default of 20 requests a second would take half a minute.
        *("--kube-api-qps=500", "--kube-api-burst=1000"),
    ]


def _controllers(parts: Parts) -> list[str]:
    return [
        *_own_api(parts, "system:kube-controller-manager"),
        # Its default is a folder of the machine, which it makes.
        f"--flex-volume-plugin-dir={parts.folder / 'volume-plugins'}",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={parts.pki('service-account.key')}",
        *(
            f"--root-ca-file={parts.authority.certificate}",
            f"--cluster-signing-cert-file={parts.authority.certificate}",
        ),
        f"--cluster-signing-key-file={parts.authority.key}",
        # The autoscaler decides in seconds, not in minutes.
        *("--horizontal-pod-autoscaler-sync-period=2s", "--horizontal-pod-autoscaler-downscale-stabilization=10s"),
        "--horizontal-pod-autoscaler-initial-readiness-delay=2s",
    ]


def scheduler(parts: Parts) -> list[str]:
    """Return the scheduler's flags."""
    return _own_api(parts, "system:kube-scheduler")


def _healthy(url: str, authority: Path) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5, context=ssl.create_default_context(cafile=str(authority))) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, ssl.SSLError, OSError):
        return False
