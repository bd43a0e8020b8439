"""Gather what an ONNX file, and the files beside it, say of the model's preprocessing."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx

from scripts.host.errors import TaskFailure
from scripts.sources import hugging_face, image_metadata, label_files, timm, triton_config, ultralytics
from scripts.sources.claims import Claim, Place, read_json

_FILE = Place("file metadata", "the ONNX file")
_PREPROCESSOR, _CONFIG, _CUSTOM_VISION, _TRITON = (
    "preprocessor_config.json",
    "config.json",
    "metadata_properties.json",
    "config.pbtxt",
)
# Folders of exporters that keep a model one level below what describes it: optimum's, Triton's (a version's number).
_BELOW = ("onnx",)


def claims_of(model: onnx.ModelProto, path: Path) -> list[Claim]:
    """Return all that the file *path*, which holds *model*, and its neighbours say.

    Raises:
        TaskFailure: If a neighbour that should say something cannot be read, or says that this is no classifier.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    found = [
        *image_metadata.claims(metadata, _FILE),
        *ultralytics.claims(metadata, _FILE),
        *timm.from_metadata(metadata, _FILE),
        *label_files.from_metadata(metadata, _FILE),
    ]
    # A cache of downloads keeps the files elsewhere, under names that say nothing, and links to them side by side.
    beside = list(_around(path.absolute()))
    if not beside and path.is_symlink():
        beside = list(_around(path.resolve()))
    return [*found, *beside]


def _around(path: Path) -> Iterator[Claim]:
    folder = path.parent
    below = folder.name in _BELOW or (folder.name.isdigit() and (folder.parent / _TRITON).is_file())
    for place in (folder, folder.parent) if below else (folder,):
        yield from _in_folder(place, stem=path.stem)


def _in_folder(folder: Path, *, stem: str) -> Iterator[Claim]:
    if (path := folder / _PREPROCESSOR).is_file():
        config = _mapping(path)
        # The processor that wraps a model of timm's holds timm's settings.
        told = timm.claims if timm.is_timm(config) else hugging_face.preprocessor
        yield from told(config, _place(path))
    if (path := folder / _CONFIG).is_file():
        content = read_json(path)
        if isinstance(content, Mapping):  # anything may be called config.json
            if timm.is_timm(content):
                yield from timm.claims(content, _place(path))
            elif hugging_face.is_model(content):
                yield from hugging_face.model(content, _place(path))
    if (path := folder / _CUSTOM_VISION).is_file():
        yield from image_metadata.claims(_mapping(path), _place(path))
    if (path := folder / _TRITON).is_file():
        yield from triton_config.claims(path)
    yield from label_files.claims(folder, stem=stem)


def _mapping(path: Path) -> Mapping[str, Any]:
    content = read_json(path)
    if not isinstance(content, Mapping):
        raise TaskFailure(
            f"{path}, which stands beside the model, holds no settings by name. Mend the file, or move the model to a "
            "folder without it."
        )
    return content


def _place(path: Path) -> Place:
    return Place("beside the file", path.name)
