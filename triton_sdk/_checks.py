"""Check what a user gives, in one place, so that one mistake has the same words everywhere."""

import math
import re
import sys
from collections.abc import Collection, Iterable
from typing import Final

import numpy as np

from triton_sdk.errors import ConfigurationError

# What gRPC takes as a name system in front of an address; plain HOST:PORT means dns.
_SCHEMES: Final = ("dns", "ipv4", "ipv6", "unix", "unix-abstract", "xds")
_METADATA_KEY: Final = re.compile(r"[0-9a-z_.-]+")
_METADATA_VALUE: Final = re.compile(r"[ -~]*")


def is_whole(value: object, *, least: int = 1) -> bool:
    """Return whether *value* is a whole number from *least*, be it numpy's; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)


def is_number(value: object, *, least: float = 0.0, most: float = math.inf) -> bool:
    """Return whether *value* is a finite number from *least* to *most*, be it numpy's; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    # NaN compares with nothing, and a whole number may be too large for a float.
    return bool(least <= value <= min(most, sys.float_info.max))


def whole(value: int, what: str, *, least: int = 1) -> int:
    """Return *value* if it is a whole number from *least*.

    Raises:
        ConfigurationError: If it is not.
    """
    if not is_whole(value, least=least):
        raise ConfigurationError(f"{what} is {value!r}; a whole number from {least} was expected.")
    return int(value)


def number(value: float, what: str, *, least: float = 0.0, most: float = math.inf) -> float:
    """Return *value* if it is a finite number from *least* to *most*.

    Raises:
        ConfigurationError: If it is not.
    """
    if not is_number(value, least=least, most=most):
        bound = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise ConfigurationError(f"{what} is {value!r}; a number {bound} was expected.")
    return float(value)


def seconds(value: float, what: str = "timeout") -> float:
    """Return *value* if it is a time that a call may take.

    Raises:
        ConfigurationError: If it is not above 0 and finite.
    """
    if number(value, what) <= 0:
        raise ConfigurationError(f"{what} is {value!r}; more than 0 seconds was expected.")
    return float(value)


def choice(value: str, what: str, among: Collection[str]) -> None:
    """Check that *value* is one of a few words.

    Raises:
        ConfigurationError: If it is not.
    """
    if value not in among:
        raise ConfigurationError(f"{what} is {value!r}; {' or '.join(map(repr, among))} was expected.")


def metadata(entries: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return *entries* if gRPC can send them; no message repeats a value, for it may be a token.

    Raises:
        ConfigurationError: If it cannot.
    """
    pairs = tuple((key, value) for key, value in entries)
    for key, value in pairs:
        if not _METADATA_KEY.fullmatch(key) or key.startswith("grpc-") or key.endswith("-bin"):
            raise ConfigurationError(
                f"The metadata key {key!r} cannot be sent; lower-case letters, digits, '-', '_' and '.' were expected, "
                "without 'grpc-' in front or '-bin' behind."
            )
        if not _METADATA_VALUE.fullmatch(value):
            raise ConfigurationError(
                f"The value of the metadata entry {key!r} cannot be sent; printable ASCII on one line was expected."
            )
    return pairs


def endpoints(url: str) -> tuple[str, ...]:
    """Return the addresses in *url*; a gRPC target with a scheme is one, for gRPC itself knows of lists there."""
    scheme, colon, _ = url.partition(":")
    if colon and scheme in _SCHEMES:
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
    if colon and scheme in _SCHEMES:
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
