"""Whom one call asks."""

from collections.abc import Callable

import attrs

from triton_sdk import _keys
from triton_sdk._checks import is_whole
from triton_sdk._keys import Key, key_bytes
from triton_sdk.errors import ConfigurationError
from triton_sdk.traffic import TrafficPlan
from triton_sdk.versions import Fallback, Shadow, Split, Version


@attrs.frozen
class Route:
    """Whom one call asks.

    Attributes:
        versions: In the order in which they are asked, until one answers.
        shadow: By which its images are mirrored as well; None where they are not.
        candidate: Which of them is asked as the model of the candidate; None: none is.
        planned: Whether a traffic plan says so: then the next version is asked only where one is gone, not where it
            fails.
    """

    versions: tuple[int | None, ...]
    shadow: Shadow | None = None
    candidate: int | None = None
    planned: bool = False


def route(version: Version, *, key: Key | None, uniform: Callable[[], float]) -> Route:
    """Decide whom a call asks; *uniform* draws from [0, 1) where there is no key.

    Raises:
        ConfigurationError: If *version* or *key* cannot be used.
    """
    if key is not None:
        key_bytes(key)
    if isinstance(version, Shadow):
        mirrored = uniform() < version.fraction if key is None else version.mirrors(key)
        return attrs.evolve(route(version.primary, key=key, uniform=uniform), shadow=version if mirrored else None)
    if isinstance(version, Fallback):
        asked = [route(one, key=key, uniform=uniform).versions[0] for one in version.versions]
        return Route(tuple(dict.fromkeys(asked)))
    if isinstance(version, Split):
        return Route((version.draw(uniform()) if key is None else version.choose(key),))
    if version is None:
        return Route((None,))
    if isinstance(version, TrafficPlan):
        return _planned(version, key=key, uniform=uniform)
    if not is_whole(version):
        raise ConfigurationError(
            f"version is {version!r}; a whole number from 1, None, a Split, a Fallback, a Shadow or a TrafficPlan was "
            "expected."
        )
    return Route((int(version),))


def _planned(plan: TrafficPlan, *, key: Key | None, uniform: Callable[[], float]) -> Route:
    traffic = plan._followed.traffic()
    if not traffic.shares:
        return Route((None,), planned=True)
    shares = traffic.shares
    chosen = _keys.draw(shares, uniform()) if key is None else _keys.choose(shares, key)
    return Route((chosen, None), candidate=traffic.candidate, planned=True)
