"""ONNX's own image metadata (``Image.*``) and Custom Vision's, in the file or in ``metadata_properties.json``."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from scripts.repository.preprocessing import Scaling
from scripts.sources.claims import Claim, Place, channels, whole

FORMAT, GAMMA, RANGE = "Image.BitmapPixelFormat", "Image.ColorSpaceGamma", "Image.NominalPixelRange"
_CUSTOM = "CustomVision."

_COLOURS = {"gray8": "gray", "rgb8": "rgb", "bgr8": "bgr"}
# ONNX's docs/MetadataProps.md; each says what the tensor holds for a pixel.
_RANGES = {
    "nominalrange_0_255": Scaling(scale=1.0, mean=(0.0,), std=(1.0,)),
    "normalized_0_1": Scaling(scale=1 / 255, mean=(0.0,), std=(1.0,)),
    "normalized_1_1": Scaling(scale=1 / 127.5, mean=(1.0,), std=(1.0,)),
    "nominalrange_16_235": Scaling(scale=219 / 255, mean=(-16.0,), std=(1.0,)),
}
_SCORES = {"classificationmultilabel": "multi-label"}


def claims(metadata: Mapping[str, Any], place: Place) -> Iterator[Claim]:
    """Yield what the keys ``Image.*`` and ``CustomVision.*`` of *metadata* say, however they are capitalised."""
    usual = {key.lower(): key for key in (FORMAT, GAMMA, RANGE)}
    metadata = {usual.get(key.lower(), key): value for key, value in metadata.items()}
    yield from _format(metadata, place)
    yield from _scaling(metadata, place)
    if any(key.startswith(_CUSTOM) for key in metadata):
        yield from _custom_vision(metadata, place)


def _format(metadata: Mapping[str, Any], place: Place) -> Iterator[Claim]:
    if FORMAT in metadata:
        found = str(metadata[FORMAT])
        if colour := _COLOURS.get(found.strip().lower()):
            yield place.claim("colour", colour, f"{FORMAT} {found}")
        else:
            problem = "is none of Gray8, Rgb8 and Bgr8, which are the formats that can be served"
            yield place.unusable("colour", f"{FORMAT} {found[:40]!r}", problem)
    gamma = str(metadata.get(GAMMA, "SRGB"))
    if gamma.strip().lower() != "srgb":
        problem = (
            "asks for other light than pictures hold, which is SRGB; if the model takes SRGB anyway, give "
            "the scale, the mean and the std"
        )
        yield place.unusable("scaling", f"{GAMMA} {gamma[:40]!r}", problem)


def _scaling(metadata: Mapping[str, Any], place: Place) -> Iterator[Claim]:
    mean, std = f"{_CUSTOM}Preprocess.NormalizeMean", f"{_CUSTOM}Preprocess.NormalizeStd"
    scaling, key = None, RANGE
    if RANGE in metadata:
        found = str(metadata[RANGE])
        key = f"{RANGE} {found[:40]}"
        scaling = _RANGES.get(found.strip().lower())
        if scaling is None:
            problem = f"is none of {', '.join(['NominalRange_0_255', 'Normalized_0_1', 'Normalized_1_1'])}"
            yield place.unusable("scaling", key, problem)
            return
    if mean in metadata or std in metadata:
        means, stds = (_list(metadata.get(name, default)) for name, default in ((mean, "[0]"), (std, "[1]")))
        if means is None or stds is None or min(stds) <= 0:
            yield place.unusable("scaling", mean, "and NormalizeStd are no numbers for each channel")
            return
        if scaling is not None and (any(means) or set(stds) != {1.0}):
            scaling, key = (
                Scaling(scale=scaling.scale, mean=means, std=stds),
                f"{RANGE}, NormalizeMean and NormalizeStd",
            )
    if scaling is not None:
        yield place.claim("scaling", scaling, key)


def _custom_vision(metadata: Mapping[str, Any], place: Place) -> Iterator[Claim]:
    """Yield what Custom Vision says of size and fit; its method "FullImage..." leaves the size open, and tells none."""
    said = {key.removeprefix(f"{_CUSTOM}Preprocess."): str(value) for key, value in metadata.items()}
    target = whole(said.get("TargetHeight")), whole(said.get("TargetWidth"))
    crop = whole(said.get("CropHeight")), whole(said.get("CropWidth"))
    method, cropping = said.get("ResizeMethod", "").lower(), said.get("CropMethod", "").lower()
    if method == "stretch" and None not in target:
        yield place.claim("fit", "squash", "ResizeMethod Stretch")
        yield place.claim("size", target, "TargetHeight and TargetWidth")
    elif method == "byshorterside" and cropping == "onecropcenter" and None not in (*crop, *target):
        yield place.claim("fit", "crop", "CropMethod OneCropCenter")
        yield place.claim("size", crop, "CropHeight and CropWidth")
        yield place.claim("resize", min(side for side in target if side), "TargetHeight and TargetWidth")
    post = str(metadata.get(f"{_CUSTOM}Postprocess.Method", ""))
    if scores := _SCORES.get(post.lower()):
        yield place.claim("scores", scores, f"Postprocess.Method {post}")


def _list(text: object) -> tuple[float, ...] | None:
    """Return the numbers of a JSON list that stands in a word."""
    try:
        return channels(json.loads(text) if isinstance(text, str) else text)
    except (ValueError, RecursionError):
        return None
