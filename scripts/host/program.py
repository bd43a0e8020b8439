"""What is known of the programs that run here."""

import re
from typing import Self

import attrs


@attrs.frozen(order=True)
class Version:
    """A version of a program.

    Attributes:
        major: The first number.
        minor: The second.
        patch: The third.
    """

    major: int
    minor: int
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read ``v1.2.3`` with whatever is around it; None where there is no such thing."""
        found = re.search(r"v(\d+)\.(\d+)(?:\.(\d+))?", text)
        return cls(int(found[1]), int(found[2]), int(found[3] or 0)) if found else None

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"
