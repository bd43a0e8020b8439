"""Where the agent listens and where it asks, in a network of the test's own: IPv4, IPv6 or both."""

import subprocess
import sys

import pytest

# It has a loopback of its own, so what listens on all its addresses is reached by nobody else.
ALONE = ("unshare", "--user", "--map-root-user", "--net")
PROGRAM = """
import errno, fcntl, http.client, socket, struct, sys, threading
from scripts.agent.server import EVERYWHERE, server

class WithoutIPv6(socket.socket):
    def __init__(self, family=-1, *more, **named):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        super().__init__(family, *more, **named)

with socket.socket() as any_socket:
    SIOCSIFFLAGS, IFF_UP = 0x8914, 1
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
if "without" in sys.argv:
    socket.socket = WithoutIPv6
made = server(None, host=EVERYWHERE, port=0)
threading.Thread(target=made.serve_forever, daemon=True).start()
for host in ("127.0.0.1", "::1"):
    connection = http.client.HTTPConnection(host, made.server_address[1], timeout=10)
    try:
        connection.request("GET", "/nothing")
        print(host, connection.getresponse().status)
    except OSError as error:
        print(host, errno.errorcode[error.errno])
"""


def answers(*arguments: str) -> list[str]:
    """Return what an agent answers on both loopback addresses of a network of its own."""
    may = subprocess.run([*ALONE, "true"], capture_output=True, text=True, timeout=20, check=False)
    if may.returncode:
        pytest.skip(f"no network of its own here: {may.stderr.strip()}")
    command = [*ALONE, sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_agent_listens_on_both_kinds_of_address() -> None:
    """A pod may have an address of IPv4, of IPv6, or both, and its node asks the first."""
    assert answers() == ["127.0.0.1 404", "::1 404"]


def test_where_there_is_no_ipv6_it_listens_on_ipv4() -> None:
    """A kernel may have been started without."""
    assert answers("without") == ["127.0.0.1 404", "::1 EAFNOSUPPORT"]
