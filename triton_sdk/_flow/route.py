"""Whom one call asks."""

from collections.abc import Callable
from functools import partial

import attrs

from triton_sdk import _keys
from triton_sdk._checks import is_whole
from triton_sdk._flow.outcomes import SURE, Outcomes
from triton_sdk._keys import Key, key_bytes
from triton_sdk.errors import ConfigurationError
from triton_sdk.traffic import TrafficPlan
from triton_sdk.versions import Fallback, Shadow, ShadowReport, Split, Version


@attrs.frozen
class Route:
    """Whom one call asks.

    Attributes:
        versions: In the order in which they are asked, until one answers.
        shadow: By which its images are mirrored as well; None where they are not.
        candidate: Which of them is asked as the model of the candidate; None: none is.
        planned: Whether a traffic plan says so: then the next version is asked only where one is gone, not where it
            fails.
        outcomes: Where it is noted what becomes of the call; None: nowhere.
    """

    versions: tuple[int | None, ...]
    shadow: Shadow | None = None
    candidate: int | None = None
    planned: bool = False
    outcomes: Outcomes | None = None


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
    traffic, outcomes = plan._followed.traffic(), plan._followed.outcomes
    versions: tuple[int | None, ...] = (None,)
    if shares := traffic.shares:
        versions = (_keys.draw(shares, uniform()) if key is None else _keys.choose(shares, key), None)
    shadow = None
    if traffic.shadow and outcomes is not None:  # or nobody would know what it found
        version, fraction = traffic.shadow
        shadow = Shadow(None, version, fraction, partial(_note, outcomes, version))
        mirrored = uniform() < fraction if key is None else shadow.mirrors(key)
        shadow = shadow if mirrored else None
    return Route(versions, shadow, candidate=traffic.candidate, planned=True, outcomes=outcomes)


def _note(outcomes: Outcomes, version: int, report: ShadowReport) -> None:
    """Note what a shadow found in one image, and nothing of the image."""
    if report.error is not None:
        outcomes.mirrored_in_vain(version, report.error)
    else:
        sure = report.primary.probability >= SURE
        outcomes.mirrored(version, same=bool(report.same_top1), sure=sure, seconds=report.candidate_latency_s)
