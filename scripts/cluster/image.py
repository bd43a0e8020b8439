"""The image of a deployment: its name, and whether its registry has it."""

import json
import re
from pathlib import Path
from typing import Self

import attrs

from scripts.host.errors import TaskFailure
from scripts.host.settings import ROOT, Settings
from scripts.image.delivery import RECORD
from scripts.registry import aws, ecr
from scripts.registry.ecr import ImageRepository

_REFERENCE = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*(?::\d{1,5}(?=/))?(?:/[a-z0-9][\w.-]*)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@attrs.frozen(kw_only=True)
class Image:
    """An image in a registry.

    Attributes:
        repository: Its address without tag and digest.
        tag: Its tag; None where only the digest is known.
        digest: Its digest, ``sha256:...``; None where only the tag is known.
    """

    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, reference: str) -> Self:
        """Read ``HOST/NAME:TAG``, ``HOST/NAME@sha256:DIGEST`` or both.

        Raises:
            TaskFailure: If it is none of them.
        """
        found = _REFERENCE.fullmatch(reference)
        if found is None or not (found["tag"] or found["digest"]):
            raise TaskFailure(f"--image takes HOST/NAME@sha256:DIGEST or HOST/NAME:TAG, not {reference!r}.")
        return cls(**found.groupdict())

    @classmethod
    def from_record(cls, root: Path = ROOT) -> Self:
        """Read what ``push-triton`` wrote down.

        Raises:
            TaskFailure: If it did not yet, or that cannot be read.
        """
        path = root / RECORD
        try:
            return cls.parse(json.loads(path.read_text(encoding="utf-8"))["reference"])
        except FileNotFoundError:
            raise TaskFailure(
                f"Which image? There is no {RECORD} yet: push one first (invoke push-triton), or name one that is "
                "in a registry: --image HOST/NAME@sha256:DIGEST"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, TaskFailure) as error:
            raise TaskFailure(f"{RECORD} cannot be read: run invoke push-triton again, or give --image.") from error

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}{f'@{self.digest}' if self.digest else ''}"

    @property
    def host(self) -> str:
        """The registry's host; empty where the name has none."""
        first, slash, _ = self.repository.partition("/")
        return first if slash and re.search(r"[.:]|^localhost$", first) else ""

    @property
    def values(self) -> tuple[str, ...]:
        """The chart's values that name it; what it has not is emptied, or an older one would win."""
        return (
            f"image.repository={self.repository}",
            f"image.digest={self.digest or ''}",
            *([f"image.tag={self.tag}"] if self.tag else []),
        )


def check(image: Image, settings: Settings) -> tuple[str, str]:
    """Ask the registry for the image; return what is wrong, and what could not be found out (each may be empty)."""
    try:
        where = _registry(image, settings)
        if where is None:
            return "", f"The image is not checked: {image.host or 'its registry'} is not ECR. The nodes will tell."
        if image.digest is None:
            return (
                "",
                f"{image} has no digest: a tag may name another image tomorrow. Better: --image NAME@sha256:DIGEST",
            )
        # The image's own region counts, whatever the settings say.
        there = attrs.evolve(settings, values={**settings.values, "AWS_REGION": where.region})
        if ecr.has(aws.open_access(there), where, image.digest):
            return "", ""
    except TaskFailure as error:
        # The nodes pull with a role of their own: who deploys need not be able to look.
        return "", f"The image is not checked. {error}"
    return f"{where.uri} has no image {image.digest}. Push it (invoke push-triton), or correct --image.", ""


def _registry(image: Image, settings: Settings) -> ImageRepository | None:
    """Return the image's repository, where it is in ECR or in what the settings name in its stead."""
    _, _, name = image.repository.partition("/")
    if (own := ecr.ECR_HOST.fullmatch(image.host)) is not None:
        return ImageRepository(account=own[1], region=own[2], name=name, host=image.host)
    if image.host and image.host == settings.get("REGISTRY_HOST") and settings.has("AWS_ACCOUNT_ID"):
        known = ImageRepository.from_settings(settings, region=aws.open_access(settings).region)
        return attrs.evolve(known, name=name)
    return None
