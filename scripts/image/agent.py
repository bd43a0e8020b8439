"""The agent of an image, as one layer: it, and of boto3 what it takes to read S3, so that any Python 3.10 runs it."""

from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.host import temporary
from scripts.host.settings import ROOT
from scripts.host.shell import Runner
from scripts.image import wheels
from scripts.image.tarball import File, write_tar

# Where it is in the image: `cd` there, and run `python3 -m scripts.agent`.
FOLDER = "opt/triton-agent"
LAYER = "agent"
SOURCES = ROOT / "scripts" / "agent"
REQUIREMENTS = SOURCES / "requirements.txt"
# Of the oldest Python that it runs on: what is for no Python and no machine in particular.
_TAGS = ("--implementation=py", "--abi=none", "--platform=any", "--python-version=3.10")
# A pod's identity is asked for at STS, or at an address on its node, which needs no data.
_SERVICES = ("s3", "sts")


def stage(archive: Path, *, runner: Runner, progress: Callable[[str], None]) -> None:
    """Write the layer.

    Raises:
        TaskFailure: If boto3 cannot be had.
    """
    progress("Fetching boto3 for the agent (17 MB, unless pip has it in its cache)")
    with temporary.folder("packages") as site:
        wheels.unpack(REQUIREMENTS.read_text(encoding="utf-8"), site, tags=_TAGS, runner=runner)
        write_tar(archive, list(entries(site)))


def entries(site: Path) -> Iterator[File]:
    """Yield what goes into the image: the agent's modules, and what it needs of the packages unpacked in *site*."""
    for path in (SOURCES.parent / "__init__.py", *sorted(SOURCES.glob("*.py"))):
        yield File(name=f"{FOLDER}/scripts/{path.relative_to(SOURCES.parent).as_posix()}", path=path)
    for path in sorted(path for path in site.rglob("*") if path.is_file()):
        if _is_needed(path.relative_to(site).parts):
            yield File(name=f"{FOLDER}/{path.relative_to(site).as_posix()}", path=path)


def _is_needed(parts: tuple[str, ...]) -> bool:
    """Return whether the agent needs a file of the packages: not their programs, examples, and other services."""
    if parts[0] == "bin" or parts[:2] in (("boto3", "examples"), ("boto3", "data")):
        return False
    if parts[0].endswith(".dist-info"):  # who made it, under which licence
        return parts[1] == "METADATA" or "licen" in parts[-1].lower() or parts[-1] == "NOTICE"
    if parts[:2] == ("botocore", "data"):
        return len(parts) == 3 or parts[2] in _SERVICES
    return True
