"""Turn a classifier into a version that Triton serves."""

from collections.abc import Sequence
from pathlib import Path

from scripts.host.errors import TaskFailure
from scripts.packaging import staging
from scripts.packaging.build import Preprocessing, build
from scripts.packaging.publish import Publication, version_exists
from scripts.repository.lint.config import is_sane_name
from scripts.repository.versions import PackagedVersion
from scripts.sources.source import Progress, Source
from triton_sdk.contract import RGB

__all__ = ["Source", "package"]

_LARGEST_NUMBER = 2**31 - 1


def package(
    source: Source,
    *,
    model: str,
    repository: Path,
    version: int | None = None,
    labels: Sequence[str] | None = None,
    keep_input: bool = False,
    max_batch: int | None = None,
    resize: int | None = None,
    mean: RGB | None = None,
    std: RGB | None = None,
    progress: Progress,
) -> PackagedVersion:
    """Add one version to *repository*, whole and checked, or change nothing.

    Args:
        source: Where the model comes from.
        model: Its name on the server.
        repository: The folder that holds the models; it may be new, its parent may not.
        version: The version's number; None takes the next.
        labels: Names of the classes; None takes those of the source, or of the model that is there.
        keep_input: Leave the graph's own input, so that its callers normalise.
        max_batch: Most images in one request; None takes the model's, or 32 for a new one.
        resize: Length of the shorter side before the centre crop, in pixels; None takes what the source knows.
        mean: Mean of each channel that the model was trained with, for pixels in [0, 1]; None likewise.
        std: Standard deviation of each channel; None likewise.
        progress: Called with a line for each stage.

    Raises:
        TaskFailure: If it cannot be packaged; the message says why and what to do.
    """
    repository = repository.resolve()
    _check_request(repository / model, model=model, version=version, max_batch=max_batch)
    try:
        with staging.stage(repository) as folder:
            built = build(
                source,
                model=model,
                folder=folder / "version",
                keep_input=keep_input,
                preprocessing=Preprocessing(resize=resize, mean=mean, std=std),
                progress=progress,
            )
            written = Publication(
                built=built,
                target=repository / model,
                folder=folder,
                version=version,
                labels=None if labels is None else tuple(labels),
                known_labels=source.labels,
                max_batch=max_batch,
                progress=progress,
            ).publish()
    except OSError as error:
        raise TaskFailure(
            f"{error.filename or repository}: {error.strerror or error}. Nothing was published."
        ) from error
    path = repository / model / str(written.version)
    return PackagedVersion(model=model, version=written.version, path=path, manifest=written)


def _check_request(target: Path, *, model: str, version: int | None, max_batch: int | None) -> None:
    """Refuse at once what can be refused before the work."""
    if not is_sane_name(model):
        raise TaskFailure(
            f"{model!r} cannot name a model: use up to 64 letters, digits, '_', '-' and '.', a letter or digit first."
        )
    if version is not None and not 1 <= version <= _LARGEST_NUMBER:
        raise TaskFailure(f"A version is a whole number from 1 on, not {version}.")
    if max_batch is not None and not 1 <= max_batch <= _LARGEST_NUMBER:
        raise TaskFailure(f"The largest batch is a whole number from 1 on, not {max_batch}.")
    if version is not None and (target / str(version)).exists():
        raise version_exists(target, version)
