"""Check what a user gives, in one place, so that one mistake has the same words everywhere."""

import math
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import numpy as np

from triton_sdk.errors import ConfigurationError

_METADATA_KEY: Final = re.compile(r"[0-9a-z_.-]+")
_METADATA_VALUE: Final = re.compile(r"[ -~]*")
# A year: far above any use, and far below where the clocks of gRPC and of threads overflow.
_MOST_SECONDS: Final = 365 * 86_400
_T = TypeVar("_T")


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
        ConfigurationError: If it is not above 0, or is longer than a year.
    """
    if not is_number(value, most=_MOST_SECONDS) or value == 0:
        raise ConfigurationError(
            f"{what} is {value!r}; a number of seconds above 0 and up to {_MOST_SECONDS:,} (a year) was expected."
        )
    return float(value)


def text(value: object, what: str, expected: str) -> str:
    """Return *value* if it is a text with something in it.

    Raises:
        ConfigurationError: If it is not; the message says what was *expected*.
    """
    if not isinstance(value, str) or not value:
        shown = "empty" if isinstance(value, str) else repr(value)
        raise ConfigurationError(f"{what} is {shown}; {expected} was expected.")
    return value


def instance(value: object, kind: type[_T], what: str, example: str) -> _T:
    """Return *value* if it is of our own type *kind*.

    Raises:
        ConfigurationError: If it is not; the message shows an *example* of what is.
    """
    if not isinstance(value, kind):
        shown = f"the class {value.__name__}" if isinstance(value, type) else repr(value)
        raise ConfigurationError(f"{what} is {shown}; a {kind.__name__} was expected, such as {example}.")
    return value


def path(value: object, what: str, expected: str, *, needed: bool = False) -> None:
    """Check that *value* can name a file, or is None where it is not *needed*.

    Raises:
        ConfigurationError: If it cannot; the message does not repeat it, for it may be a key.
    """
    if isinstance(value, str) and "-----BEGIN" in value:
        raise ConfigurationError(f"{what} is the content of a file; {expected} was expected.")
    if (value is not None or needed) and not (isinstance(value, str | os.PathLike) and os.fspath(value)):
        raise ConfigurationError(f"{what} is {_kind(value)}; {expected} was expected.")


def is_url(value: object) -> bool:
    """Return whether *value* is meant to be a URL, and not the path of a file."""
    return isinstance(value, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value) is not None


def plan_source(value: str | os.PathLike[str], what: str) -> str | os.PathLike[str]:
    """Return *value* if a traffic plan can be read from it.

    Raises:
        ConfigurationError: If it is neither an agent's address nor a path; what may hold a password is not repeated.
    """
    expected = "http://HOST:8003 of the agent beside the server, or the path of a JSON file"
    if not isinstance(value, str):
        if value is None or not isinstance(value, os.PathLike):
            raise ConfigurationError(f"{what} is {value!r}; {expected} was expected.")
        return value
    if not is_url(value):
        # A port is no part of a file's name.
        if not value or re.fullmatch(r"[^/\\]+:\d+", value):
            raise ConfigurationError(f"{what} is {value!r}; {expected} was expected.")
        return value
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no port, or no address in the brackets
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        shown = "a URL that is none" if "@" in value else repr(value)
        raise ConfigurationError(f"{what} is {shown}; {expected} was expected.")
    return value.rstrip("/")


def names(value: object) -> tuple[str, ...] | None:
    """Return the names of classes as a tuple; None stays.

    Raises:
        ConfigurationError: If they are no list of texts.
    """
    if value is None:
        return None
    if isinstance(value, str | bytes | os.PathLike):
        raise ConfigurationError(
            f"labels is {value!r}; a list of names was expected. If they are in a file, give "
            "labels=triton_sdk.labels.read(PATH)."
        )
    if not isinstance(value, Iterable) or isinstance(value, Mapping | set | frozenset):
        raise ConfigurationError(
            f"labels is {_kind(value)}; a list of names, in the order of the classes, was expected."
        )
    given = tuple(value)
    for place, name in enumerate(given):
        if not isinstance(name, str):
            raise ConfigurationError(f"Label {place} (counted from 0) is {name!r}; a text was expected.")
    return given


def functions(value: object, what: str) -> tuple[Callable[..., Any], ...]:
    """Return functions as a tuple.

    Raises:
        ConfigurationError: If they are no list of what can be called.
    """
    if callable(value) or not isinstance(value, Iterable) or isinstance(value, str | bytes):
        shown = "one function" if callable(value) else repr(value)
        raise ConfigurationError(f"{what} is {shown}; a list of functions was expected, such as {what}=[on_call(f)].")
    given = tuple(value)
    for place, function in enumerate(given):
        if not callable(function):
            raise ConfigurationError(f"{what}[{place}] is {function!r}; a function was expected.")
    return given


def check_transport(value: object) -> None:
    """Check that *value* can be a way to the server, or is None.

    Raises:
        ConfigurationError: If it cannot.
    """
    fits = not isinstance(value, type) and all(callable(getattr(value, verb, None)) for verb in ("send", "close"))
    if value is not None and not fits:
        shown = f"the class {value.__name__}" if isinstance(value, type) else _kind(value)
        raise ConfigurationError(
            f"transport is {shown}; what has send() and close() was expected, as triton_sdk.transport says."
        )


def several(value: object, what: str, expected: str) -> list[Any]:
    """Return *value* as a list, where a text or a mapping is taken for one thing and not for several.

    Raises:
        ConfigurationError: If it is none; the message says what was *expected*.
    """
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise ConfigurationError(f"{what} is {_kind(value)}; {expected} was expected.")
    return list(value)


def _kind(value: object) -> str:
    """Say of which type *value* is, and no more: ``a dict``."""
    return f"of type {type(value).__name__}"


def choice(value: object, what: str, among: Collection[str]) -> None:
    """Check that *value* is one of a few words.

    Raises:
        ConfigurationError: If it is not.
    """
    if not isinstance(value, str) or value not in among:
        raise ConfigurationError(f"{what} is {value!r}; {' or '.join(map(repr, among))} was expected.")


def metadata(entries: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return *entries* as pairs if gRPC can send them; no message repeats a value, for it may be a token.

    Raises:
        ConfigurationError: If it cannot.
    """
    pairs = _pairs(entries)
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


def _pairs(entries: object) -> tuple[tuple[str, str], ...]:
    given = entries.items() if isinstance(entries, Mapping) else entries
    expected = 'pairs of texts were expected, such as {"authorization": "Bearer ..."}.'
    if not isinstance(given, Iterable) or isinstance(given, str | bytes):
        raise ConfigurationError(f"metadata is {_kind(given)}; {expected}")
    pairs = []
    for place, pair in enumerate(given):
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            found = (
                f"holds {', '.join(type(part).__name__ for part in pair)}"
                if isinstance(pair, tuple | list)
                else (f"is {_kind(pair)}")
            )
            raise ConfigurationError(f"Entry {place} of metadata (counted from 0) {found}; {expected}")
        pairs.append((pair[0], pair[1]))
    return tuple(pairs)
