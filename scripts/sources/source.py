"""Where a model to package comes from, and what is known about it beforehand."""

from collections.abc import Callable
from pathlib import Path
from typing import Self

import attrs
import onnx

from scripts.graph.load import load
from scripts.repository import manifest
from scripts.repository.manifest import Origin
from scripts.sources import seeded, zoo
from triton_sdk import labels
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD, RGB

Progress = Callable[[str], None]


@attrs.frozen(kw_only=True)
class Source:
    """A model to package; build it with `zoo`, `seeded` or `onnx`.

    Attributes:
        read: Gives the model and where it came from.
        mean: Mean of each channel that it was trained with, for pixels in [0, 1].
        std: Standard deviation of each channel, likewise.
        resize: Length of the shorter side before the centre crop, in pixels; None where only a guess can be made.
        labels: Names of its classes, where they are known.
    """

    read: Callable[[Progress], tuple[onnx.ModelProto, Origin]]
    mean: RGB = IMAGENET_MEAN
    std: RGB = IMAGENET_STD
    resize: int | None = None
    labels: tuple[str, ...] | None = None

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

        def read(progress: Progress) -> tuple[onnx.ModelProto, Origin]:
            progress(f"Getting {entry.stem} ({entry.size_bytes / 1e6:.0f} MB) from {entry.url}")
            path = zoo.fetch(entry, cache=cache, progress=downloaded, retrying=progress)
            return load(path), Origin(kind="zoo", name=entry.stem, url=entry.url, sha256=entry.sha256)

        return cls(read=read, mean=entry.mean, std=entry.std, resize=entry.resize, labels=labels.imagenet())

    @classmethod
    def seeded(cls, name: str, *, seed: int) -> Self:
        """Return a true architecture, ``"resnet50"`` or ``"mobilenetv2"``, with weights drawn from *seed*."""

        def read(progress: Progress) -> tuple[onnx.ModelProto, Origin]:
            model = seeded.build(name, seed=seed, progress=progress)
            return model, Origin(kind="seeded", name=name, seed=seed)

        return cls(read=read, resize=256, labels=labels.imagenet())

    @classmethod
    def onnx(cls, path: Path) -> Self:
        """Return the model in the ONNX file *path*."""

        def read(progress: Progress) -> tuple[onnx.ModelProto, Origin]:
            progress(f"Reading {path}")
            return load(path), Origin(kind="onnx", name=path.name, sha256=manifest.sha256(path))

        return cls(read=read)
