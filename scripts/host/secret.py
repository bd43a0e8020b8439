"""Values that must never be shown."""

import re
from collections.abc import Iterable
from typing import final

import attrs

# What stands in the place of a secret.
MASK = "***"
# A shorter value would be found in ordinary words, and hiding it there would only tell where it is.
_SHORTEST = 4


@final
@attrs.frozen(repr=False, str=False)
class Secret:
    """A value that hides itself wherever it is printed, formatted or logged.

    Attributes:
        _value: The value; :meth:`reveal` returns it, for the one place that must hand it on.
    """

    _value: str

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """Return *text* with every secret in it, and every line of one that has several, replaced by ``***``."""
    values = {part for secret in secrets for part in (secret.reveal(), *secret.reveal().splitlines())}
    # The longest first, so that none is left in part where one holds another.
    found = sorted((value for value in values if len(value.strip()) >= _SHORTEST), key=len, reverse=True)
    return re.sub("|".join(map(re.escape, found)), MASK, text) if found else text
