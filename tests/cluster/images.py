"""Images of our own for the pods of a test: built once, saved, and loaded into a node without a registry."""

import tempfile
from pathlib import Path

import attrs
import onnx

from scripts.packaging.package import package
from scripts.sources.source import Source
from tests.doubles import small_classifiers
from tests.image import ground
from tests.image.project import copied

# What they hold: a small classifier, which loads in no time.
MODEL = "flowers"
REPOSITORY = "triton-test/cpu"
# What no task would build.
BROKEN = """
FROM {image}
USER root
RUN echo 'not a model' > /models/{model}/3/model.onnx
USER 1000:1000
"""


@attrs.frozen(kw_only=True)
class Archive:
    """Saved images.

    Attributes:
        path: The archive.
        models: The repository that the newest image was built from.
        first: The name of the image that serves versions 1 and 2.
        second: That of the image that serves version 3 as well.
        broken: That of the image whose version 3 no server can load.
    """

    path: Path
    models: Path
    first: str = f"{REPOSITORY}:1"
    second: str = f"{REPOSITORY}:2"
    broken: str = f"{REPOSITORY}:broken"


def build(folder: Path) -> Archive:
    """Build three images of three versions of one model, and save them to one archive in *folder*.

    Raises:
        Missing: If no Docker engine answers and none can be started, or no base can be made.
    """
    archive = Archive(path=folder / "images.tar", models=folder / "model_repository")
    with ground.engine() as engine, tempfile.TemporaryDirectory(prefix="triton-project-") as root:
        base = ground.base(engine, f"{REPOSITORY}-base:1")
        project = copied(Path(root), engine)
        for seed in (1, 2):
            _package(archive.models, seed)
        project.build("--cpu", f"--base={base}", f"--tag={archive.first}", repository=archive.models)
        _package(archive.models, 3)
        project.build("--cpu", f"--base={base}", f"--tag={archive.second}", repository=archive.models)
        ground.build(engine, BROKEN.format(image=archive.second, model=MODEL), archive.broken)
        engine.docker("save", f"--output={archive.path}", archive.first, archive.second, archive.broken)
        ground.remove_images(engine, f"{REPOSITORY}*")
    return archive


def _package(repository: Path, seed: int) -> None:
    file = repository.parent / f"{seed}.onnx"
    onnx.save(small_classifiers.classifier(seed=seed), file)
    package(Source.onnx(file), model=MODEL, repository=repository, progress=lambda _: None)
