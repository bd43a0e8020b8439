"""What a traffic plan says of a model, read from its text."""

import json
from datetime import datetime
from typing import Any, Final

import attrs

from triton_sdk._checks import is_number, is_whole

SCHEMA: Final = 1
# In bytes and in routes; far above any use.
LARGEST: Final = 65_536
_MOST_ROUTES: Final = 16
_LARGEST_WEIGHT: Final = 1e9


@attrs.frozen(kw_only=True)
class Traffic:
    """What a traffic plan says of a model.

    Attributes:
        generation: Grows with each change of the plan.
        shares: Version and weight of each route that has one, in the order of the versions; none: all calls go to the
            stable version.
        candidate: The version that is asked as the model of the candidate; None: there is none.
        shadow: The version that is asked beside the one that answers, and the share of the calls; None: none is.
        left_s: Seconds until the plan is over; None: it says nothing that could be.
    """

    generation: int = 0
    shares: tuple[tuple[int, float], ...] = ()
    candidate: int | None = None
    shadow: tuple[int, float] | None = None
    left_s: float | None = None


def parse(text: bytes, *, model: str, now: float) -> Traffic:
    """Read what a plan says of *model*.

    Args:
        text: The JSON text of the plan.
        model: The model's name, which the plan has to carry.
        now: The time in seconds since 1970, for a plan that does not say when it was given.

    Raises:
        ValueError: If it cannot be followed; the message says why.
    """
    if len(text) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ValueError("it is not a JSON object")
    if data.get("schema") != SCHEMA:
        raise ValueError(f"it has schema {data.get('schema')!r}, but {SCHEMA} was expected")
    if data.get("model") != model:
        raise ValueError(f"it is for model {data.get('model')!r}, but {model!r} was expected")
    generation: Any = data.get("generation")
    candidate = data.get("candidate")
    if not is_whole(generation, least=0):
        raise ValueError(f"generation is {generation!r}, but a whole number from 0 was expected")
    if candidate is not None and not is_whole(candidate):
        raise ValueError(f"candidate is {candidate!r}, but a version was expected")
    shares, shadow = _shares(data.get("routes")), _shadow(data.get("shadow"))
    expires = _time(data, "expires")
    if (shares or shadow) and expires is None:
        raise ValueError("it has no time in expires, and a plan that never ends is not followed")
    given = _time(data, "now")
    return Traffic(
        generation=int(generation),
        shares=shares,
        candidate=candidate,
        shadow=shadow,
        left_s=None if expires is None else expires - (now if given is None else given),
    )


def _shares(routes: Any) -> tuple[tuple[int, float], ...]:
    if not isinstance(routes, dict) or len(routes) > _MOST_ROUTES:
        raise ValueError(f"routes is {_short(routes)}, but weights by version were expected, {_MOST_ROUTES} at most")
    shares = []
    for name, weight in routes.items():
        if not (name.isascii() and name.isdecimal() and int(name) >= 1):
            raise ValueError(f"{name!r} is no version in routes")
        if not is_number(weight, most=_LARGEST_WEIGHT) or 0 < weight < 1 / _LARGEST_WEIGHT:
            raise ValueError(f"the weight of version {name} is {weight!r}")
        if weight:
            shares.append((int(name), weight))
    return tuple(sorted(shares))


def _shadow(shadow: Any) -> tuple[int, float] | None:
    if shadow is None:
        return None
    named = shadow if isinstance(shadow, dict) else {}
    version: Any = named.get("version")
    fraction: Any = named.get("fraction")
    if not is_whole(version) or not is_number(fraction, most=1):
        raise ValueError(f"shadow is {_short(shadow)}, but a version and a fraction from 0 to 1 were expected")
    return (version, fraction) if fraction else None


def _time(data: dict[str, Any], name: str) -> float | None:
    """Return a time of the plan in seconds since 1970; None: it has none.

    Raises:
        ValueError: If it is no time with its distance from UTC.
    """
    text = data.get(name)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        time = datetime.min
    if time.tzinfo is None:
        raise ValueError(f"{name} is {_short(text)}, but a time such as 2030-01-31T12:00:00Z was expected")
    return time.timestamp()


def _short(value: object) -> str:
    return f"{value!r}"[:100]
