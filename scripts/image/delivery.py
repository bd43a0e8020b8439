"""From the packaged models to a digest in the registry: check, build where needed, push, write the digest down."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import attrs

from scripts.host.errors import TaskFailure
from scripts.host.settings import ROOT, Settings
from scripts.host.shell import Command, Runner
from scripts.image import build, commit, record
from scripts.image import layers as image_models
from scripts.image.build import Order
from scripts.image.push import REVISION, LocalImage, Pushed, Pusher
from scripts.registry import aws
from scripts.registry.distribution import USER
from scripts.registry.ecr import ImageRepository

Progress = Callable[[str], None]
_APART = {"DOCKER_CONFIG": "TEMPORARY"}


@attrs.frozen(kw_only=True)
class Wanted:
    """What shall be in the registry.

    Attributes:
        order: What to build, where *image* is None and the engine has no image of these sources and models.
        image: The name of an image that is there already.
        tag: Its tag in the registry; None for one that says what is in it.
        root: The folder of the sources; the record goes below it.
    """

    order: Order
    image: str | None = None
    tag: str | None = None
    root: Path = ROOT


def deliver(
    settings: Settings, wanted: Wanted, *, runner: Runner, progress: Progress, layers: Callable[[int, int], None]
) -> Pushed:
    """Push an image and write its digest to ``build/image.json``.

    Args:
        settings: Which registry, and as whom.
        wanted: Which image.
        runner: What runs docker and git.
        progress: Takes a line for each stage.
        layers: Takes the number of layers that are done and of those there are.

    Raises:
        TaskFailure: If anything is missing or refused; the message says what to do.
    """
    access = aws.open_access(settings)
    repository = ImageRepository.from_settings(settings, region=access.region)
    pusher = Pusher(access=access, repository=repository, runner=runner, progress=progress, layers=layers)
    pusher.check()
    name = wanted.image or _built(wanted, runner=runner, progress=progress)
    image = LocalImage.inspect(name, runner=runner)
    if image.labels.get(REVISION, "").endswith("-dirty"):
        progress("Note: it was built from files that are not committed; no commit tells what is in it")
    pushed = pusher.push(image, wanted.tag or _tag(image))
    record.write(pushed.image, repository=repository, image_id=pushed.id, now=datetime.now(UTC), root=wanted.root)
    return pushed


def plan(settings: Settings, wanted: Wanted, *, runner: Runner) -> list[str]:
    """Return the commands that `deliver` would run, asking nobody and sending nothing.

    Raises:
        TaskFailure: If the settings or the models cannot be used, or there is no image of that name.
    """
    repository = ImageRepository.from_settings(settings, region=aws.open_access(settings).region)
    commands: list[Command] = []
    name, tag = wanted.image, wanted.tag
    if name is None:
        name, commands = build.plan(wanted.order, runner=runner, root=wanted.root)
        image = LocalImage(name=name, id="", labels=_labels(wanted, runner=runner), digests=())
        tag = tag or _tag(image)
    tag = tag or _tag(LocalImage.inspect(name, runner=runner))
    target = str(repository.image(tag=tag))
    commands += [
        Command(("docker", "login", "--username", USER, "--password-stdin", repository.host), env=_APART),
        Command(("docker", "tag", name, target)),
        Command(("docker", "push", target), env=_APART),
    ]
    return [str(command) for command in commands]


def _labels(wanted: Wanted, *, runner: Runner) -> dict[str, str]:
    models = image_models.checked(wanted.order.repository)
    return build.labels(wanted.order, commit.of(wanted.root, runner=runner), models)


def _built(wanted: Wanted, *, runner: Runner, progress: Progress) -> str:
    """Return the name of the image that was ordered, built if the engine has none with the same labels."""
    name, _ = build.plan(wanted.order, runner=runner, root=wanted.root)
    labels = _labels(wanted, runner=runner)
    # What differs from the commit is in no label: then only a build says what is in it.
    settled = not labels[REVISION].endswith(("-dirty", "unknown"))
    if settled and build.exists(name, runner=runner):
        there = LocalImage.inspect(name, runner=runner).labels
        if labels.items() <= there.items():
            progress(f"{name} is built already")
            return name
    return build.build(wanted.order, runner=runner, root=wanted.root, progress=progress).name


def _tag(image: LocalImage) -> str:
    if image.tag is None:
        raise TaskFailure(f"The image {image.name} does not say what is in it. Give it a tag: --tag NAME")
    return image.tag
