"""The agent of an image, as one layer, with the judge of a canary: the modules, and the packages that they take.

Any Python 3.10 runs the agent, which takes of boto3 what reads S3; any Python 3.11 runs the judge.
"""

import ast
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
# What `invoke canary --job` runs. Of the sources an image has what this imports, and what that imports, and so on.
JUDGE = "scripts.canary.__main__"
REQUIREMENTS = SOURCES / "requirements.txt"
# Of the oldest Python that it runs on: what is for no Python and no machine in particular.
_TAGS = ("--implementation=py", "--abi=none", "--platform=any", "--python-version=3.10")
# A pod's identity is asked for at STS, or at an address on its node, which needs no data.
_SERVICES = ("s3", "sts")


def stage(archive: Path, *, runner: Runner, progress: Callable[[str], None]) -> None:
    """Write the layer.

    Raises:
        TaskFailure: If the packages cannot be had.
    """
    progress("Fetching the packages for the agent (17 MB, unless pip has it in its cache)")
    with temporary.folder("packages") as site:
        wheels.unpack(REQUIREMENTS.read_text(encoding="utf-8"), site, tags=_TAGS, runner=runner)
        write_tar(archive, list(entries(site)))


def entries(site: Path) -> Iterator[File]:
    """Yield what goes into the image: agent and judge, and what they need of the packages unpacked in *site*."""
    for path in sorted({*SOURCES.glob("*.py"), *imported(JUDGE)}):
        yield File(name=f"{FOLDER}/{path.relative_to(ROOT).as_posix()}", path=path)
    for path in sorted(path for path in site.rglob("*") if path.is_file()):
        if _is_needed(path.relative_to(site).parts):
            yield File(name=f"{FOLDER}/{path.relative_to(site).as_posix()}", path=path)


def imported(module: str) -> set[Path]:
    """Return the files of ours that it takes to import *module*, those of its packages among them."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if (path := _file(name)) is None or path in found:
            continue  # no module of ours: a package, or what a module has in it
        found.add(path)
        waiting.append(name.rpartition(".")[0])
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def _file(name: str) -> Path | None:
    """Return where a module of `scripts` lies; None if it is none."""
    place = ROOT.joinpath(*name.split("."))
    if name.partition(".")[0] != SOURCES.parent.name:
        return None
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _is_needed(parts: tuple[str, ...]) -> bool:
    """Return whether the agent needs a file of the packages: not their programs, examples, and other services."""
    if parts[0] == "bin" or parts[:2] in (("boto3", "examples"), ("boto3", "data")):
        return False
    if parts[0].endswith(".dist-info"):  # who made it, under which licence
        return parts[1] == "METADATA" or "licen" in parts[-1].lower() or parts[-1] == "NOTICE"
    if parts[:2] == ("botocore", "data"):
        return len(parts) == 3 or parts[2] in _SERVICES
    return True
