"""What this machine and this deployment have, and what to do about each gap."""

import os
import platform
import shlex
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import attrs

from scripts.agent.folder import folder_of
from scripts.agent.s3 import bucket_of
from scripts.cluster.helm import Helm
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.patience import Patience
from scripts.cluster.pinned import pinned
from scripts.cluster.release import access
from scripts.cluster.release.capacity import Holder, Node, overview
from scripts.cluster.release.preflight import LEAST_HELM, LEAST_KUBECTL
from scripts.cluster.release.settled import LEAST_FOR_AGENT
from scripts.cluster.says import ClusterFailure
from scripts.host.errors import TaskFailure
from scripts.host.program import Version
from scripts.host.settings import Settings
from scripts.host.shell import Command, Completed, Runner
from scripts.image import engine
from scripts.registry import aws, bucket, ecr
from scripts.registry.ecr import ImageRepository
from scripts.repository.versions import packaged
from scripts.versions.stores import failing, open_store
from triton_sdk.errors import LocalServerError
from triton_sdk.local import find_interpreter, old_runtimes

State = Literal["ok", "missing", "warning", "failed"]
# NVIDIA's image alone takes 15 GB and more; the CPU image and its build fit in this, in bytes.
ENOUGH_DISK = 5_000_000_000


@attrs.frozen(kw_only=True)
class Row:
    """One thing that was looked for.

    Attributes:
        what: Its name.
        state: ``missing`` is a gap that only some tasks mind; ``warning`` is no gap yet; ``failed`` is one that must be
            mended.
        found: What is there; never a secret.
        advice: What to do about it, and for which tasks it matters.
    """

    what: str
    state: State
    found: str
    advice: str = ""


def check(settings: Settings, *, root: Path, repository: Path, runner: Runner) -> list[Row]:
    """Look for everything that the tasks use; what fails in a way that nobody expects is a row like any other."""
    parts: tuple[tuple[str, Callable[[], Iterable[Row]]], ...] = (
        ("Python", lambda: [Row(what="Python", state="ok", found=platform.python_version())]),
        ("local Triton", lambda: [_local_triton(), *_runtimes()]),
        ("models", lambda: [_models(repository)]),
        ("docker", lambda: [_docker(runner)]),
        ("Docker engine", lambda: [_engine(runner)]),
        ("disk", lambda: [_disk(root, runner)]),
        ("helm", lambda: [_helm(runner)]),
        ("kubectl", lambda: _cluster(settings, runner)),
        ("GPU", lambda: [_gpu(runner)]),
        (".env", lambda: [_env_file(settings, root, runner)]),
        ("AWS settings", lambda: _aws(settings)),
        ("model store", lambda: [_store(settings)]),
    )
    return [row for what, look in parts for row in _looked(what, look)]


def _looked(what: str, look: Callable[[], Iterable[Row]]) -> list[Row]:
    try:
        return list(look())
    except Exception as error:  # the other rows shall be seen, whatever a program or a disk did here
        said = str(error) or type(error).__name__
        return [Row(what=what, state="missing", found="cannot be looked at", advice=f"{type(error).__name__}: {said}")]


def _local_triton() -> Row:
    what = "local Triton"
    try:
        interpreter = find_interpreter()
    except LocalServerError as error:
        return Row(what=what, state="missing", found="cannot run here", advice=str(error))
    return Row(what=what, state="ok", found=f"can run, under Python {interpreter.version}")


def _runtimes() -> list[Row]:
    """Return a row for the runtimes of the local Triton that no version of this package uses any more."""
    folders = old_runtimes()
    if not folders:
        return []
    size = sum(path.lstat().st_size for folder in folders for path in folder.rglob("*"))
    remove = shlex.join(["rm", "-r", *map(str, folders)])
    found = f"{len(folders)} that this version does not use, {size / 1e6:.0f} MB"
    return [Row(what="old runtimes", state="warning", found=found, advice=f"to have the room back: {remove}")]


def _models(repository: Path) -> Row:
    versions = [f"{p.model} v{p.version}" for p in packaged(repository)]
    if versions:
        return Row(what="models", state="ok", found=", ".join(versions))
    advice = "invoke package-model --model resnet50"
    return Row(what="models", state="missing", found=f"no version is packaged in {repository}", advice=advice)


