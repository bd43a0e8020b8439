"""Keep the sockets of the tests' process on this machine: loopback, files, and networks that tests made.

Python asks before it uses a socket (an audit hook), whatever library wants it. The programs that tests start are not
asked: they find no account, cluster or address of anybody's in their environment, and some of them install packages.
"""

import contextlib
import ipaddress
import socket
import sys
from collections.abc import Iterator

import pytest

_IP = (socket.AF_INET, socket.AF_INET6)
_TO_ADDRESS = frozenset({"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"})
_OF_NAME = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_made: list[ipaddress.IPv4Network] = []
_refused: list[str] = []


def guard() -> None:
    """Refuse every other socket of this process from now on; there is no way back."""
    sys.addaudithook(_look)


@contextlib.contextmanager
def made(*networks: str) -> Iterator[None]:
    """Let sockets go to *networks*, such as ``"10.231.1.0/24"``, which a test has made, until the block ends."""
    added = [ipaddress.IPv4Network(network, strict=False) for network in networks]
    _made.extend(added)
    try:
        yield
    finally:
        for network in added:
            _made.remove(network)


def refused() -> list[str]:
    """Return what was refused since the last time: a test fails by it even if its code took the error for its own."""
    found = list(_refused)
    _refused.clear()
    return found


def _look(event: str, arguments: tuple[object, ...]) -> None:
    if event in _TO_ADDRESS:
        used, address = arguments
        assert isinstance(used, socket.SocketType)
        # A datagram on a connected socket names no address.
        if used.family in _IP and isinstance(address, tuple) and not _is_here(str(address[0])):
            used.close()
            _refuse(event, str(address[0]))
    elif event in _OF_NAME and arguments[0]:
        name = arguments[0].decode() if isinstance(arguments[0], bytes) else str(arguments[0])
        if name.endswith(".invalid"):
            # Nobody may have such a name (RFC 6761), so no name server needs to be asked.
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if not _is_here(name):
            _refuse(event, name)


def _refuse(event: str, host: str) -> None:
    _refused.append(f"{event} {host}")
    pytest.fail(f"a test reaches beyond this machine: {event} {host}")


def _is_here(host: str) -> bool:
    if host in ("", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or any(address in network for network in _made)
