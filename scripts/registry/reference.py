"""What an image in a registry is called."""

import re
from typing import Self

import attrs

from scripts.host.errors import TaskFailure

_REFERENCE = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*(?::\d{1,5}(?=/))?(?:/[a-z0-9][\w.-]*)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_LOCAL = re.compile(
    r"(?:[A-Za-z0-9][\w.-]*(?::\d{1,5})?/)?[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
    r"(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]+)?"
)


def is_image(text: str) -> bool:
    """Say whether Docker takes *text* for an image's name: ``NAME``, ``HOST/NAME``, with ``:TAG`` or a digest."""
    return _LOCAL.fullmatch(text) is not None


@attrs.frozen(kw_only=True)
class Reference:
    """The name of an image in a registry; as text, ``HOST/NAME:TAG@sha256:DIGEST``.

    Attributes:
        repository: Its address without tag and digest.
        tag: Its tag; None where only the digest is known.
        digest: Its digest, ``sha256:...``; None where only the tag is known.
    """

    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST/NAME:TAG``, ``HOST/NAME@sha256:DIGEST`` or both.

        Raises:
            TaskFailure: If it is none of them.
        """
        found = _REFERENCE.fullmatch(text)
        if found is None or not (found["tag"] or found["digest"]):
            raise TaskFailure(f"--image takes HOST/NAME@sha256:DIGEST or HOST/NAME:TAG, not {text!r}.")
        return cls(**found.groupdict())

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}{f'@{self.digest}' if self.digest else ''}"

    @property
    def host(self) -> str:
        """The registry's host; empty where the name has none."""
        first, slash, _ = self.repository.partition("/")
        return first if slash and re.search(r"[.:]|^localhost$", first) else ""

    @property
    def name(self) -> str:
        """The repository's name on its host."""
        return self.repository.removeprefix(f"{self.host}/")

    @property
    def by_tag(self) -> Self:
        """The same by its tag alone, as docker pushes it."""
        return attrs.evolve(self, digest=None)

    @property
    def by_digest(self) -> Self:
        """The same by its digest alone, which can never be another image: what a deployment should name."""
        return attrs.evolve(self, tag=None)
