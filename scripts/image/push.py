"""Push an image: to the right account, under a tag that is never changed, leaving no login behind."""

import re
from collections.abc import Callable

import attrs

from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.host.shell import Command, Runner
from scripts.image import engine, says
from scripts.image.engine import LocalImage
from scripts.image.login import logged_in
from scripts.registry import aws, distribution, ecr
from scripts.registry.aws import Access
from scripts.registry.ecr import ImageRepository, Stored
from scripts.registry.reference import Reference

Progress = Callable[[str], None]
# What `docker push` says of a layer when it is done with it.
_SENT, _THERE = "Pushed", ("Layer already exists", "Mounted from ")


@attrs.frozen(kw_only=True)
class Pushed:
    """An image that the registry has.

    Attributes:
        image: What it is called there, by tag and digest.
        id: What the engine here calls it.
        sent: Layers that were sent.
        there: Layers that the registry had.
        untouched: Whether the tag had this very image before, so that nothing was pushed at all.
    """

    image: Reference
    id: str
    sent: int = 0
    there: int = 0
    untouched: bool = False

    @property
    def summary(self) -> str:
        """What was done, in a line."""
        if self.untouched:
            return f"{self.image.by_tag} was there already, the same image: nothing was sent"
        return f"Pushed {self.image.by_tag}: {self.sent} layers sent, {self.there} were there"


@attrs.frozen(kw_only=True)
class Pusher:
    """What a push works with.

    Attributes:
        access: The way to AWS.
        repository: Where to.
        runner: Runs docker.
        progress: Takes a line for each stage.
        layers: Takes the number of layers that are done and of those there are.
    """

    access: Access
    repository: ImageRepository
    runner: Runner
    progress: Progress
    layers: Callable[[int, int], None]

    def check(self) -> None:
        """Check everything that can be checked before minutes are spent on building: account, repository, engine.

        Raises:
            TaskFailure: If something is missing.
        """
        identity = ecr.check_scope(self.access, self.repository)
        self.progress(f"AWS account {identity.account}, as {identity.arn} ({self.access.credentials})")
        ecr.check_exists(self.access, self.repository)
        self.progress(f"Docker engine {engine.require(self.runner)}")

    def push(self, image: LocalImage, tag: str) -> Pushed:
        """Push *image* as *tag*, unless the registry has it there already.

        Raises:
            TaskFailure: If the tag has another image, or the registry or Docker refuses; run again, it goes on where it
                stopped.
        """
        password = ecr.token(self.access)
        aws.hush([password])
        if (before := self._stored(tag, password)) is not None:
            return _already(image, before)
        target = str(self.repository.image(tag=tag))
        named = self.runner.capture(Command(("docker", "tag", image.id, target)))
        if named.status != 0:
            raise says.push_failed(named.said, doing=f"name the image {target}")
        try:
            with logged_in(self.repository, password, runner=self.runner) as environment:
                self.progress(f"Pushing {target}")
                watch = _Watch(show=self.layers, progress=self.progress)
                command = Command(("docker", "push", target), env=environment, hide=(password,))
                done = self.runner.stream(command, show=watch.line)
        finally:
            # The engine shall not keep a name that says the registry has what it may not have.
            self.runner.capture(Command(("docker", "image", "rm", "--no-prune", target)))
        digest = re.search(r"digest: (sha256:[0-9a-f]{64})", done.output)
        if done.status != 0 or digest is None:
            # Somebody else may have been quicker; then it is only a failure if they pushed something else.
            if "tag invalid" in done.output and (after := self._stored(tag, password)) is not None:
                return _already(image, after)
            raise says.push_failed(done.output, doing=f"push {target}", registry=self.repository.host)
        pushed = self.repository.image(tag=tag, digest=digest[1])
        return Pushed(image=pushed, id=image.id, sent=watch.sent, there=watch.there)

    def _stored(self, tag: str, password: Secret) -> Stored | None:
        found = ecr.stored(self.access, self.repository, tag)
        if found is None and not self.repository.is_ecr:
            found = distribution.stored(self.repository, tag, password=password)
        return found


def _already(image: LocalImage, found: Stored) -> Pushed:
    """Return the push that *found* makes needless, or refuse where it is another image."""
    if not _is_stored(image, found):
        raise TaskFailure(
            f"{found.image.by_tag} is another image already, {found.image.digest}, and a tag is never changed. "
            f"Nothing was pushed. Give this image (id {image.id[:19]}) a tag of its own: --tag NAME"
        )
    return Pushed(image=found.image, id=image.id, untouched=True)


def _is_stored(image: LocalImage, stored: Stored) -> bool:
    """Say whether what the registry has is *image*."""
    return image.id in (stored.config, stored.image.digest) or str(stored.image.by_digest) in image.digests


@attrs.define(kw_only=True)
class _Watch:
    """Counts layers in what ``docker push`` prints, a line for each change of a layer."""

    show: Callable[[int, int], None]
    progress: Progress
    seen: set[str] = attrs.field(factory=set)
    sent: int = 0
    there: int = 0

    def line(self, text: str) -> None:
        match = re.fullmatch(r"([0-9a-f]{12}): (.+)", text.strip())
        if match is None:
            return
        layer, state = match.groups()
        self.seen.add(layer)
        if state.startswith(_SENT):
            self.sent += 1
        elif state.startswith(_THERE):
            self.there += 1
        elif state.startswith("Retrying"):
            self.progress(f"Layer {layer}: {state}")
            return
        self.show(self.sent + self.there, len(self.seen))
