"""The HTTP proxy that gRPC takes from the environment: none to this machine, and elsewhere its name for messages.

gRPC reads the variables by itself, in lower case only, and asks even a server on this machine through the proxy, where
``no_proxy`` does not name that server exactly as the client's address does.
"""

import ipaddress
import os
from collections.abc import Mapping
from typing import Any, Final

from triton_sdk._addresses import SCHEMES

# In the order in which gRPC looks: https://grpc.github.io/grpc/core/md_doc_environment_variables.html
_PROXY: Final = ("grpc_proxy", "https_proxy", "http_proxy")
_NO_PROXY: Final = ("no_grpc_proxy", "no_proxy")
_LOCAL_NAMES: Final = (
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost6",
    "ip6-localhost",
    "ip6-loopback",
)


def options(target: str) -> list[tuple[str, Any]]:
    """Return what gRPC must be told, so that it asks a server on this machine without a proxy."""
    return [("grpc.enable_http_proxy", 0)] if all(map(_is_local, _hosts(target))) else []


def named(target: str, environ: Mapping[str, str] = os.environ) -> str:
    """Say through which proxy gRPC asks *target*, and how to do without; empty where it asks directly."""
    hosts = _hosts(target)
    variable = next((name for name in _PROXY if environ.get(name)), "")
    passed_over = next((environ[name] for name in _NO_PROXY if environ.get(name)), "")
    if not variable or all(map(_is_local, hosts)) or any(_is_named(host, passed_over) for host in hosts):
        return ""
    # A password may stand before the @.
    scheme, slashes, rest = environ[variable].rpartition("://")
    place = rest.rpartition("@")[2].partition("/")[0]
    return (
        f"asked through the proxy {scheme}{slashes}{place}, which the variable {variable} names; if you want to ask "
        f"the server directly, add {hosts[0]} to the variable no_proxy"
    )


def _hosts(target: str) -> list[str]:
    """Return the hosts in a gRPC target; none where it is a socket's path."""
    scheme, colon, rest = target.partition(":")
    if not colon or scheme not in SCHEMES:
        rest = target
    elif scheme.startswith("unix"):
        return []
    # dns://AUTHORITY/NAME:PORT
    return [_host(address) for address in rest.rpartition("/")[2].split(",")]


def _host(address: str) -> str:
    host, colon, port = address.rpartition(":")
    return (host if colon and port.isdecimal() else address).strip("[]")


def _is_local(host: str) -> bool:
    name = host.lower().rstrip(".")
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    inner = getattr(address, "ipv4_mapped", None) or address
    # Who connects to 0.0.0.0 gets to this machine.
    return bool(inner.is_loopback or inner.is_unspecified)


def _is_named(host: str, passed_over: str) -> bool:
    """Return whether gRPC finds *host* in what stands in ``no_proxy``: ends of names, and networks."""
    for entry in filter(None, (part.strip() for part in passed_over.split(","))):
        if host.lower().endswith(entry.lower()):
            return True
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            continue
    return False
