"""A network namespace for a cluster: what it does to addresses, routes and packet filters stays inside."""

import contextlib
import secrets
import subprocess
from collections.abc import Iterator

import attrs

from tests import sockets
from tests.image.ground import PATH


@attrs.frozen(kw_only=True)
class Network:
    """A network namespace with one link to the machine's.

    Attributes:
        name: The name of the namespace, as `ip netns` has it.
        number: Tells its addresses from those of another cluster on this machine.
    """

    name: str
    number: int

    @property
    def outside(self) -> str:
        """The address of the machine on the link; a server of a test is reached by it."""
        return f"10.231.{self.number}.1"

    @property
    def address(self) -> str:
        """The address inside: of the API, and of the one real node."""
        return f"10.231.{self.number}.2"

    @property
    def server(self) -> str:
        """The address of the API."""
        return f"https://{self.address}:6443"

    @property
    def pod_cidr(self) -> str:
        """The addresses of the pods on the real node."""
        return f"10.232.{self.number}.0/24"

    @property
    def service_cidr(self) -> str:
        """The addresses of the Services."""
        return f"10.233.{self.number}.0/24"

    @property
    def first_service(self) -> str:
        """The address of the Service `kubernetes`."""
        return f"10.233.{self.number}.1"

    @property
    def cluster_dns(self) -> str:
        """The address of the Service of the cluster's DNS."""
        return f"10.233.{self.number}.10"

    @property
    def simulated_cidr(self) -> str:
        """The addresses that pods on simulated nodes claim to have; nothing answers there."""
        return f"10.234.{self.number}.1/24"

    @property
    def inside(self) -> tuple[str, ...]:
        """What runs a command in the namespace, and in nothing else that differs: mounts are the machine's."""
        return ("nsenter", f"--net=/run/netns/{self.name}")


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Make a network namespace whose pods and Services this machine can reach; it goes with the block."""
    unique = secrets.token_hex(4)
    name, link = f"triton-{unique}", f"tc{unique}"
    taken = _run("ip", "route")
    numbers = (n for n in range(1, 255) if not any(f"10.{second}.{n}." in taken for second in range(231, 235)))
    net = Network(name=name, number=next(numbers))
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "address", "add", f"{net.outside}/24", "dev", link)
        _run("ip", "link", "set", link, "up")
        for arguments in (
            ("address", "add", f"{net.address}/24", "dev", "eth0"),
            ("link", "set", "lo", "up"),
            ("link", "set", "eth0", "up"),
            # A program inside that calls a Service needs a route before the packet filter gives it a pod.
            ("route", "add", net.service_cidr, "dev", "eth0"),
        ):
            _run(*net.inside, "ip", *arguments)
        _run(*net.inside, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        for cidr in (net.pod_cidr, net.service_cidr):
            _run("ip", "route", "add", cidr, "via", net.address)
        with sockets.made(f"{net.outside}/24", net.pod_cidr, net.service_cidr):
            yield net
    finally:
        # The link and its routes go with the namespace, whose end may wait for a socket: so the link first.
        subprocess.run(["ip", "link", "delete", link], env={"PATH": PATH}, capture_output=True, check=False)
        _run("ip", "netns", "delete", name)


def _run(*command: str) -> str:
    done = subprocess.run(command, env={"PATH": PATH}, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
