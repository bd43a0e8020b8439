"""Find in a model repository, without a server, what Triton would refuse or silently do otherwise."""

import math
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from scripts.host import files
from scripts.host.errors import TaskFailure
from scripts.repository import config_pbtxt
from scripts.repository.gpu_pbtxt import config_for_gpus, on_gpus
from scripts.repository.lint.config import check_config
from scripts.repository.lint.finding import Finding, error, guarded, warning
from scripts.repository.lint.gpu import GPU_CONFIG, check_engine_names, check_gpu, check_sharing
from scripts.repository.lint.gpu_graphs import check_gpu_graphs
from scripts.repository.lint.graphs import Graphs
from scripts.repository.lint.version import check_version
from scripts.repository.versions import CONFIG, check_place, version_folders

_OTHER_CONFIGS = "configs"
_READABLE_BY_ALL = 0o004
_ENTERED_BY_ALL = 0o005
# What Windows editors write into a text.
_KEPT = {b"\xef\xbb\xbf": "a byte order mark before the first name", b"\r\n": "a carriage return behind names"}


def lint(repository: Path) -> list[Finding]:
    """Return what is wrong in *repository*, model by model; whatever lies in it, this never fails on it.

    Raises:
        TaskFailure: If there is no such folder, it is a model's own, or it cannot be listed.
    """
    if not repository.is_dir():
        raise TaskFailure(f"{repository} is no folder. Name the folder that holds the models.")
    check_place(repository)
    try:
        folders = sorted(path for path in repository.iterdir() if path.is_dir())
    except OSError as problem:
        raise TaskFailure(f"{repository} cannot be listed: {problem.strerror}. Correct its permissions.") from problem
    graphs = Graphs()
    findings = [finding for folder in folders for finding in lint_model(folder, graphs=graphs)]
    findings.extend(guarded(_check_together(repository, folders, graphs)))
    if folders:
        findings.extend(guarded(_check_modes([repository], within=repository.parent)))
    else:
        findings.append(warning("no-models", f"{repository.name} holds no model: Triton starts and serves nothing."))
    return findings


def _check_together(repository: Path, folders: Sequence[Path], graphs: Graphs) -> Iterator[Finding]:
    configs = {folder.name: config_for_gpus(folder) for folder in folders}
    yield from check_engine_names(configs, repository, graphs)
    yield from check_sharing({folder.name: configs[folder.name] for folder in on_gpus(repository)})


def lint_model(folder: Path, *, graphs: Graphs) -> list[Finding]:
    """Return what is wrong in one model's folder; an unreadable file hides nothing but itself."""
    return [attrs.evolve(finding, model=folder.name) for finding in guarded(_check_folder(folder, graphs))]


def lint_version(folder: Path, *, version: int, versions: tuple[int, ...]) -> list[Finding]:
    """Return what is wrong with one version in the model's folder *folder*, as if *versions* stood beside it."""
    graphs = Graphs()
    config, findings = _read_config(folder / CONFIG, folder=folder, versions=versions, graphs=graphs)
    if config is not None:
        findings.extend(guarded(_check_labels(folder, config)))
    findings.extend(check_version(folder / str(version), config=config, graphs=graphs))
    if config is not None:
        findings.extend(check_gpu_graphs(folder, {version: folder / str(version)}, config=config, graphs=graphs))
    return findings


def _check_folder(folder: Path, graphs: Graphs) -> Iterator[Finding]:
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
    if os.path.lexists(path):
        config, findings = _read_config(path, folder=folder, versions=tuple(versions), graphs=graphs)
        yield from findings
    else:
        yield error(
            "config-missing",
            f"There is no {CONFIG}: with --disable-auto-complete-config Triton refuses the model, without it Triton "
            "guesses, with max_batch_size 4. Package the model, which writes one.",
        )
    yield from guarded(_check_other_configs(folder, versions=tuple(versions), graphs=graphs))
    if config is not None:
        yield from guarded(_check_labels(folder, config))
    yield from guarded(_check_subfolders(folder, versions))
    for number, version in versions.items():
        found = check_version(version, config=config, graphs=graphs)
        yield from (attrs.evolve(finding, version=number) for finding in found)
    if config is not None:
        yield from guarded(check_gpu_graphs(folder, versions, config=config, graphs=graphs))
    yield from guarded(_check_modes([folder, *sorted(folder.rglob("*"))], within=folder.parent))


def _read_config(
    path: Path, *, folder: Path, versions: tuple[int, ...], graphs: Graphs
) -> tuple[Mapping[str, Any] | None, list[Finding]]:
    try:
        config = config_pbtxt.parse(path)
    except TaskFailure as problem:
        return None, [error("config-syntax", str(problem))]
    text, for_gpus = files.read_text(path), path.stem == GPU_CONFIG
    found = check_config(config, text=text, folder=folder, versions=versions, for_gpus=for_gpus)
    on_gpus = check_gpu(config, name=path.stem, versions=version_folders(folder), graphs=graphs)
    return config, [*guarded(found), *guarded(on_gpus)]


def _check_other_configs(folder: Path, *, versions: tuple[int, ...], graphs: Graphs) -> Iterator[Finding]:
    for path in sorted((folder / _OTHER_CONFIGS).glob("*.pbtxt")):
        if path.stem != GPU_CONFIG:
            yield warning(
                "other-config",
                f"A server started with --model-config-name={path.stem} uses {_OTHER_CONFIGS}/{path.name} instead of "
                f"{CONFIG}, version policy and parameters included. If you do not want this, remove it.",
            )
        _, findings = _read_config(path, folder=folder, versions=versions, graphs=graphs)
        for finding in findings:
            yield attrs.evolve(finding, message=f"{_OTHER_CONFIGS}/{path.name}: {finding.message}")


def _check_labels(folder: Path, config: Mapping[str, Any]) -> Iterator[Finding]:
    for tensor in config.get("output", []):
        name = tensor.get("label_filename")
        if not name:
            continue
        path = folder / name
        if not path.exists():
            yield error(
                "labels-missing", f"{name} is missing: Triton refuses the model. Add it, or take out label_filename."
            )
            continue
        yield from guarded(_check_label_lines(path, [int(dim) for dim in tensor.get("dims", [])]))


def _check_label_lines(path: Path, dims: list[int]) -> Iterator[Finding]:
    """Compare the lines of a label file with the classes, and look for what Triton keeps as a part of names."""
    text = files.read_bytes(path)
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


def _check_modes(paths: Sequence[Path], *, within: Path) -> Iterator[Finding]:
    """Look for what another user cannot read, as which a server in a container runs; a folder must let them in too."""
    hidden = []
    for path in paths:
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            yield error("dangling", f"{path.relative_to(within)} leads to nothing. Remove it, or restore its target.")
            continue
        needed = _ENTERED_BY_ALL if stat.S_ISDIR(mode) else _READABLE_BY_ALL
        if mode & needed != needed:
            hidden.append(path)
    if hidden:
        others = f" and {len(hidden) - 1} more" if len(hidden) > 1 else ""
        use = "entered" if hidden[0].is_dir() else "read"
        yield warning(
            "unreadable-by-others",
            f"{hidden[0].relative_to(within)}{others} cannot be {use} by other users: a server in a container runs as "
            "another user and refuses the model. chmod -R a+rX it.",
        )
