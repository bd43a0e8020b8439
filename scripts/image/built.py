"""What a built image is: its size against the budget, its layers, its labels."""

import json
from collections.abc import Sequence

import attrs

from scripts.host.errors import TaskFailure
from scripts.host.shell import Command, Runner
from scripts.image import agent, engine


@attrs.frozen(kw_only=True)
class Layer:
    """A layer that is not empty.

    Attributes:
        size: In bytes, unpacked.
        made_by: The model version or what else it holds, or the line of the Dockerfile that made it.
        models: Whether it holds models.
    """

    size: int
    made_by: str
    models: bool = False


@attrs.frozen(kw_only=True)
class Image:
    """An image that the engine holds.

    Attributes:
        name: Its name and tag.
        id: The digest of its configuration.
        size: In bytes, unpacked.
        budget: What it may have beside its models, in bytes.
        layers: Those that are not empty, the newest first.
        labels: Its labels.
        diff_ids: The digests of all its layers, the oldest first.
    """

    name: str
    id: str
    size: int
    budget: int
    layers: tuple[Layer, ...]
    labels: dict[str, str]
    diff_ids: tuple[str, ...]

    @property
    def without_models(self) -> int:
        """Its size without the layers of the models, in bytes."""
        return self.size - sum(layer.size for layer in self.layers if layer.models)

    @property
    def over(self) -> bool:
        """Whether it is larger than its budget."""
        return self.without_models > self.budget

    @property
    def verdict(self) -> str:
        """Its size against the budget, in a line."""
        kept = "OVER" if self.over else "within"
        return f"{megabytes(self.size)}, {megabytes(self.without_models)} without models: {kept} the budget of " + (
            megabytes(self.budget)
        )

    def largest(self, count: int = 6) -> list[Layer]:
        """Return the largest layers, the largest first."""
        return sorted(self.layers, key=lambda layer: -layer.size)[:count]


def inspect(name: str, *, layers: Sequence[str], budget: int, runner: Runner) -> Image:
    """Return what the engine says about an image.

    Args:
        name: Its name and tag.
        layers: The names of those that were put on the server, in their order in the image.
        budget: What it may have beside its models, in bytes.
        runner: What runs Docker's client.

    Raises:
        TaskFailure: If it has no such image.
    """
    shown = runner.capture(Command(("docker", "image", "inspect", "--format={{json .}}", name)))
    told = runner.capture(Command(("docker", "history", "--no-trunc", "--human=false", "--format={{json .}}", name)))
    if shown.status or told.status:
        raise TaskFailure(f"Docker has no image {name}: {shown.errors or told.errors or shown.said or told.said}")
    data = engine.described(shown, what=f"the image {name}")
    try:
        return Image(
            name=name,
            id=data["Id"],
            size=int(data["Size"]),
            budget=budget,
            layers=tuple(_layers(told.output, layers)),
            labels=data["Config"].get("Labels") or {},
            diff_ids=tuple(data["RootFS"]["Layers"]),
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise engine.unlike(told, what=f"the layers of the image {name}") from error


def _layers(history: str, names: Sequence[str]) -> list[Layer]:
    """Read ``docker history``, newest first; the newest additions are those of *names*, the last one first.

    The legacy builder notes what it added by a digest and not by its name, so their order must tell.
    """
    found, left = [], list(names)
    for line in history.splitlines():
        entry = json.loads(line)
        made_by = " ".join(str(entry["CreatedBy"]).removeprefix("/bin/sh -c #(nop) ").split())
        name = left.pop() if left and made_by.startswith("ADD ") else ""
        models = name not in ("", agent.LAYER)
        if name:
            made_by = f"models: {name}" if models else name
        if int(entry["Size"]):
            found.append(Layer(size=int(entry["Size"]), made_by=made_by or "(imported)", models=models))
    return found


def megabytes(size: int) -> str:
    """Return *size* bytes in megabytes, as Docker counts them."""
    return f"{size / 1e6:.1f} MB"
