"""``build/image.json``: the image that was pushed last, which a deployment takes where it is told no other."""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path

from scripts.host.errors import TaskFailure
from scripts.host.settings import ROOT
from scripts.registry.ecr import ImageRepository
from scripts.registry.reference import Reference

PATH = Path("build") / "image.json"


def write(image: Reference, *, repository: ImageRepository, image_id: str, now: datetime, root: Path = ROOT) -> None:
    """Write down what was pushed, in one step.

    Args:
        image: The image, by tag and digest.
        repository: The repository that has it.
        image_id: What the engine here calls it.
        now: The time.
        root: The folder of the sources.

    Raises:
        TaskFailure: If it cannot be written; the message has the digest.
    """
    text = json.dumps(
        {
            "reference": str(image.by_digest),
            "digest": image.digest,
            "repository": image.repository,
            "tag": image.tag,
            "account": repository.account,
            "region": repository.region,
            "image_id": image_id,
            "pushed_at": now.astimezone(UTC).isoformat(timespec="seconds"),
        },
        indent=2,
    )
    path = root / PATH
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text + "\n", encoding="utf-8")
        new.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise TaskFailure(
            f"{image.by_digest} is pushed, but {path} cannot be written: {error.strerror}. Mend that and run the task "
            "again: it will find the image there."
        ) from error


def read(root: Path = ROOT) -> Reference:
    """Return the image that was pushed last, by its digest.

    Raises:
        TaskFailure: If none was yet, or what was written down cannot be read.
    """
    try:
        return Reference.parse(json.loads((root / PATH).read_text(encoding="utf-8"))["reference"])
    except FileNotFoundError:
        raise TaskFailure(
            f"Which image? There is no {root / PATH} yet: push one first (invoke push-triton), or name one that is "
            "in a registry: --image HOST/NAME@sha256:DIGEST"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, TaskFailure) as error:
        raise TaskFailure(f"{root / PATH} cannot be read: run invoke push-triton again, or give --image.") from error
