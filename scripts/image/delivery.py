"""From the packaged models to a digest in the registry: check, build where needed, push, write the digest down."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import attrs

from scripts.host.errors import TaskFailure
from scripts.host.settings import ROOT, Settings
from scripts.host.shell import Command, Runner
from scripts.image import build, record
from scripts.image.build import Order, Recipe
from scripts.image.engine import LocalImage
from scripts.image.labels import REVISION, tag_of
from scripts.image.push import Pushed, Pusher
from scripts.registry import aws
from scripts.registry.ecr import USER, ImageRepository
from scripts.registry.reference import is_image

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

    def __attrs_post_init__(self) -> None:
        if self.image and not is_image(self.image):
            raise TaskFailure(f"--image takes the name of an image here, NAME:TAG, not {self.image!r}.")


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
    if wanted.image is None:
        recipe = Recipe.of(wanted.order, runner=runner, root=wanted.root)
        image = _built(recipe, runner=runner, progress=progress)
    else:
        image = LocalImage.inspect(wanted.image, runner=runner)
    if image.labels.get(REVISION, "").endswith("-dirty"):
        progress("Note: it was built from files that are not committed; no commit tells what is in it")
    pushed = pusher.push(image, wanted.tag or _tag(image.labels, of=image.name))
    record.write(pushed.image, repository=repository, image_id=pushed.id, now=datetime.now(UTC), root=wanted.root)
    return pushed


def plan(settings: Settings, wanted: Wanted, *, runner: Runner) -> list[str]:
    """Return the commands that `deliver` would run, asking nobody and sending nothing.

    Raises:
        TaskFailure: If the settings or the models cannot be used, or there is no image of that name.
    """
    repository = ImageRepository.from_settings(settings, region=aws.open_access(settings).region)
    if wanted.image is None:
        recipe = Recipe.of(wanted.order, runner=runner, root=wanted.root)
        name, building = recipe.name, recipe.commands()
        tag = wanted.tag or _tag(recipe.labels, of=name)
    else:
        name, building = wanted.image, []
        tag = wanted.tag or _tag(LocalImage.inspect(name, runner=runner).labels, of=name)
    target = str(repository.image(tag=tag))
    commands = [
        *building,
        Command(("docker", "login", "--username", USER, "--password-stdin", repository.host), env=_APART),
        Command(("docker", "tag", name, target)),
        Command(("docker", "push", target), env=_APART),
    ]
    return [str(command) for command in commands]


def _built(recipe: Recipe, *, runner: Runner, progress: Progress) -> LocalImage:
    """Return the image of *recipe*, built if the engine has none with the same labels."""
    # What differs from the commit is in no label: then only a build says what is in it.
    settled = not recipe.labels[REVISION].endswith(("-dirty", "unknown"))
    there = LocalImage.find(recipe.name, runner=runner) if settled else None
    if there is not None and recipe.labels.items() <= there.labels.items():
        progress(f"{recipe.name} is built already")
        return there
    return LocalImage.inspect(build.build(recipe, runner=runner, progress=progress).name, runner=runner)


def _tag(labels: Mapping[str, str], *, of: str) -> str:
    if (tag := tag_of(labels)) is None:
        raise TaskFailure(f"The image {of} does not say what is in it. Give it a tag: --tag NAME")
    return tag
