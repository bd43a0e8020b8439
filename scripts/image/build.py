"""Build the image that serves the models: what goes in, under which name, and what came out."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Self

import attrs

from scripts.host import temporary
from scripts.host.errors import TaskFailure
from scripts.host.settings import BASE_IMAGE
from scripts.host.shell import Command, Runner
from scripts.image import agent, engine, layers, runtime, says
from scripts.image.built import Image, inspect
from scripts.image.commit import Revision
from scripts.image.commit import of as revision_of
from scripts.image.labels import AGENT, KIND, REVISION
from scripts.image.layers import Models
from scripts.registry.reference import is_image
from scripts.repository.lint.gpu import check_base
from triton_sdk import __version__

Kind = Literal["full", "slim", "cpu"]
Progress = Callable[[str], None]

CPU_BASE = "python:3.11-slim-bookworm"
CPU_PLATFORM = "linux/amd64"
FOLDER = Path(__file__).resolve().parents[2] / "docker"
# The image without its models, in bytes. NVIDIA's full image is 15 GB and more, its -min image about 10 GB; the pip
# wheel's Triton on Debian is 418 MB.
BUDGET: Mapping[Kind, int] = {"full": 20_000_000_000, "slim": 12_000_000_000, "cpu": 450_000_000}


@attrs.frozen(kw_only=True)
class Order:
    """The image that is asked for.

    Attributes:
        repository: The folder with the packaged models.
        kind: All of NVIDIA's image, only what ONNX models need of it, or the pip wheel's Triton.
        base: The image to build on, NAME:TAG or NAME:TAG@sha256:DIGEST; None for the kind's own.
        minimal: For ``slim``, the image that *base*'s backend is put on; None for *base* with ``-min``.
        platform: Such as ``linux/amd64``; None for the engine's own.
        tag: The image's name and tag; None for one that says what is in it.
    """

    repository: Path
    kind: Kind = "full"
    base: str | None = None
    minimal: str | None = None
    platform: str | None = None
    tag: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.kind == "cpu" and self.platform not in (None, CPU_PLATFORM):
            raise TaskFailure(f"The CPU image is for {CPU_PLATFORM} only: there is no wheel for {self.platform}.")
        for finding in check_base(self.base_image) if self.kind != "cpu" else ():
            raise TaskFailure(finding.message)
        if self.platform and not re.fullmatch(r"linux/(amd64|arm64(/v8)?)", self.platform):
            raise TaskFailure(
                f"--platform takes linux/amd64 or linux/arm64, which Triton is made for, not {self.platform!r}."
            )
        for name, image in (("tag", self.tag), ("base", self.base), ("minimal", self.minimal)):
            if image and not is_image(image):
                raise TaskFailure(f"--{name} takes NAME:TAG in small letters, for example triton:v1, not {image!r}.")
        if self.minimal and self.kind != "slim":
            raise TaskFailure("An image to put the backend on is for a slim image only.")

    @property
    def has_agent(self) -> bool:
        """Whether the image gets an agent: the slim one has no Python to run it on."""
        return self.kind != "slim"

    @property
    def base_image(self) -> str:
        """The image that it is built on."""
        return self.base or (CPU_BASE if self.kind == "cpu" else BASE_IMAGE)

    @property
    def minimal_image(self) -> str:
        """For ``slim``, the image that the backend is put on.

        Raises:
            TaskFailure: If it cannot be told from *base*.
        """
        if self.minimal:
            return self.minimal
        if "@" in self.base_image:
            raise TaskFailure("A base with a digest does not tell its -min image: name that one too, with --minimal.")
        return f"{self.base_image}-min"


@attrs.frozen(kw_only=True)
class Recipe:
    """An order, and all that decides what comes of it, looked at once.

    Attributes:
        order: What is asked for.
        models: What the image will serve.
        revision: The source that it is labelled with.
    """

    order: Order
    models: Models
    revision: Revision

    @property
    def name(self) -> str:
        """The image's name and tag; where none is ordered, 12 digits of revision and models say what is in it."""
        tag = f"{self.revision.short}-{self.models.digest[:12]}"
        return self.order.tag or f"triton-infer{'' if self.order.kind == 'full' else f'-{self.order.kind}'}:{tag}"

    @property
    def labels(self) -> Mapping[str, str]:
        """The image's labels; they are the same for the same source, models and base."""
        return {
            "org.opencontainers.image.title": "triton-infer",
            "org.opencontainers.image.description": "Triton and image classifiers: "
            + ", ".join(f"{v.model} {v.version}" for v in self.models.versions),
            "org.opencontainers.image.version": __version__,
            REVISION: self.revision.commit,
            "org.opencontainers.image.created": self.revision.created,
            "org.opencontainers.image.base.name": self.order.base_image,
            KIND: self.order.kind,
            **({AGENT: __version__} if self.order.has_agent else {}),
            **self.models.labels,
        }

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers that are put on the server, in their order in the image."""
        return (*((agent.LAYER,) if self.order.has_agent else ()), *self.models.layers)

    @classmethod
    def of(cls, order: Order, *, runner: Runner, root: Path) -> Self:
        """Look at the models and at the revision of the folder *root*.

        Raises:
            TaskFailure: If the models are not fit for an image.
        """
        return cls(order=order, models=layers.checked(order.repository), revision=revision_of(root, runner=runner))

    def commands(self, context: Path = Path("CONTEXT")) -> list[Command]:
        """Return the commands that build it from what is staged in *context*."""
        built: list[Command] = []
        order, base = self.order, self.order.base_image
        platform = (f"--platform={order.platform}",) if order.platform else ()
        if order.kind == "slim":
            slim = f"{self.name}-base"
            arguments = (f"--build-arg=BASE={base}", f"--build-arg=MIN={order.minimal_image}")
            built.append(_build(context / "slim", platform, arguments, (f"--tag={slim}",)))
            base = slim
        image, _, digest = base.partition("@")
        arguments = (f"--build-arg=BASE={image}", f"--build-arg=BASE_DIGEST={digest}")
        marks = tuple(f"--label={key}={value}" for key, value in self.labels.items())
        built.append(_build(context / "image", platform, arguments, (*marks, f"--tag={self.name}")))
        return built


def _build(context: Path, *parts: tuple[str, ...]) -> Command:
    # BuildKit: lines instead of a redrawn screen, and no attestation with the time of the build, which would make
    # another image of the same content each time. The legacy builder does not know these variables.
    given = [argument for part in parts for argument in part]
    return Command(
        ("docker", "build", *given, str(context)),
        env={"BUILDKIT_PROGRESS": "plain", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"},
    )


def stage(order: Order, wanted: Models, context: Path, *, runner: Runner, progress: Progress) -> None:
    """Fill the build context *context*: these files, and no other, can get into the image.

    Raises:
        TaskFailure: If a model's file is not what was packaged, or the CPU image's packages cannot be had.
    """
    folder = context / "image"
    folder.mkdir()
    progress(f"Staging {len(wanted.versions)} model version(s)")
    adds = layers.stage(wanted, folder)
    if order.has_agent:
        agent.stage(folder / f"{agent.LAYER}.tar", runner=runner, progress=progress)
        adds = f"ADD {agent.LAYER}.tar /\n{adds}"
    source = FOLDER / ("Dockerfile.cpu" if order.kind == "cpu" else "Dockerfile")
    (folder / "Dockerfile").write_text(layers.render(source.read_text(encoding="utf-8"), adds), encoding="utf-8")
    if order.kind == "cpu":
        runtime.stage(folder / "runtime.tar", runner=runner, progress=progress)
    if order.kind == "slim":
        (context / "slim").mkdir()
        text = (FOLDER / "Dockerfile.slim").read_text(encoding="utf-8")
        (context / "slim" / "Dockerfile").write_text(text, encoding="utf-8")


def build(recipe: Recipe, *, runner: Runner, progress: Progress) -> Image:
    """Build the image of *recipe* and return what came out.

    Args:
        recipe: What to build.
        runner: What runs Docker's client and pip.
        progress: Called with a line for each stage, and with each line of the build.

    Raises:
        TaskFailure: If Docker cannot be used, a model's file is not what was packaged, or the build fails; the message
            says what to do.
    """
    progress(f"Docker engine {engine.require(runner)}")
    with temporary.folder("image") as context:
        stage(recipe.order, recipe.models, context, runner=runner, progress=progress)
        for command in recipe.commands(context):
            progress(f"Building {command.argv[-2].removeprefix('--tag=')}")
            done = runner.stream(command, show=progress)
            if done.status:
                raise says.build_failed(done, base=recipe.order.base_image)
    return inspect(recipe.name, layers=recipe.layers, budget=BUDGET[recipe.order.kind], runner=runner)
