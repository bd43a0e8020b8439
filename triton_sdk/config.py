"""How a client reaches its server: plain values, checked when they are made."""

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Self, TypeVar

import attrs

from triton_sdk.errors import ConfigurationError
from triton_sdk.images import Decode

# What gRPC takes as a name system in front of an address; plain HOST:PORT means dns.
_SCHEMES: Final = ("dns", "ipv4", "ipv6", "unix", "unix-abstract", "xds")
_METADATA_KEY: Final = re.compile(r"[0-9a-z_.-]+")
_METADATA_VALUE: Final = re.compile(r"[ -~]*")

_T = TypeVar("_T")


def _number(value: float, what: str, *, least: float = 0.0, most: float = math.inf) -> float:
    if isinstance(value, bool) or not (
        isinstance(value, int | float) and math.isfinite(value) and least <= value <= most
    ):
        bound = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise ConfigurationError(f"{what} is {value!r}; a number {bound} was expected.")
    return value


def whole(value: int, what: str, *, least: int = 1) -> int:
    """Return *value* if it is a whole number from *least*.

    Raises:
        ConfigurationError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{what} is {value!r}; a whole number from {least} was expected.")
    return value


def _joined(url: str | Iterable[str]) -> str:
    return url if isinstance(url, str) else ",".join(url)


def _metadata(entries: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return *entries* if gRPC can send them; no message repeats a value, for it may be a token."""
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


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When to try again, and how long to wait first.

    The wait before retry *n*, counted from 1, is drawn from ``[0, min(cap, base * 2**(n - 1))]``. All calls of a client
    share a store of retries, so that a sick server is not drowned: each call adds *budget* to it, each retry takes 1.

    Attributes:
        max_attempts: Tries in all, the first included; 1 turns retries off.
        base: Longest first wait, in seconds.
        cap: Longest wait ever, in seconds.
        budget: Retries that each call earns, from 0 to 1: with 0.1 a sick server sees 1.1 times the calls plus *burst*.
        burst: Retries in the store at the start, and at most.

    Raises:
        ConfigurationError: If a value is out of its range.
    """

    max_attempts: int = 3
    base: float = 0.05
    cap: float = 1.0
    budget: float = 0.1
    burst: int = 10

    def __attrs_post_init__(self) -> None:
        _number(self.max_attempts, "max_attempts", least=1)
        _number(self.base, "base")
        _number(self.cap, "cap")
        _number(self.budget, "budget", most=1)
        _number(self.burst, "burst")


@attrs.frozen(kw_only=True)
class Coalesce:
    """How the calls of an async client share requests.

    Attributes:
        max_batch: Most images in a shared request, from 2; never more than the model takes.
        max_wait_s: Longest time that an image waits for others, in seconds; 0 joins only what is there at the same turn
            of the event loop.

    Raises:
        ConfigurationError: If a value is out of its range.
    """

    max_batch: int = 8
    max_wait_s: float = 0.002

    def __attrs_post_init__(self) -> None:
        whole(self.max_batch, "max_batch", least=2)
        _number(self.max_wait_s, "max_wait_s")


@attrs.frozen(kw_only=True)
class Tls:
    """Whom to trust, and who this client is. All files are PEM and are read when a connection is made.

    Attributes:
        ca: Certificates of the authorities to trust; those of the system when None.
        certificate: This client's certificate chain, for a server that asks for one.
        key: The private key to it.
        server_name: Name that the server's certificate must carry, where it is not the address's.

    Raises:
        ConfigurationError: If only one of *certificate* and *key* is given.
    """

    ca: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    server_name: str | None = None

    def __attrs_post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            given, missing = ("certificate", "key") if self.key is None else ("key", "certificate")
            raise ConfigurationError(f"TLS has a {given} but no {missing}; give both or neither.")


@attrs.frozen(kw_only=True)
class ClientConfig:
    """All that a client needs to know about its server.

    Attributes:
        url: ``HOST:PORT`` of the server's gRPC endpoint, or a gRPC target such as ``dns:///name:8001``, whose addresses
            take turns. Several of the former take turns as well, in one text with commas or in any other iterable; what
            one does not answer, the next one is asked.
        model: The model's name.
        timeout: Seconds that a call may take, retries and waits included, where it names no other.
        retry: When to try again.
        tls: How to encrypt; plain text when None.
        metadata: Keys and values sent with each request, such as ``("authorization", "Bearer ...")``; never shown.
        decode: ``"fast"`` decodes large JPEGs at a part of their size, see `to_pixels`; ``"exact"`` never does.

    Raises:
        ConfigurationError: If a value cannot be used; the value of a metadata entry is not repeated.
    """

    url: str = attrs.field(converter=_joined)
    model: str = "resnet50"
    timeout: float = 30.0
    retry: RetryPolicy = RetryPolicy()
    tls: Tls | None = None
    metadata: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_metadata, repr=False)
    decode: Decode = "exact"

    def __attrs_post_init__(self) -> None:
        _urls(self.url)
        if not self.model:
            raise ConfigurationError("model is empty; the name of a served model was expected.")
        seconds(self.timeout)
        if self.decode not in ("exact", "fast"):
            raise ConfigurationError(f"decode is {self.decode!r}; 'exact' or 'fast' was expected.")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the configuration from environment variables; one that is missing or empty means the default.

        ``TRITON_GRPC_URL`` (required), ``TRITON_MODEL``, ``TRITON_TIMEOUT_S``, ``TRITON_MAX_ATTEMPTS``,
        ``TRITON_TLS_CA``, ``TRITON_TLS_CERTIFICATE``, ``TRITON_TLS_KEY``, ``TRITON_TLS_SERVER_NAME``, and
        ``TRITON_TOKEN``, which is sent as a bearer token. Any TLS variable turns TLS on; so does ``TRITON_TLS=1``.

        Raises:
            ConfigurationError: If variables are missing or cannot be used: all of them, by name.
        """
        problems: list[str] = []
        tls_wanted = _take(environ, "TRITON_TLS", _flag, problems) or False
        tls_parts = {name: environ.get(f"TRITON_TLS_{name.upper()}") or None for name in attrs.fields_dict(Tls)}
        given: dict[str, Any] = {
            "url": _take(environ, "TRITON_GRPC_URL", _urls, problems),
            "model": _take(environ, "TRITON_MODEL", str, problems),
            "timeout": _take(environ, "TRITON_TIMEOUT_S", lambda text: seconds(float(text)), problems),
            "retry": _take(environ, "TRITON_MAX_ATTEMPTS", lambda text: RetryPolicy(max_attempts=int(text)), problems),
            "metadata": _take(environ, "TRITON_TOKEN", _bearer, problems),
        }
        if not environ.get("TRITON_GRPC_URL"):
            problems.append("TRITON_GRPC_URL is not set (HOST:PORT of the server's gRPC endpoint)")
        if (tls_parts["certificate"] is None) != (tls_parts["key"] is None):
            problems.append("TRITON_TLS_CERTIFICATE and TRITON_TLS_KEY go together, and only one is set")
        if problems:
            raise ConfigurationError(f"Cannot use the environment: {'; '.join(problems)}.")
        if tls_wanted or any(tls_parts.values()):
            given["tls"] = Tls(**tls_parts)
        return cls(**{name: value for name, value in given.items() if value is not None})


