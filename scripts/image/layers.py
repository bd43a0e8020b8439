"""The models of an image: which files go in, as which layers, and under which names."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

import attrs

from scripts.agent import files
from scripts.host.errors import TaskFailure
from scripts.image.labels import MODELS
from scripts.image.tarball import File, write_tar
from scripts.repository import config_pbtxt, manifest
from scripts.repository.lint.model import lint
from scripts.repository.manifest import Manifest
from scripts.repository.versions import CONFIG, require

# Where the archives lie in the build context, and the last of them: what may change with any new version.
LAYERS = "layers"
CONFIGS = "configs"
# The one line of a Dockerfile that is filled in.
MARK = "# @models@"


@attrs.frozen(kw_only=True)
class ModelVersion:
    """One version that goes into an image.

    Attributes:
        model: The model's name.
        version: Its number.
        folder: Where it lies.
        files: Each of its files, by name, its manifest among them: exactly these go in.
    """

    model: str
    version: int
    folder: Path
    files: files.Files

    @property
    def name(self) -> str:
        """The name of its layer."""
        return f"{self.model}-{self.version}"

    @property
    def digest(self) -> str:
        """What names its bytes, as the store and the agent beside a server name them: SHA-256 in hexadecimal."""
        return files.digest(self.files)


@attrs.frozen(kw_only=True)
class Models:
    """All that an image serves.

    Attributes:
        repository: The folder with the models.
        versions: The versions, by model and number.
        configs: Every ``config.pbtxt``, labels file and alternative configuration.
    """

    repository: Path
    versions: tuple[ModelVersion, ...]
    configs: tuple[Path, ...]

    @cached_property
    def digest(self) -> str:
        """What the image serves, as one SHA-256 in hexadecimal: of every version's files and every configuration."""
        lines = [f"{version.name} {version.digest}" for version in self.versions]
        lines += [f"{path.relative_to(self.repository)} {manifest.sha256(path)}" for path in self.configs]
        return _digest(lines)

    @property
    def labels(self) -> dict[str, str]:
        """The image's labels that say which models it holds."""
        each = {f"triton-sdk.model.{v.model}.{v.version}": f"sha256:{v.digest}" for v in self.versions}
        return {MODELS: f"sha256:{self.digest}", **each}

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers, in their order in the image."""
        return (*(version.name for version in self.versions), CONFIGS)


def checked(repository: Path) -> Models:
    """Return what *repository* holds, once it is certain that a server takes it.

    Raises:
        TaskFailure: If nothing is packaged, the linter finds an error, or a version has no manifest.
    """
    found = require(repository)
    errors = [finding for finding in lint(repository) if finding.severity == "error"]
    if errors:
        listed = "\n".join(f"  - {f.model}{f' v{f.version}' if f.version else ''}: {f.message}" for f in errors)
        raise TaskFailure(f"{repository} is not fit for an image; `invoke lint-repository` says more:\n{listed}")
    versions = tuple(
        ModelVersion(
            model=version.model,
            version=version.version,
            folder=version.path,
            files=_files(version.manifest, version.path),
        )
        for version in found
    )
    folders = sorted({version.path.parent for version in found})
    return Models(
        repository=repository, versions=versions, configs=tuple(path for folder in folders for path in _configs(folder))
    )


def stage(wanted: Models, folder: Path) -> str:
    """Write the layers of *wanted* into the build context *folder* and return the Dockerfile lines that add them.

    Raises:
        TaskFailure: If a file is missing, is a link, or is not the one that was packaged.
    """
    (folder / LAYERS).mkdir()
    for version in wanted.versions:
        packed = {_file(version, name): file.sha256 for name, file in version.files.items()}
        _write(folder, version.name, packed, repository=wanted.repository)
    _write(folder, CONFIGS, {_regular(path): None for path in wanted.configs}, repository=wanted.repository)
    return "\n".join(f"ADD {LAYERS}/{name}.tar /" for name in wanted.layers)


def render(dockerfile: str, adds: str) -> str:
    """Return the text of a Dockerfile with the lines *adds* in their place.

    Raises:
        TaskFailure: If it has no place for them, or several.
    """
    lines = dockerfile.splitlines()
    if lines.count(MARK) != 1:
        raise TaskFailure(f"The Dockerfile needs one line {MARK!r}: it says where the models go.")
    return "\n".join(adds if line == MARK else line for line in lines) + "\n"


def _files(found: Manifest | None, path: Path) -> files.Files:
    """Return the files that a version's manifest names, and the manifest."""
    if found is None:
        raise TaskFailure(
            f"{path} has no manifest: nothing says what it should hold. Package it: "
            f"invoke package-model --onnx {path / 'model.onnx'} --model NAME."
        )
    named = {
        name: files.File(sha256=sha256, size=_regular(path / name).stat().st_size)
        for name, sha256 in found.sha256.items()
    }
    return {**named, manifest.FILE: files.measure(_regular(path / manifest.FILE))}


def _configs(folder: Path) -> list[Path]:
    """Return the files of the model's folder that Triton reads; whatever else lies there stays out of the image."""
    config = folder / CONFIG
    parsed = config_pbtxt.parse(config)
    labels = {str(tensor["label_filename"]) for tensor in parsed.get("output", ()) if tensor.get("label_filename")}
    return [config, *sorted(folder / name for name in labels), *sorted(folder.glob("configs/*.pbtxt"))]


def _file(version: ModelVersion, name: str) -> Path:
    if Path(name).name != name:
        raise TaskFailure(f"{version.folder / manifest.FILE} lists {name!r}, which is not a file of that folder.")
    return _regular(version.folder / name)


def _regular(path: Path) -> Path:
    # A link could lead anywhere, a credentials file included.
    if path.is_symlink() or not path.is_file():
        raise TaskFailure(f"{path} is no regular file: only such go into an image.")
    return path


def _write(context: Path, name: str, paths: Mapping[Path, str | None], *, repository: Path) -> None:
    packed = [File(name=f"models/{p.relative_to(repository)}", path=p, sha256=sha) for p, sha in paths.items()]
    write_tar(context / LAYERS / f"{name}.tar", packed)


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
