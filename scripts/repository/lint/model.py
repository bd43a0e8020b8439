"""Find in a model repository, without a server, what Triton would refuse or silently do otherwise."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from scripts.host.errors import TaskFailure
from scripts.repository import config_pbtxt
from scripts.repository.gpu_pbtxt import config_for_gpus, on_gpus
from scripts.repository.lint.config import check_config
from scripts.repository.lint.finding import Finding, error, warning
from scripts.repository.lint.gpu import GPU_CONFIG, check_engine_names, check_gpu, check_sharing
from scripts.repository.lint.gpu_graphs import check_gpu_graphs
from scripts.repository.lint.version import check_version
from scripts.repository.versions import CONFIG, version_folders

_OTHER_CONFIGS = "configs"
_READABLE_BY_ALL = 0o004
# What Windows editors write into a text.
_KEPT = {b"\xef\xbb\xbf": "a byte order mark before the first name", b"\r\n": "a carriage return behind names"}


def lint(repository: Path) -> list[Finding]:
    """Return what is wrong in *repository*, model by model; whatever lies in it, this never fails on it.

    Raises:
        TaskFailure: If there is no such folder.
    """
    if not repository.is_dir():
        raise TaskFailure(f"{repository} is no folder. Name the folder that holds the models.")
    folders = sorted(path for path in repository.iterdir() if path.is_dir())
    findings = [finding for folder in folders for finding in lint_model(folder)]
    for_gpus = {folder.name: config_for_gpus(folder) for folder in folders}
    findings.extend(check_engine_names(for_gpus, repository))
    findings.extend(check_sharing({folder.name: for_gpus[folder.name] for folder in on_gpus(repository)}))
    if not folders:
        findings.append(warning("no-models", f"{repository.name} holds no model: Triton starts and serves nothing."))
    return findings


def lint_model(folder: Path) -> list[Finding]:
    """Return what is wrong in one model's folder."""
    try:
        found = list(_check_folder(folder))
    except OSError as problem:
        # A file that vanishes or refuses in the middle is a finding about it, not a failure of the linter.
        found = [error("unreadable", f"{problem.filename or folder} cannot be read: {problem.strerror}.")]
    return [attrs.evolve(finding, model=folder.name) for finding in found]


def lint_version(folder: Path, *, version: int, versions: tuple[int, ...]) -> list[Finding]:
    """Return what is wrong with one version in the model's folder *folder*, as if *versions* stood beside it."""
    config, findings = _read_config(folder / CONFIG, folder=folder, versions=versions)
    if config is not None:
        findings.extend(_check_labels(folder, config))
    findings.extend(check_version(folder / str(version), config=config))
    if config is not None:
        findings.extend(check_gpu_graphs(folder, {version: folder / str(version)}, config=config))
    return findings


def _check_folder(folder: Path) -> Iterator[Finding]:
    versions = version_folders(folder)
    path = folder / CONFIG
    if folder.name.startswith(".") or not (path.exists() or versions):
        yield error(
            "stray-folder",
            f"{folder.name} is no model, but Triton lists every folder of a repository as one, and does not become "
            "ready. Move it out.",
        )
        return
    config = None
    if path.is_file():
        config, findings = _read_config(path, folder=folder, versions=tuple(versions))
        yield from findings
    else:
        yield error(
            "config-missing",
            f"There is no {CONFIG}: with --disable-auto-complete-config Triton refuses the model, without it Triton "
            "guesses, with max_batch_size 4. Package the model, which writes one.",
        )
    yield from _check_other_configs(folder, versions=tuple(versions))
    if config is not None:
        yield from _check_labels(folder, config)
    yield from _check_subfolders(folder, versions)
    for number, version in versions.items():
        yield from (attrs.evolve(finding, version=number) for finding in check_version(version, config=config))
    if config is not None:
        yield from check_gpu_graphs(folder, versions, config=config)
    yield from _check_modes(folder)


