"""Whom a call is for, and where that falls: the same on every machine, today and tomorrow."""

import math
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final, TypeAlias

import numpy as np

from triton_sdk.errors import ConfigurationError

Key: TypeAlias = str | bytes | int

# An odd multiple of half a step is a double exactly, and is neither 0, which has no logarithm, nor 1.
_STEPS: Final = 2**52


def position(salt: str, key: Key) -> float:
    """Return where in (0, 1) *key* falls: evenly spread, independent for different salts, the same everywhere."""
    digest = blake2b(salt.encode() + key_bytes(key), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 12) + 0.5) / _STEPS


def choose(shares: Iterable[tuple[int, float]], key: Key) -> int:
    """Return the version that calls with *key* go to, by weighted rendezvous hashing over versions and weights.

    Raises:
        ConfigurationError: If *key* is neither text, bytes nor a whole number.
    """
    return min(shares, key=lambda share: -math.log(position(f"split:{share[0]}:", key)) / share[1])[0]


def draw(shares: Sequence[tuple[int, float]], uniform: float) -> int:
    """Return the version of a call without a key; *uniform* is a random number from [0, 1)."""
    left = uniform * sum(weight for _, weight in shares)
    for version, weight in shares:
        left -= weight
        if left < 0:
            return version
    return shares[-1][0]


def key_bytes(key: Key) -> bytes:
    """Return what is hashed of *key*; the number 7, the text "7" and b"7" are one key.

    Raises:
        ConfigurationError: If it is neither text, bytes nor a whole number.
    """
    if isinstance(key, bytes):
        return key
    if isinstance(key, str):
        return key.encode("utf-8", "surrogatepass")
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return str(int(key)).encode()
    raise ConfigurationError(f"key is a {type(key).__name__}; text, bytes or a whole number was expected.")
