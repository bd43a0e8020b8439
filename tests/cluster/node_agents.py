"""The kubelet, kube-proxy and the cluster's DNS, as programs of a node."""

import contextlib
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.node_machine import Machine
from tests.cluster.node_runtime import SOCKET
from tests.cluster.plane import ControlPlane
from tests.cluster.processes import wait_until_ready

DOMAIN = "cluster.local"
READY = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
DNS = """
{domain}:53 {{
    bind {address}
    errors
    ready {node}:8181
    kubernetes {domain} in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 1
    }}
}}
.:53 {{
    bind {address}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""


@contextlib.contextmanager
def kubelet(machine: Machine, plane: ControlPlane, *, name: str, folder: Path) -> Iterator[None]:
    """Run the kubelet until the block ends; its node is ready when the block begins.

    Raises:
        RuntimeError: If it does not get ready; with the last lines of its log.
    """
    address = plane.network.address
    certificate, key = plane.authority.issue(
        f"kubelet-{name}", f"/O=system:nodes/CN=system:node:{name}", names=(f"IP:{address}", f"DNS:{name}")
    )
    config = folder / "kubelet.json"
    config.write_text(json.dumps(_kubelet(machine, plane, folder, certificate, key)), encoding="utf-8")
    command = [
        str(plane.bin / "kubelet"),
        f"--config={config}",
        f"--kubeconfig={plane.authority.kubeconfig(f'system:node:{name}', group='system:nodes')}",
        *(f"--hostname-override={name}", f"--node-ip={address}", f"--root-dir={folder / 'kubelet'}"),
    ]

    def ready() -> bool:
        asked = [str(plane.bin / "kubectl"), "get", "node", name, f"--output={READY}"]
        done = subprocess.run(asked, env=plane.environment(), capture_output=True, timeout=30, check=False)
        return done.stdout.strip() == b"True"

    with machine.start("kubelet", *command) as process:
        wait_until_ready("the node", ready, log=machine.logs / "kubelet.log", process=process)
        yield


@contextlib.contextmanager
def services(machine: Machine, plane: ControlPlane, *, name: str, folder: Path) -> Iterator[None]:
    """Run kube-proxy, which makes Services reachable, until the block ends.

    Raises:
        RuntimeError: If it does not get ready; with the last lines of its log.
    """
    health = f"{plane.network.address}:10256"
    config = folder / "kube-proxy.json"
    config.write_text(json.dumps(_kube_proxy(plane, name, health)), encoding="utf-8")
    with machine.start("kube-proxy", str(plane.bin / "kube-proxy"), f"--config={config}") as process:
        log = machine.logs / "kube-proxy.log"
        wait_until_ready("kube-proxy", lambda: _answers(f"http://{health}/healthz"), log=log, process=process)
        yield


@contextlib.contextmanager
def dns(machine: Machine, plane: ControlPlane, *, folder: Path) -> Iterator[None]:
    """Run the cluster's DNS until the block ends, at the address that pods are told.

    Raises:
        RuntimeError: If it does not get ready; with the last lines of its log.
    """
    address, node = plane.network.cluster_dns, plane.network.address
    corefile = folder / "Corefile"
    kubeconfig = plane.authority.kubeconfig("dns", group="system:masters")
    corefile.write_text(DNS.format(domain=DOMAIN, address=address, node=node, kubeconfig=kubeconfig), encoding="utf-8")
    # A program that listens there itself needs neither a pod nor a Service.
    machine.run("ip", "address", "add", f"{address}/32", "dev", "lo")
    try:
        with machine.start("coredns", str(plane.bin / "coredns"), f"-conf={corefile}") as process:
            log = machine.logs / "coredns.log"
            wait_until_ready(
                "the cluster's DNS", lambda: _answers(f"http://{node}:8181/ready"), log=log, process=process
            )
            yield
    finally:
        machine.run("ip", "address", "delete", f"{address}/32", "dev", "lo")


def _kubelet(machine: Machine, plane: ControlPlane, folder: Path, certificate: Path, key: Path) -> dict[str, object]:
    resolv_conf = folder / "no-resolv.conf"
    resolv_conf.touch()
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": plane.network.address,
        "tlsCertFile": str(certificate),
        "tlsPrivateKeyFile": str(key),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(plane.authority.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": machine.cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        # To lower it takes CAP_SYS_RESOURCE.
        "oomScoreAdj": 0,
        # Containers may have as many as the node itself may.
        "maxOpenFiles": 20_000,
        "clusterDomain": DOMAIN,
        "clusterDNS": [plane.network.cluster_dns],
        "resolvConf": str(resolv_conf),
        "volumePluginDir": str(folder / "volume-plugins"),
        # Whatever else fills this machine's disk is no reason to evict a pod or to collect an image.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "10s",
    }


def _kube_proxy(plane: ControlPlane, name: str, health: str) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(plane.authority.kubeconfig("system:kube-proxy"))},
        "hostnameOverride": name,
        "clusterCIDR": plane.network.pod_cidr,
        "bindAddress": plane.network.address,
        "healthzBindAddress": health,
        "metricsBindAddress": "127.0.0.1:10249",
        "oomScoreAdj": 0,
        # These are the machine's, and not its network namespace's: leave them.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"localhostNodePorts": False, "minSyncPeriod": "0s", "syncPeriod": "30s"},
    }


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
