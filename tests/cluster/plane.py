"""A Kubernetes control plane of the tests' own, in a network namespace of its own."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import attrs

from tests.cluster import binaries, components
from tests.cluster.namespace import Network, network
from tests.cluster.pki import Authority
from tests.image.ground import Missing, need

HelmMajor = Literal[3, 4]
NEEDED = ("ip", "nsenter", "openssl", "setpriv")


@attrs.frozen(kw_only=True)
class Access:
    """A way into a cluster, ours or the user's.

    Attributes:
        kubeconfig: The way in for an administrator.
        bin: The programs: kubectl, helm3/helm, helm4/helm and those of a cluster.
        variables: The environment of who goes this way.
    """

    kubeconfig: Path
    bin: Path
    variables: Mapping[str, str] = attrs.field(factory=lambda: dict(os.environ), repr=False)

    def environment(self, helm: HelmMajor = 4) -> dict[str, str]:
        """Return the environment with the way in, kubectl and one major of Helm."""
        search = os.pathsep.join([str(self.bin / f"helm{helm}"), str(self.bin), self.variables.get("PATH", os.defpath)])
        return {**self.variables, "KUBECONFIG": str(self.kubeconfig), "PATH": search}

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl and return its standard output; a failure shows all that it printed."""
        done = subprocess.run(
            [str(self.bin / "kubectl"), *arguments],
            env=self.environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()


@attrs.frozen(kw_only=True)
class ControlPlane(Access):
    """A Kubernetes API with its controllers and its scheduler, and no node yet.

    Attributes:
        folder: Everything that this one writes; it goes with it.
        authority: What issues certificates, and kubeconfigs that use them.
        network: Where it runs.
        limited: The way in for a user who may do nothing.
    """

    folder: Path
    authority: Authority
    network: Network
    limited: Path

    @property
    def server(self) -> str:
        """The address of the API, the same on either side."""
        return self.network.server

    @property
    def inside(self) -> tuple[str, ...]:
        """What starts a program inside the network namespace, as the first words of its command."""
        return self.network.inside


@contextlib.contextmanager
def control_plane() -> Iterator[ControlPlane]:
    """Start a control plane; it ends with the block, and nothing of it stays.

    Raises:
        Missing: If a program is not here, or this user may not start one.
    """
    need(*NEEDED)
    if os.geteuid() != 0:
        raise Missing("only root can make a network namespace")
    programs = binaries.tools()
    with tempfile.TemporaryDirectory(prefix="triton-cluster-") as name, network() as net:
        folder = Path(name)
        authority = Authority.make(folder / "pki", server=net.server)
        with components.running(programs, folder=folder, authority=authority, network=net):
            yield ControlPlane(
                folder=folder,
                bin=programs,
                authority=authority,
                network=net,
                kubeconfig=authority.kubeconfig("admin", group="system:masters"),
                limited=authority.kubeconfig("limited"),
            )