def _docker(runner: Runner) -> Row:
    what, advice = "docker", "install Docker, for images and serve --docker"
    try:
        done = runner.capture(Command(("docker", "--version")), timeout_s=10)
    except TaskFailure as error:
        return Row(what=what, state="missing", found="not usable", advice=f"{error} For images: {advice}.")
    line = next(iter((done.output.strip() or done.said).splitlines()), "no answer")
    if done.status != 0:
        return Row(what=what, state="missing", found=line, advice="for images and serve --docker: is it running?")
    if not line.startswith("Docker version"):
        return Row(what=what, state="missing", found=line, advice=f"another program of that name: {advice}")
    return Row(what=what, state="ok", found=line)


def _helm(runner: Runner) -> Row:
    what = "helm"
    try:
        version = Helm(runner, namespace="default").version()
    except TaskFailure as error:
        return Row(what=what, state="missing", found="not usable", advice=str(error))
    if version < LEAST_HELM:
        advice = f"deploy-triton needs {LEAST_HELM} or newer, 3 or 4"
        return Row(what=what, state="missing", found=f"Helm {version}", advice=advice)
    return Row(what=what, state="ok", found=f"Helm {version} (least: {LEAST_HELM})")


def _cluster(settings: Settings, runner: Runner) -> list[Row]:
    """Look for kubectl, its context, the cluster's API and the GPUs; what follows from a failure is not asked."""
    what, rows = "kubectl", []
    try:
        version = access.client_version(Kubectl(runner))
        if version < LEAST_KUBECTL:
            raise ClusterFailure(f"kubectl {version} is too old: {LEAST_KUBECTL} or newer is needed.")
        rows.append(Row(what=what, state="ok", found=f"{version} (least: {LEAST_KUBECTL})"))
        what = "cluster's context"
        with pinned(runner, context=settings.values.get("KUBE_CONTEXT")) as where:
            kubectl = Kubectl(runner, where=where, patience=Patience(seconds=0))
            rows.append(Row(what=what, state="ok", found=str(where)))
            what = "cluster's API"
            rows.append(_api(access.server_version(kubectl)))
            what = "cluster's GPUs"
            nodes = [Node.parse(item) for item in kubectl.json("get", "nodes", doing="look at the nodes")["items"]]
            pods = kubectl.json("get", "pods", "--all-namespaces", doing="see who has the GPUs")["items"]
            if found := overview(nodes, Holder.parse_all(pods)):
                rows.append(Row(what=what, state="ok", found=found))
            else:
                advice = "deploy-triton --cpu runs without; else install NVIDIA's device plugin on nodes with GPUs"
                none = f"none on {len(nodes)} node{'s' * (len(nodes) != 1)}"
                rows.append(Row(what=what, state="missing", found=none, advice=advice))
    except TaskFailure as error:
        rows.append(Row(what=what, state="missing", found="not usable", advice=str(error)))
    return rows


def _api(version: Version) -> Row:
    what, found = "cluster's API", f"Kubernetes {version}"
    if version < LEAST_FOR_AGENT:
        advice = f"versions are promoted without restarts from {LEAST_FOR_AGENT} on; deploy-triton works without"
        return Row(what=what, state="warning", found=found, advice=advice)
    return Row(what=what, state="ok", found=found)


def _gpu(runner: Runner) -> Row:
    what, advice = "GPU", "models run on the CPU here; a GPU needs NVIDIA's driver"
    argv = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    try:
        done = runner.capture(Command(argv), timeout_s=20)
    except TaskFailure as error:
        return Row(what=what, state="missing", found="no answer of nvidia-smi", advice=f"{advice}. {error}")
    said = "; ".join((done.output.strip() or done.said.strip()).splitlines()[:8])
    if done.status or not done.output.strip():
        found = f"nvidia-smi: {said}" if said else "nvidia-smi names no GPU"
        return Row(what=what, state="missing", found=found, advice=advice)
    return Row(what=what, state="ok", found=said)


def _engine(runner: Runner) -> Row:
    what = "Docker engine"
    try:
        return Row(what=what, state="ok", found=engine.require(runner))
    except TaskFailure as error:
        found, _, advice = str(error).partition("\n")
        return Row(what=what, state="missing", found=found, advice=advice)


