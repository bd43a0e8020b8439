"""Turn a classifier into a version that Triton serves."""

from collections.abc import Callable
from pathlib import Path

import attrs

from scripts.host.errors import TaskFailure
from scripts.packaging import gpu, staging
from scripts.packaging.build import Built, build
from scripts.packaging.publish import Publication, another_batch, version_exists
from scripts.packaging.scaling import wished
from scripts.packaging.trial.judge import Trial
from scripts.packaging.trial.pictures import check, read
from scripts.packaging.trial.run import run
from scripts.packaging.wishes import USUAL, GpuWish, Wishes
from scripts.repository import config_pbtxt
from scripts.repository.preprocessing import Preprocessing
from scripts.repository.versions import CONFIG, PackagedVersion, check_place, is_sane_name
from scripts.sources.source import Progress, Source
from scripts.sources.triton_config import names_of_others

__all__ = ["Images", "Source", "Wishes", "package"]

_LARGEST_NUMBER = 2**31 - 1
_NOTHING = Wishes()


@attrs.frozen(kw_only=True)
class Images:
    """Pictures of the owner's, and what they have to show.

    Attributes:
        source: A folder or a list, as `scripts.packaging.trial.pictures.read` takes them.
        least: The accuracy, or the share of answers like the owner's, that has to be reached; None asks for more than
            chance.
        hashes: Keep only hashes of pictures.
    """

    source: Path
    least: float | None = None
    hashes: bool = False


def package(
    source: Source,
    *,
    model: str,
    repository: Path,
    version: int | None = None,
    wishes: Wishes = _NOTHING,
    strict: bool = False,
    keep_input: bool = False,
    max_batch: int | None = None,
    on_gpu: GpuWish | None = USUAL,
    progress: Progress,
    decided: Callable[[Preprocessing], None] = lambda _record: None,
    images: Images | None = None,
    tried: Callable[[Trial], None] = lambda _trial: None,
) -> PackagedVersion:
    """Add one version to *repository*, whole and checked, or change nothing.

    Args:
        source: Where the model comes from.
        model: Its name on the server.
        repository: The folder that holds the models; it may be new, its parent may not.
        version: The version's number; None takes the next.
        wishes: What the owner says of its preprocessing; the rest is for the file and its neighbours to tell.
        strict: Refuse what is only assumed.
        keep_input: Leave the graph's own input, so that its callers normalise.
        max_batch: Most images in one request; None takes the model's, or 32 for a new one.
        on_gpu: What graph GPUs get; None for the same as CPUs.
        progress: Called with a line for each stage.
        decided: Called with the preprocessing record before anything rests on it.
        images: Pictures of the owner's that the version has to answer before it is published.
        tried: Called with what they showed, also where that keeps the version from being published.

    Raises:
        TaskFailure: If it cannot be packaged; the message says why and what to do.
    """
    repository = repository.resolve()
    if images is not None:
        check(images.source)
    _check_request(repository / model, model=model, version=version, max_batch=max_batch)
    wished(wishes)
    largest = max_batch or config_pbtxt.max_batch_of(repository / model / CONFIG)
    on_gpu = gpu.decided(repository / model, on_gpu, progress=progress)
    if on_gpu is not None:
        on_gpu.sizes(largest)
    try:
        with staging.stage(repository) as folder:
            built = build(
                source,
                model=model,
                folder=folder / "version",
                keep_input=keep_input,
                max_batch=largest,
                wishes=wishes,
                strict=strict,
                others=names_of_others(repository / model),
                on_gpu=on_gpu,
                progress=progress,
                decided=decided,
            )
            trial = None if images is None else _try(built, images, progress=progress, tried=tried)
            written = Publication(
                built=built,
                target=repository / model,
                folder=folder,
                version=version,
                tried=None if trial is None else trial.tried,
                max_batch=max_batch,
                progress=progress,
            ).publish()
    except OSError as error:
        raise TaskFailure(
            f"{error.filename or repository}: {error.strerror or error}. Nothing was published."
        ) from error
    path = repository / model / str(written.version)
    return PackagedVersion(model=model, version=written.version, path=path, manifest=written)


def _try(built: Built, images: Images, *, progress: Progress, tried: Callable[[Trial], None]) -> Trial:
    """Prove the built version on its owner's pictures.

    Raises:
        TaskFailure: If they show that it must not be published.
    """
    pictures = read(images.source, names=built.decision.names, classes=built.contract.classes)
    trial = run(built, pictures, least=images.least, hashes=images.hashes, progress=progress)
    tried(trial)
    if trial.refusal:
        raise TaskFailure(f"{trial.refusal} Nothing was published.")
    progress(f"Warning: {trial.warning}" if trial.warning else trial.found)
    return trial


def _check_request(target: Path, *, model: str, version: int | None, max_batch: int | None) -> None:
    """Refuse at once what can be refused before the work."""
    check_place(target.parent)
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
    if max_batch is not None and (target / CONFIG).is_file():
        has = int(config_pbtxt.parse(target / CONFIG).get("max_batch_size", 0))
        if max_batch != max(has, 1):
            raise another_batch(target, has)
