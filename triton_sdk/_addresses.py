"""Check the addresses of servers, and tell one from several."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from triton_sdk.errors import ConfigurationError

# What gRPC takes as a name system in front of an address; plain HOST:PORT means dns.
SCHEMES: Final = ("dns", "ipv4", "ipv6", "unix", "unix-abstract", "xds")


def joined(url: object) -> str:
    """Return one text for one address or several.

    Raises:
        ConfigurationError: If there are none, or one is no text.
    """
    expected = "HOST:PORT of its gRPC endpoint was expected, such as localhost:8001."
    if isinstance(url, str):
        return url
    if not isinstance(url, Iterable) or isinstance(url, bytes | bytearray | Mapping):
        raise ConfigurationError(f"The server's address is {url!r}; {expected}")
    parts = list(url)
    for part in parts:
        if not isinstance(part, str):
            raise ConfigurationError(f"One of the server's addresses is {part!r}; {expected}")
    return ",".join(parts)


def endpoints(url: str) -> tuple[str, ...]:
    """Return the addresses in *url*; a gRPC target with a scheme is one, for gRPC itself knows of lists there."""
    scheme, colon, _ = url.partition(":")
    if colon and scheme in SCHEMES:
        return (url,)
    return tuple(part.strip() for part in url.split(","))


def address(url: str) -> str:
    """Return *url* if gRPC can connect to each address in it.

    Raises:
        ConfigurationError: If it cannot.
    """
    for part in endpoints(url):
        _one_address(part)
    return url


def _one_address(url: str) -> None:
    """Check one address: without a port gRPC would take 443, and http:// for a host's name."""
    scheme, colon, rest = url.partition(":")
    if colon and scheme in SCHEMES:
        usable = bool(rest.strip("/"))
    else:
        host, _, port = url.rpartition(":")
        usable = bool(re.fullmatch(r"\[[0-9a-fA-F:.%\w]+\]|[^\s/:@]+", host)) and port.isascii() and port.isdigit()
        usable = usable and 0 < int(port) < 65536
    if not usable:
        # A password may stand before the @.
        shown = repr(url) if "@" not in url else "one with an @"
        raise ConfigurationError(
            f"The server's address is {shown}; HOST:PORT of its gRPC endpoint was expected, such as localhost:8001."
        )
