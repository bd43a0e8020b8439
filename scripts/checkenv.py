"""What this machine and this deployment have, and what to do about each gap."""

import platform
import shutil
from pathlib import Path
from typing import Literal

import attrs

from scripts import models
from scripts.errors import TaskFailure
from scripts.settings import Settings
from scripts.shell import Command, capture
from triton_sdk.errors import LocalServerError
from triton_sdk.local import interpreters

State = Literal["ok", "missing", "failed"]


@attrs.frozen(kw_only=True)
class Row:
    """One thing that was looked for.

    Attributes:
        what: Its name.
        state: ``missing`` is a gap that only some tasks mind; ``failed`` is one that must be mended.
        found: What is there; never a secret.
        advice: What to do about it, and for which tasks it matters.
    """

    what: str
    state: State
    found: str
    advice: str = ""


def check(settings: Settings, *, root: Path, repository: Path) -> list[Row]:
    """Look for everything that the tasks use."""
    return [
        Row(what="Python", state="ok", found=platform.python_version()),
        _local_triton(),
        _models(repository),
        _program("docker", ("docker", "version", "--format", "{{.Server.Version}}"), "an engine, for serve --docker"),
        _program("helm", ("helm", "version", "--short"), "to deploy to a cluster"),
        _program("kubectl", ("kubectl", "version", "--client"), "to reach a cluster"),
        _gpu(),
        _env_file(settings, root),
        _aws(settings),
    ]


def _local_triton() -> Row:
    what = "local Triton"
    try:
        interpreters.here()
        interpreter = interpreters.find()
    except LocalServerError as error:
        return Row(what=what, state="missing", found="cannot run here", advice=str(error))
    return Row(what=what, state="ok", found=f"can run, under Python {interpreter.version}")


def _models(repository: Path) -> Row:
    versions = [f"{p.model} v{p.version}" for p in models.packaged(repository)]
    if versions:
        return Row(what="models", state="ok", found=", ".join(versions))
    advice = "invoke package-model --model resnet50"
    return Row(what="models", state="missing", found=f"no version is packaged in {repository.name}", advice=advice)


def _program(name: str, argv: tuple[str, ...], purpose: str) -> Row:
    if shutil.which(name) is None:
        return Row(what=name, state="missing", found="not on PATH", advice=f"install {name} {purpose}")
    try:
        done = capture(Command(argv), timeout_s=10)
    except TaskFailure as error:
        return Row(what=name, state="missing", found="no answer", advice=str(error))
    line = next(iter(done.output.strip().splitlines()), "")
    if done.status != 0:
        return Row(what=name, state="missing", found=line, advice=f"needed {purpose}: is it running?")
    return Row(what=name, state="ok", found=line)


def _gpu() -> Row:
    advice = "models run on the CPU here; a GPU needs NVIDIA's driver"
    if shutil.which("nvidia-smi") is None:
        return Row(what="GPU", state="missing", found="no nvidia-smi", advice=advice)
    done = capture(Command(("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")))
    found = "; ".join(done.output.strip().splitlines())
    return Row(what="GPU", state="missing" if done.status else "ok", found=found, advice=advice if done.status else "")


def _env_file(settings: Settings, root: Path) -> Row:
    what = ".env"
    if settings.problems:
        return Row(what=what, state="failed", found="cannot be used", advice="\n".join(settings.problems))
    if not (root / ".env").is_file():
        return Row(
            what=what, state="missing", found="no such file", advice="cp .env.example .env; fill in what you use"
        )
    return Row(what=what, state="ok", found="read")


def _aws(settings: Settings) -> Row:
    what = "AWS settings"
    credentials = "the machine's own role"
    if settings.has("AWS_PROFILE"):
        credentials = "a profile"
    elif settings.has("AWS_ACCESS_KEY_ID"):
        credentials = "keys"
    absent = [name for name in ("AWS_REGION", "AWS_ACCOUNT_ID", "ECR_REPOSITORY") if not settings.has(name)]
    if absent:
        advice = f"set {', '.join(absent)} in .env, to push images"
        return Row(what=what, state="missing", found=f"incomplete; credentials: {credentials}", advice=advice)
    return Row(what=what, state="ok", found=f"complete; credentials: {credentials}")