def _disk(root: Path, runner: Runner) -> Row:
    what, places = "disk", {"here": root}
    try:
        told = runner.capture(Command(("docker", "info", "--format", "{{.DockerRootDir}}")))
    except TaskFailure:  # no docker
        told = Completed(status=1, output="")
    # An engine elsewhere, or in a virtual machine, names a folder of its own.
    images = Path(told.output.strip())
    if told.status == 0 and images.is_absolute() and images.is_dir():
        places["for Docker"] = images
    free = {name: shutil.disk_usage(place).free for name, place in places.items()}
    found = ", ".join(f"{size / 1e9:.0f} GB free {name}" for name, size in free.items())
    if min(free.values()) < ENOUGH_DISK:
        advice = "too little for an image: docker system df shows what takes it, docker system prune makes room"
        return Row(what=what, state="missing", found=found, advice=advice)
    return Row(what=what, state="ok", found=found)


def _env_file(settings: Settings, root: Path, runner: Runner) -> Row:
    what = ".env"
    problems = list(settings.problems)
    if (root / ".env").exists() and _is_in_git(root, runner):
        problems.append(
            ".env is tracked by git: git rm --cached .env, and make new keys, because the old ones are in its history."
        )
    if problems:
        return Row(what=what, state="failed", found="cannot be used", advice="\n".join((*problems, *settings.warnings)))
    if not (root / ".env").is_file():
        return Row(
            what=what, state="missing", found="no such file", advice="cp .env.example .env; fill in what you use"
        )
    if settings.warnings:
        return Row(what=what, state="warning", found="read, with doubts", advice="\n".join(settings.warnings))
    return Row(what=what, state="ok", found="read")


def _is_in_git(root: Path, runner: Runner) -> bool:
    try:
        told = runner.capture(Command(("git", "-C", str(root), "ls-files", "--error-unmatch", ".env")))
    except TaskFailure:  # no git
        return False
    return told.status == 0


def _aws(settings: Settings) -> list[Row]:
    what = "AWS settings"
    credentials = "the machine's own role"
    if settings.has("AWS_ACCESS_KEY_ID"):
        credentials = "keys"
    elif settings.has("AWS_PROFILE"):
        credentials = "a profile"
    absent = [name for name in ("AWS_ACCOUNT_ID", "ECR_REPOSITORY") if not settings.has(name)]
    # A profile may bring its region.
    if not settings.has("AWS_REGION") and not settings.has("AWS_PROFILE"):
        absent.insert(0, "AWS_REGION")
    if absent:
        advice = f"set {', '.join(absent)} in .env, to push images"
        return [Row(what=what, state="missing", found=f"incomplete; credentials: {credentials}", advice=advice)]
    found = Row(what=what, state="ok", found=f"complete; credentials: {credentials}")
    return [found, *([] if settings.problems else _registry(settings))]


def _registry(settings: Settings) -> list[Row]:
    """Ask AWS who we are and whether the repository is there; what follows from a failure is not asked."""
    what, rows = "AWS region", []
    try:
        access = aws.open_access(settings)
        target = ImageRepository.from_settings(settings, region=access.region)
        rows.append(Row(what=what, state="ok", found=access.region))
        what = "AWS identity"
        identity = ecr.check_scope(access, target)
        rows.append(Row(what=what, state="ok", found=f"account {identity.account}, {identity.arn}"))
        what = "image repository"
        ecr.check_exists(access, target)
        rows.append(Row(what=what, state="ok", found=target.uri))
    except TaskFailure as error:
        rows.append(Row(what=what, state="failed", found="not usable", advice=str(error)))
    return rows


def _store(settings: Settings) -> Row:
    """Look whether the model store answers, and what may be done with it."""
    what = "model store"
    if (address := settings.values.get("MODEL_STORE")) is None:
        advice = "set MODEL_STORE in .env, for publish-model; without it the image's versions can be promoted"
        return Row(what=what, state="missing", found="not set", advice=advice)
    try:
        with failing():
            models = open_store(settings).models()
            folder, place = folder_of(address), bucket_of(address)
        writes = folder is not None and os.access(folder, os.W_OK)
        if place is not None:
            writes = bucket.may_write(aws.open_access(settings), *place)
    except TaskFailure as error:
        return Row(what=what, state="failed", found="not usable", advice=str(error))
    found = f"{address}, {len(models)} model{'s' * (len(models) != 1)}; may read" + (" and write" if writes else "")
    if writes:
        return Row(what=what, state="ok", found=found)
    return Row(what=what, state="warning", found=found, advice="publish-model needs more: docs/aws.md has its policy")
