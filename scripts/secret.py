"""Values that must never be shown."""

from typing import final

import attrs


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