def _take(environ: Mapping[str, str], name: str, parse: Callable[[str], _T], problems: list[str]) -> _T | None:
    """Return the parsed variable, or None if it is missing or cannot be used; the latter is noted in *problems*."""
    text = environ.get(name)
    if not text:
        return None
    try:
        return parse(text)
    except ConfigurationError as error:
        problems.append(f"{name}: {str(error).removesuffix('.')}")
    except ValueError:
        problems.append(f"{name} is no number")
    return None


def _flag(text: str) -> bool:
    if text.lower() not in ("1", "true", "yes", "0", "false", "no"):
        raise ConfigurationError("1 or 0 was expected")
    return text.lower() in ("1", "true", "yes")


def _bearer(token: str) -> tuple[tuple[str, str], ...]:
    return _metadata([("authorization", f"Bearer {token}")])


def seconds(value: float) -> float:
    """Return *value* if it is a time that a call may take.

    Raises:
        ConfigurationError: If it is not above 0 and finite.
    """
    if _number(value, "timeout") <= 0:
        raise ConfigurationError(f"timeout is {value!r}; more than 0 seconds was expected.")
    return value


def endpoints(url: str) -> tuple[str, ...]:
    """Return the addresses in *url*; a gRPC target with a scheme is one, for gRPC itself knows of lists there."""
    scheme, colon, _ = url.partition(":")
    if colon and scheme in _SCHEMES:
        return (url,)
    return tuple(part.strip() for part in url.split(","))


def _urls(url: str) -> str:
    for part in endpoints(url):
        _url(part)
    return url


def _url(url: str) -> str:
    """Return *url* if gRPC can connect to it: without a port gRPC would take 443, and http:// for a host's name."""
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
    return url
