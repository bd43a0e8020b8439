"""Where a model to package comes from, and what is known about it beforehand."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import attrs
import onnx

from scripts.graph.load import load
from scripts.repository import manifest
from scripts.repository.manifest import Origin
from scripts.repository.preprocessing import Scaling
from scripts.sources import beside, seeded, zoo
from scripts.sources.claims import Claim, Place
from triton_sdk import labels
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD

Progress = Callable[[str], None]


@attrs.frozen(kw_only=True)
class Found:
    """A model that was read.

    Attributes:
        model: The model, weights included.
        origin: Where it came from.
        claims: What is said of its preprocessing, by itself, its neighbours, or because it is known.
    """

    model: onnx.ModelProto
    origin: Origin
    claims: list[Claim]


@attrs.frozen(kw_only=True)
class Source:
    """A model to package; build it with `zoo`, `seeded` or `onnx`.

    Attributes:
        read: Gives the model, and what is known about it.
    """

    read: Callable[[Progress], Found]

    @classmethod
    def zoo(cls, name: str, *, cache: Path, downloaded: Callable[[int, int], None]) -> Self:
        """Return a published model.

        Args:
            name: An architecture, ``"resnet50"``, or one file of the zoo, ``"resnet50-v2-7"``.
            cache: Folder that keeps downloaded files.
            downloaded: Called with the bytes that are there and the bytes that there will be.

        Raises:
            TaskFailure: If no such model is known.
        """
        entry = zoo.lookup(name)

        def read(progress: Progress) -> Found:
            progress(f"Getting {entry.stem} ({entry.size_bytes / 1e6:.0f} MB) from {entry.url}")
            path = zoo.fetch(entry, cache=cache, progress=downloaded, retrying=progress)
            origin = Origin(kind="zoo", name=entry.stem, url=entry.url, sha256=entry.sha256)
            return Found(model=load(path), origin=origin, claims=list(_known(entry)))

        return cls(read=read)

    @classmethod
    def seeded(cls, name: str, *, seed: int) -> Self:
        """Return a true architecture, ``"resnet50"`` or ``"mobilenetv2"``, with weights drawn from *seed*."""

        def read(progress: Progress) -> Found:
            model = seeded.build(name, seed=seed, progress=progress)
            claims = list(_imagenet(name, scaling=Scaling(scale=1 / 255, mean=IMAGENET_MEAN, std=IMAGENET_STD)))
            return Found(model=model, origin=Origin(kind="seeded", name=name, seed=seed), claims=claims)

        return cls(read=read)

    @classmethod
    def onnx(cls, path: Path) -> Self:
        """Return the model in the ONNX file *path*; a file of the zoo is known by its hash, whatever it is called."""

        def read(progress: Progress) -> Found:
            progress(f"Reading {path}")
            model = load(path)
            origin = Origin(kind="onnx", name=path.name, sha256=manifest.sha256(path))
            known = next((entry for entry in zoo.ZOO.values() if entry.sha256 == origin.sha256), None)
            claims = list(_known(known)) if known else beside.claims_of(model, path)
            return Found(model=model, origin=origin, claims=claims)

        return cls(read=read)


def _known(entry: zoo.ZooModel) -> Iterator[Claim]:
    scaling = Scaling(scale=1 / 255, mean=entry.mean, std=entry.std)
    return _imagenet(entry.stem, scaling=scaling, resize=entry.resize)


def _imagenet(name: str, *, scaling: Scaling, resize: int = 256) -> Iterator[Claim]:
    """Yield what is known of a classifier of ImageNet's that was trained as the reference does it."""
    place = Place("known model", name)
    for field, value in (
        ("colour", "rgb"),
        ("scaling", scaling),
        ("resize", resize),
        ("interpolation", "bilinear"),
        ("fit", "crop"),
        ("labels", labels.imagenet()),
    ):
        yield Claim(field=field, value=value, kind=place.kind, where=place.name)
