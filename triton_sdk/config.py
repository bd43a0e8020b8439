"""How a client reaches its server: plain values, checked when they are made."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self, TypedDict, TypeVar, cast, get_args

import attrs

from triton_sdk import _checks
from triton_sdk._addresses import address, joined
from triton_sdk._checks import choice, instance, number, path, plan_source, seconds, text, whole
from triton_sdk.errors import ConfigurationError
from triton_sdk.images import Decode
from triton_sdk.telemetry import Hook

__all__ = ["ClientConfig", "ClientSettings", "Coalesce", "ConfigSettings", "RetryPolicy", "Tls"]

_T = TypeVar("_T")


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
        whole(self.max_attempts, "max_attempts")
        number(self.base, "base")
        number(self.cap, "cap")
        number(self.budget, "budget", most=1)
        whole(self.burst, "burst", least=0)


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
        number(self.max_wait_s, "max_wait_s")


@attrs.frozen(kw_only=True)
class Tls:
    """Whom to trust, and who this client is. All files are PEM and are read when a connection is made.

    Attributes:
        ca: Certificates of the authorities to trust; those of the system when None.
        certificate: This client's certificate chain, for a server that asks for one.
        key: The private key to it.
        server_name: Name that the server's certificate must carry, where it is not the address's.

    Raises:
        ConfigurationError: If only one of *certificate* and *key* is given, or one is no path.
    """

    ca: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    server_name: str | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("ca", "certificate", "key"):
            path(getattr(self, name), f"{name} of Tls", "the path of a PEM file")
        if self.server_name is not None:
            text(self.server_name, "server_name of Tls", "the name that the server's certificate carries")
        if (self.certificate is None) != (self.key is None):
            given, missing = ("certificate", "key") if self.key is None else ("key", "certificate")
            raise ConfigurationError(f"TLS has a {given} but no {missing}; give both or neither.")


class ConfigSettings(TypedDict, total=False):
    """The settings of a `ClientConfig` but the address, as keyword arguments: each means the same, or is left out."""

    model: str
    timeout: float
    retry: RetryPolicy
    tls: Tls | None
    metadata: Mapping[str, str] | Iterable[tuple[str, str]]
    decode: Decode
    orient: bool
    traffic: str | os.PathLike[str] | None


class ClientSettings(ConfigSettings, total=False):
    """The settings of a client but the address, as keyword arguments: those of a `ClientConfig` and two more.

    Attributes:
        labels: Names of the classes; where None, the server's if it has them.
        hooks: Who is told of each call: see `triton_sdk.telemetry`.
    """

    labels: Sequence[str] | None
    hooks: Sequence[Hook]


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
        metadata: Keys and values sent with each request, as a mapping or as pairs such as ``("authorization",
            "Bearer ...")``; never shown.
        decode: ``"fast"`` decodes large JPEGs at a part of their size, see `to_pixels`; ``"exact"`` never does.
        orient: Whether pictures are turned as their EXIF data says, which phones write; see `to_pixels`.
        traffic: The source of the `TrafficPlan` that predictions follow which name no version; without one, those are
            left to the server.

    Raises:
        ConfigurationError: If a value cannot be used; the value of a metadata entry is not repeated.
    """

    url: str = attrs.field(converter=joined)
    model: str = "resnet50"
    timeout: float = 30.0
    retry: RetryPolicy = RetryPolicy()
    tls: Tls | None = None
    metadata: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_checks.metadata, repr=False)
    decode: Decode = "exact"
    orient: bool = False
    traffic: str | os.PathLike[str] | None = None

    def __attrs_post_init__(self) -> None:
        address(self.url)
        text(self.model, "model", "the name of a served model")
        seconds(self.timeout)
        instance(self.retry, RetryPolicy, "retry", "RetryPolicy(max_attempts=3)")
        if self.tls is not None:
            instance(self.tls, Tls, "tls", "Tls(), which trusts the system's authorities, or Tls(ca='ca.pem')")
        choice(self.decode, "decode", get_args(Decode))
        instance(self.orient, bool, "orient", "True or False")
        if self.traffic is not None:
            plan_source(self.traffic, "traffic")

    @property
    def settings(self) -> ConfigSettings:
        """All but the address, as the keyword arguments of a client."""
        names = [name for name in attrs.fields_dict(ClientConfig) if name != "url"]
        return cast(ConfigSettings, {name: getattr(self, name) for name in names})

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the configuration from environment variables; one that is missing or empty means the default.

        ``TRITON_GRPC_URL`` (required), ``TRITON_MODEL``, ``TRITON_TIMEOUT_S``, ``TRITON_MAX_ATTEMPTS``,
        ``TRITON_TRAFFIC``, ``TRITON_TLS_CA``, ``TRITON_TLS_CERTIFICATE``, ``TRITON_TLS_KEY``,
        ``TRITON_TLS_SERVER_NAME``, and ``TRITON_TOKEN``, which is sent as a bearer token. Any TLS variable turns TLS
        on; so does ``TRITON_TLS=1``.

        Raises:
            ConfigurationError: If variables are missing or cannot be used: all of them, by name.
        """
        if not isinstance(environ, Mapping):
            raise ConfigurationError(
                f"environ is {environ!r}; a mapping of variables was expected, such as os.environ."
            )
        problems: list[str] = []
        tls_wanted = _take(environ, "TRITON_TLS", _flag, problems) or False
        tls_parts = {name: environ.get(f"TRITON_TLS_{name.upper()}") or None for name in attrs.fields_dict(Tls)}
        given: dict[str, Any] = {
            "url": _take(environ, "TRITON_GRPC_URL", address, problems),
            "model": _take(environ, "TRITON_MODEL", str, problems),
            "timeout": _take(environ, "TRITON_TIMEOUT_S", lambda text: seconds(float(text)), problems),
            "retry": _take(environ, "TRITON_MAX_ATTEMPTS", lambda text: RetryPolicy(max_attempts=int(text)), problems),
            "metadata": _take(environ, "TRITON_TOKEN", _bearer, problems),
            "traffic": _take(environ, "TRITON_TRAFFIC", lambda text: plan_source(text, "it"), problems),
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
    return _checks.metadata([("authorization", f"Bearer {token}")])
