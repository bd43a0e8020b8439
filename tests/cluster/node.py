"""A real node for a control plane: containerd, the kubelet, kube-proxy and the cluster's DNS on this machine."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.cluster import node_agents, node_runtime
from tests.cluster.node_machine import Machine, machine
from tests.cluster.plane import ControlPlane
from tests.image.ground import Missing, need

NAME = "triton-node"
NEEDED = ("containerd", "ctr", "runc", "iptables", "ip", "nsenter", "unshare", "setpriv")


@attrs.frozen(kw_only=True)
class Node:
    """A node that runs pods.

    Attributes:
        name: Its name in the cluster.
        plane: Its control plane.
        machine: Where its programs run.
    """

    name: str
    plane: ControlPlane
    machine: Machine

    @property
    def inside(self) -> tuple[str, ...]:
        """What starts a program beside the pods, as the first words of its command: it finds Services by name."""
        return self.machine.inside

    def load(self, archive: Path) -> dict[str, str]:
        """Import what `docker save` wrote; return each image's digest by its name.

        A pod may name an image by its tag or as ``REPOSITORY@DIGEST``, and pull it if it is not present.
        """
        return node_runtime.load(self.machine, archive)


@contextlib.contextmanager
def real_node(plane: ControlPlane, name: str = NAME) -> Iterator[Node]:
    """Start a node; it ends with the block, with all its pods, and nothing of it stays.

    Raises:
        Missing: If a program is not here.
        RuntimeError: If a part does not get ready; with the last lines of its log.
    """
    need(*NEEDED)
    if not (node_runtime.PLUGINS / "bridge").exists():
        raise Missing(f"containernetworking-plugins not installed: nothing in {node_runtime.PLUGINS}")
    with contextlib.ExitStack() as stack:
        # Its name is that of the control group too.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="triton-node-")))
        of_node = stack.enter_context(
            machine(
                name,
                network=plane.inside,
                nameserver=plane.network.cluster_dns,
                cluster_domain=node_agents.DOMAIN,
                folder=folder,
                logs=plane.folder / "logs",
            )
        )
        stack.callback(_forget, plane, name)
        stack.enter_context(node_runtime.containerd(of_node, folder=folder, pod_cidr=plane.network.pod_cidr))
        stack.enter_context(node_agents.dns(of_node, plane, folder=folder))
        stack.enter_context(node_agents.kubelet(of_node, plane, name=name, folder=folder))
        stack.enter_context(node_agents.services(of_node, plane, name=name, folder=folder))
        yield Node(name=name, plane=plane, machine=of_node)


def _forget(plane: ControlPlane, name: str) -> None:
    """Take the node out of the cluster, if the cluster still answers."""
    command = [str(plane.bin / "kubectl"), "delete", "node", name, "--ignore-not-found", "--wait=false"]
    subprocess.run(command, env=plane.environment(), capture_output=True, timeout=30, check=False)
