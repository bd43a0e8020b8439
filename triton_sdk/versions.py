"""Which version of a model a call goes to, as values: one version, a split, a fallback, a shadow. Nothing here asks."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import attrs

from triton_sdk import _keys
from triton_sdk._checks import is_number, number, seconds, whole
from triton_sdk._keys import Key, position
from triton_sdk.errors import ConfigurationError, TritonError
from triton_sdk.predictions import Prediction
from triton_sdk.traffic import TrafficPlan

__all__ = ["Fallback", "Key", "Shadow", "ShadowReport", "Split", "Version"]

# Far above any use, and no sum or ratio of such weights overflows or vanishes.
_LARGEST_WEIGHT: Final = 1e9


def _shares(weights: Mapping[int, float]) -> tuple[tuple[int, float], ...]:
    if not isinstance(weights, Mapping) or not weights:
        raise ConfigurationError(
            f"The weights of a Split are {weights!r}; a weight for each version was expected: {{1: 90, 2: 10}}."
        )
    for version, weight in weights.items():
        whole(version, "A version of a Split")
        if not is_number(weight, least=1 / _LARGEST_WEIGHT, most=_LARGEST_WEIGHT):
            raise ConfigurationError(
                f"The weight of version {version} is {weight!r}; a number above 0 was expected, from "
                f"{1 / _LARGEST_WEIGHT:g} to {_LARGEST_WEIGHT:g}. Leave a version out to give it no share."
            )
    return tuple(sorted((int(version), weight) for version, weight in weights.items()))


@attrs.frozen(repr=False)
class Split:
    """Share the calls out among versions, by weight; calls with the same key always go to the same version.

    A key's version is that for which ``-ln(u) / weight`` is least (weighted rendezvous hashing). There ``u`` is
    ``(n + 0.5) / 2**52`` and ``n`` the first 52 bits of the 8-byte BLAKE2b hash of ``b"split:VERSION:KEY"``, with
    VERSION in decimal and KEY in UTF-8 (text), as it is (bytes) or in decimal (whole numbers). Thus it depends on
    nothing but the key, the versions and the ratios of the weights. Where the weight of one version grows, keys only
    move to it, and where a version is taken out, only its own keys move.

    Attributes:
        weights: Version and weight of each, in the order of the versions; made of a mapping such as ``{1: 90, 2: 10}``.

    Raises:
        ConfigurationError: If there is no version, a version is no whole number from 1, or a weight is not above 0.
    """

    weights: tuple[tuple[int, float], ...] = attrs.field(converter=_shares)

    def choose(self, key: Key) -> int:
        """Return the version that calls with *key* go to.

        Raises:
            ConfigurationError: If *key* is neither text, bytes nor a whole number.
        """
        return _keys.choose(self.weights, key)

    def draw(self, uniform: float) -> int:
        """Return the version of a call without a key; *uniform* is a random number from [0, 1)."""
        return _keys.draw(self.weights, uniform)

    def __repr__(self) -> str:
        return f"Split({dict(self.weights)})"


@attrs.frozen(init=False, repr=False)
class Fallback:
    """Ask one version, and the next one where that is not served or fails.

    Attributes:
        versions: In the order in which they are asked, at least two; None is the server's choice, and a `Split` stands
            for the version that it gives.

    Raises:
        ConfigurationError: If there are fewer than two, or one stands twice.
    """

    versions: tuple[int | Split | None, ...]

    def __init__(self, *versions: int | Split | None) -> None:
        checked = tuple(
            version if version is None or isinstance(version, Split) else whole(version, "A version of a Fallback")
            for version in versions
        )
        if len(set(checked)) < max(2, len(checked)):
            raise ConfigurationError(f"Fallback{versions!r} was given; two or more different versions were expected.")
        self.__attrs_init__(checked)

    def __repr__(self) -> str:
        return f"Fallback({', '.join(map(repr, self.versions))})"


@attrs.frozen(kw_only=True)
class ShadowReport:
    """What a candidate said to one image, beside what the caller got.

    Attributes:
        primary: What the caller got.
        candidate: What the candidate said; None where it failed.
        same_top1: Whether both find the same class most probable; None where the candidate failed.
        largest_difference: Of the two probabilities of any one class, from 0 to 1; None where the candidate failed.
        primary_latency_s: Seconds from sending the images to the answer, retries and waits included; of the whole
            request where it held many.
        candidate_latency_s: The same of the candidate, or seconds until it failed.
        error: Why the candidate failed.
        key: The caller's.
    """

    primary: Prediction
    candidate: Prediction | None
    same_top1: bool | None
    largest_difference: float | None
    primary_latency_s: float
    candidate_latency_s: float
    error: TritonError | None
    key: Key | None = None


@attrs.frozen
class Shadow:
    """Answer calls from one version, and send a share of them to a candidate as well, in the background.

    Attributes:
        primary: Who answers the caller.
        candidate: The version to compare with it.
        fraction: Share of the calls to mirror, from 0 to 1. With a key it is the same keys each time, and they stay
            when it grows.
        report: Called for each mirrored image, in a background thread; what it raises is logged.
        timeout: What a mirrored request may take, in seconds.

    Raises:
        ConfigurationError: If a value cannot be used.
    """

    primary: int | Split | Fallback | None
    candidate: int
    fraction: float
    report: Callable[[ShadowReport], object]
    timeout: float = attrs.field(default=2.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.primary is not None and not isinstance(self.primary, Split | Fallback):
            whole(self.primary, "The primary version of a Shadow")
        whole(self.candidate, "The candidate version of a Shadow")
        if self.primary == self.candidate:
            raise ConfigurationError(f"Version {self.candidate} is its own shadow; a candidate beside it was expected.")
        number(self.fraction, "fraction", most=1)
        if not callable(self.report):
            raise ConfigurationError(f"report is {self.report!r}; a function that takes a ShadowReport was expected.")
        seconds(self.timeout)

    def mirrors(self, key: Key) -> bool:
        """Return whether calls with *key* are mirrored."""
        return position(f"shadow:{self.candidate}:", key) < self.fraction


Version: TypeAlias = int | Split | Shadow | Fallback | TrafficPlan | None