def _read_config(
    path: Path, *, folder: Path, versions: tuple[int, ...]
) -> tuple[Mapping[str, Any] | None, list[Finding]]:
    try:
        config = config_pbtxt.parse(path)
    except TaskFailure as problem:
        return None, [error("config-syntax", str(problem))]
    text, for_gpus = path.read_text(encoding="utf-8"), path.stem == GPU_CONFIG
    findings = list(check_config(config, text=text, folder=folder.name, versions=versions, for_gpus=for_gpus))
    return config, [*findings, *check_gpu(config, name=path.stem, versions=version_folders(folder))]


def _check_other_configs(folder: Path, *, versions: tuple[int, ...]) -> Iterator[Finding]:
    for path in sorted((folder / _OTHER_CONFIGS).glob("*.pbtxt")):
        if path.stem != GPU_CONFIG:
            yield warning(
                "other-config",
                f"A server started with --model-config-name={path.stem} uses {_OTHER_CONFIGS}/{path.name} instead of "
                f"{CONFIG}, version policy and parameters included. Remove it unless that is meant.",
            )
        _, findings = _read_config(path, folder=folder, versions=versions)
        for finding in findings:
            yield attrs.evolve(finding, message=f"{_OTHER_CONFIGS}/{path.name}: {finding.message}")


def _check_labels(folder: Path, config: Mapping[str, Any]) -> Iterator[Finding]:
    for tensor in config.get("output", []):
        name = tensor.get("label_filename")
        if not name:
            continue
        path = folder / name
        if not path.is_file():
            yield error(
                "labels-missing", f"{name} is missing: Triton refuses the model. Add it, or take out label_filename."
            )
            continue
        yield from _check_label_lines(path, [int(dim) for dim in tensor.get("dims", [])])


def _check_label_lines(path: Path, dims: list[int]) -> Iterator[Finding]:
    """Compare the lines of a label file with the classes, and look for what Triton keeps as a part of names."""
    text = path.read_bytes()
    # Blank lines at the end name classes that are not there.
    lines = text.rstrip(b"\r\n").count(b"\n") + 1 if text.strip() else 0
    classes = math.prod(dims[1:] if dims[:1] == [-1] else dims)
    if classes > 0 and lines != classes:
        yield error(
            "labels-count",
            f"{path.name} has {lines} lines for {classes} classes: Triton loads it and names classes wrongly or not at "
            "all. It takes a line for each class, in the order of their indices.",
        )
    kept = [what for mark, what in _KEPT.items() if mark in text]
    try:
        text.decode()
    except UnicodeDecodeError:
        kept = ["bytes that are no UTF-8"]
    if kept:
        yield warning(
            "labels-bytes",
            f"{path.name} has {' and '.join(kept)}: Triton keeps that as a part of the names that it answers. Save it "
            "as UTF-8 with a line feed at each end of a line: this project's packaging writes it so.",
        )


def _check_subfolders(folder: Path, versions: Mapping[int, Path]) -> Iterator[Finding]:
    others = {path.name for path in folder.iterdir() if path.is_dir()} - {_OTHER_CONFIGS}
    for name in sorted(others - {path.name for path in versions.values()}):
        yield warning(
            "version-folder",
            f"Triton ignores the folder {name}: a version is a positive whole number without a zero before it. Rename "
            "it, or move it out.",
        )
    if not versions:
        yield warning(
            "no-versions",
            "No version is packaged: Triton refuses the model. `invoke serve` and `invoke build-image` leave it out; "
            f"for other servers package one (invoke package-model --model {folder.name}) or move the folder away.",
        )


def _check_modes(folder: Path) -> Iterator[Finding]:
    hidden = [path for path in sorted(folder.rglob("*")) if not path.stat().st_mode & _READABLE_BY_ALL]
    if hidden:
        yield warning(
            "unreadable-by-others",
            f"{hidden[0].relative_to(folder)}{f' and {len(hidden) - 1} more' if len(hidden) > 1 else ''} can be read "
            "by its owner only: a server in a container runs as another user and refuses the model. chmod -R a+rX it.",
        )
