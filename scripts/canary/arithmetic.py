"""What the judge reckons with: the numbers of one canary, by the standard library alone, since an image needs no numpy.

numpy itself is an `Arithmetic` too: with arrays, the same judge weighs thousands of simulated canaries at once.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import attrs

# A number of one canary, or an array with the numbers of many; and whether something is so of it, or of each.
Number: TypeAlias = Any
Flags: TypeAlias = Any


class Arithmetic(Protocol):
    """The functions of numbers beside the operators."""

    @property
    def log(self) -> Callable[..., Number]:
        """The natural logarithm."""

    @property
    def log1p(self) -> Callable[..., Number]:
        """The natural logarithm of a number and 1."""

    @property
    def exp(self) -> Callable[..., Number]:
        """The exponential."""

    @property
    def maximum(self) -> Callable[..., Number]:
        """The greater one of two."""

    @property
    def minimum(self) -> Callable[..., Number]:
        """The lesser one of two."""

    @property
    def where(self) -> Callable[..., Number]:
        """The second argument if the first one is true, else the third."""


@attrs.frozen
class _Plain:
    log: Callable[..., Number] = math.log
    log1p: Callable[..., Number] = math.log1p
    exp: Callable[..., Number] = math.exp
    maximum: Callable[..., Number] = max
    minimum: Callable[..., Number] = min
    where: Callable[..., Number] = lambda true, one, other: one if true else other


PLAIN: Arithmetic = _Plain()
