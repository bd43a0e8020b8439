"""Whom a call is for, and where that falls: the same on every machine, today and tomorrow."""

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
