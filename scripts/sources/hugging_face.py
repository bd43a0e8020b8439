"""What Hugging Face's image processors and models say: ``preprocessor_config.json`` and ``config.json``."""

from collections.abc import Iterator, Mapping
from typing import Any

from scripts.repository.preprocessing import Scaling
from scripts.sources.claims import Claim, Place, Share, channels, names, number, whole

# PIL's numbers of its filters; what has no word here cannot be followed by clients.
_RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}
_UNKNOWN_RESAMPLE = {1: "lanczos", 4: "box", 5: "hamming"}
# Image processors that take a bare number for the shorter side; all others take it for height and width.
_SHORTER_SIDE = ("clip", "convnext", "mobilenet", "mobilevit", "poolformer", "levit", "bit", "chineseclip", "resnet")
# ConvNeXt's: from this size on pictures are squashed, below they are cropped to crop_pct (default 224 / 256).
_CONVNEXT_SQUASHES = 384
_CONVNEXT_SHARE = 224 / 256
# Levit's: the shorter side becomes 256 / 224 of the size.
_LEVIT = 256 / 224


def preprocessor(config: Mapping[str, Any], place: Place) -> Iterator[Claim]:
    """Yield what a ``preprocessor_config.json`` says."""
    kind = str(config.get("image_processor_type", config.get("feature_extractor_type", ""))).lower()
    flipped = config.get("do_flip_channel_order", kind.startswith("mobilevit"))
    yield place.claim(
        "colour", "bgr" if flipped else "rgb", "do_flip_channel_order" if flipped else "the image processor"
    )
    yield from _scaling(config, place, kind=kind)
    yield from _resampling(config, place)
    yield from _framing(config, place, kind=kind)


def model(config: Mapping[str, Any], place: Place) -> Iterator[Claim]:
    """Yield what a model's ``config.json`` says: the names of its classes, and whether several may be true."""
    if "id2label" in config:
        found = names(config["id2label"])
        if isinstance(found, str):
            yield place.unusable("labels", "id2label", found)
        elif found != tuple(f"LABEL_{index}" for index in range(len(found))):
            yield place.claim("labels", found, "id2label")
    if config.get("problem_type") == "multi_label_classification":
        yield place.claim("scores", "multi-label", "problem_type multi_label_classification")


def is_model(config: Mapping[str, Any]) -> bool:
    """Return whether *config* is a Hugging Face model's."""
    return bool({"model_type", "id2label", "architectures"} & config.keys())


def _scaling(config: Mapping[str, Any], place: Place, *, kind: str) -> Iterator[Claim]:
    factor = number(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0
    if factor is None or factor <= 0:
        yield place.unusable("scaling", "rescale_factor", f"is {str(config['rescale_factor'])[:40]}, and no factor")
        return
    mean: tuple[float, ...] | None = (0.0,)
    std: tuple[float, ...] | None = (1.0,)
    key = "rescale_factor"
    if config.get("do_normalize", not kind.startswith("mobilevit")):
        if "image_mean" not in config or "image_std" not in config:
            return  # the processor's own default, which the file does not tell
        mean, std, key = channels(config["image_mean"]), channels(config["image_std"]), "image_mean and image_std"
    if mean is None or std is None or min(std) <= 0:
        yield place.unusable("scaling", key, "are no numbers for each channel")
        return
    if config.get("rescale_offset") is True:  # EfficientNet's: x * factor - 1, before the mean
        mean = tuple(part + 1 for part in mean)
    yield place.claim("scaling", Scaling(scale=factor, mean=mean, std=std), key)


def _resampling(config: Mapping[str, Any], place: Place) -> Iterator[Claim]:
    if "resample" not in config or not config.get("do_resize", True):
        return
    code = config["resample"]
    word = _RESAMPLE.get(code) if isinstance(code, int) else None
    if word:
        yield place.claim("interpolation", word, f"resample {code}")
        return
    name = _UNKNOWN_RESAMPLE.get(code, str(code)[:40]) if isinstance(code, int) else str(code)[:40]
    yield place.unusable("interpolation", f"resample {name}", "is none of bilinear, bicubic and nearest")


def _framing(config: Mapping[str, Any], place: Place, *, kind: str) -> Iterator[Claim]:
    size, resizes = config.get("size"), bool(config.get("do_resize", True))
    crop = _sides(config.get("crop_size")) if config.get("do_center_crop", "crop_size" in config) else None
    if kind.startswith("convnext") or ("crop_pct" in config and crop is None):
        yield from _by_share(config, place, side=_shortest(size))
        return
    shorter = _shortest(size) if _keeps_proportions(size, kind) else None
    if kind.startswith("levit") and shorter:
        shorter = int(shorter * _LEVIT)
    squashed = None if shorter else _sides(size)
    if resizes and size is not None and not shorter and not squashed:
        yield place.unusable("size", "size", f"is {str(size)[:60]}, and no height and width")
        return
    seen = crop or (squashed if resizes else None)
    if seen:
        yield place.claim("size", seen, "crop_size" if crop else "size")
    if not resizes:
        return
    if shorter:
        yield place.claim("fit", "crop", "size")
        yield place.claim("resize", shorter, "size")
    elif squashed:
        yield place.claim("fit", "squash", "size")
        yield place.claim("resize", min(squashed), "size")


def _by_share(config: Mapping[str, Any], place: Place, *, side: int | None) -> Iterator[Claim]:
    """Yield what ConvNeXt's processor does with its size."""
    if side is None:
        yield place.unusable("size", "size", f"is {str(config.get('size'))[:60]}, and no length of a side")
        return
    yield place.claim("size", (side, side), "size")
    if side >= _CONVNEXT_SQUASHES:
        yield place.claim("fit", "squash", "size")
        yield place.claim("resize", side, "size")
        return
    part = number(config.get("crop_pct", _CONVNEXT_SHARE))
    yield place.claim("fit", "crop", "crop_pct")
    if part is None or not 0 < part <= 1:
        yield place.unusable("resize", "crop_pct", f"is {str(config['crop_pct'])[:40]}, and no part from 0 to 1")
    else:
        yield place.claim("resize", Share(part=part), "crop_pct")


def _keeps_proportions(size: object, kind: str) -> bool:
    if isinstance(size, Mapping):
        return "shortest_edge" in size
    return kind.startswith(_SHORTER_SIDE)


def _shortest(size: object) -> int | None:
    """Return the length of the shorter side."""
    if isinstance(size, Mapping):
        return whole(size.get("shortest_edge", size.get("height")))
    return whole(size)


def _sides(size: object) -> tuple[int, int] | None:
    """Return height and width."""
    if isinstance(size, Mapping):
        height, width = whole(size.get("height")), whole(size.get("width"))
    elif isinstance(size, list | tuple) and len(size) == 2:
        height, width = whole(size[0]), whole(size[1])
    else:
        height = width = whole(size)
    return (height, width) if height and width else None
