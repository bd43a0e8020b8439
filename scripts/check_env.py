"""What this machine and this deployment have, and what to do about each gap."""

import os
import platform
import shutil
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
from scripts.host.shell import Command, Completed, Runner, capture
from scripts.image import engine
from scripts.registry import aws, bucket, ecr
from scripts.registry.ecr import ImageRepository
from scripts.repository.versions import packaged
from scripts.versions.stores import failing, open_store
from triton_sdk.errors import LocalServerError
from triton_sdk.local import find_interpreter

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
    """Look for everything that the tasks use."""
    return [
        Row(what="Python", state="ok", found=platform.python_version()),
        _local_triton(),
        _models(repository),
        _program("docker", ("docker", "--version"), "for images, and serve --docker", answers="Docker version"),
        _engine(runner),
        _disk(root, runner),
        _helm(runner),
        *_cluster(settings, runner),
        _gpu(),
        _env_file(settings, root, runner),
        *_aws(settings),
        _store(settings),
    ]


def _local_triton() -> Row:
    what = "local Triton"
    try:
        interpreter = find_interpreter()
    except LocalServerError as error:
        return Row(what=what, state="missing", found="cannot run here", advice=str(error))
    return Row(what=what, state="ok", found=f"can run, under Python {interpreter.version}")


def _models(repository: Path) -> Row:
    versions = [f"{p.model} v{p.version}" for p in packaged(repository)]
    if versions:
        return Row(what="models", state="ok", found=", ".join(versions))
    advice = "invoke package-model --model resnet50"
    return Row(what="models", state="missing", found=f"no version is packaged in {repository}", advice=advice)


def _program(name: str, argv: tuple[str, ...], purpose: str, *, answers: str) -> Row:
    if shutil.which(name) is None:
        return Row(what=name, state="missing", found="not on PATH", advice=f"install {name} {purpose}")
    try:
        done = capture(Command(argv), timeout_s=10)
    except TaskFailure as error:
        return Row(what=name, state="missing", found="no answer", advice=str(error))
    line = next(iter((done.output.strip() or done.said).splitlines()), "no answer")
    if done.status == 0 and not line.startswith(answers):
        return Row(
            what=name, state="missing", found=line, advice=f"another program of that name: install {name} {purpose}"
        )
    if done.status != 0:
        return Row(what=name, state="missing", found=line, advice=f"needed {purpose}: is it running?")
    return Row(what=name, state="ok", found=line)


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
                rows.append(
                    Row(
                        what=what,
                        state="missing",
                        found=f"none on {len(nodes)} node{'s' * (len(nodes) != 1)}",
                        advice=advice,
                    )
                )
    except TaskFailure as error:
        rows.append(Row(what=what, state="missing", found="not usable", advice=str(error)))
    return rows


def _api(version: Version) -> Row:
    what, found = "cluster's API", f"Kubernetes {version}"
    if version < LEAST_FOR_AGENT:
        advice = f"versions are promoted without restarts from {LEAST_FOR_AGENT} on; deploy-triton works without"
        return Row(what=what, state="warning", found=found, advice=advice)
    return Row(what=what, state="ok", found=found)


def _gpu() -> Row:
    advice = "models run on the CPU here; a GPU needs NVIDIA's driver"
    if shutil.which("nvidia-smi") is None:
        return Row(what="GPU", state="missing", found="no nvidia-smi", advice=advice)
    done = capture(Command(("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")))
    found = "; ".join(done.output.strip().splitlines())
    return Row(what="GPU", state="missing" if done.status else "ok", found=found, advice=advice if done.status else "")


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
            ".env is tracked by git: git rm --cached .env, and make new keys, since the old ones are in its history."
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
