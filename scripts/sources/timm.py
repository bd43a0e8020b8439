"""What timm says of its models: ``pretrained_cfg`` in ``config.json``, or in the metadata of the file."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from scripts.repository.preprocessing import Scaling
from scripts.sources.claims import Claim, Place, Share, channels, names, number, whole

_FITS = {"center": "crop", "squash": "squash", "border": "pad"}
_INTERPOLATIONS = frozenset({"bilinear", "bicubic", "nearest"})


def is_timm(config: Mapping[str, Any]) -> bool:
    """Return whether *config* is timm's: one that holds ``pretrained_cfg``, or is one itself, as older ones are."""
    nested = isinstance(config.get("pretrained_cfg"), Mapping)
    return nested or ("architecture" in config and {"mean", "std", "input_size"} & config.keys() != set())


def from_metadata(metadata: Mapping[str, str], place: Place) -> Iterator[Claim]:
    """Yield what timm's keys among the metadata of an ONNX file say, where each value is JSON in a word."""
    config = {key: _parsed(text) for key, text in metadata.items()}
    if is_timm(config):
        yield from claims(config, place)


def claims(config: Mapping[str, Any], place: Place) -> Iterator[Claim]:
    """Yield what *config* says; timm always divides by 255, and takes RGB."""
    nested = config.get("pretrained_cfg")
    said: Mapping[str, Any] = nested if isinstance(nested, Mapping) else config
    if "mean" in said or "std" in said:
        mean, std = channels(said.get("mean", 0)), channels(said.get("std", 1))
        if mean is None or std is None or min(std) <= 0:
            yield place.unusable("scaling", "mean and std", "are no numbers for each channel")
        else:
            yield place.claim("scaling", Scaling(scale=1 / 255, mean=mean, std=std), "mean and std")
            yield place.claim("colour", "gray" if _channels_of(said) == 1 else "rgb", "timm's input_size")
    if "input_size" in said:
        size = _size(said["input_size"])
        yield (
            place.claim("size", size, "input_size")
            if size
            else place.unusable(
                "size", "input_size", f"is {str(said['input_size'])[:40]}, and no channels, height, width"
            )
        )
    if "crop_pct" in said:
        part = number(said["crop_pct"])
        if part is not None and 0 < part <= 1:
            yield place.claim("resize", Share(part=part), "crop_pct")
        else:
            yield place.unusable("resize", "crop_pct", f"is {str(said['crop_pct'])[:40]}, and no part from 0 to 1")
    if "interpolation" in said:
        yield _word(place, "interpolation", said, {name: name for name in _INTERPOLATIONS})
    if "crop_mode" in said:
        yield _word(place, "fit", said, _FITS, key="crop_mode")
    elif "crop_pct" in said:
        yield place.claim("fit", "crop", "crop_pct")
    yield from _labels(said, config, place)


def _word(place: Place, field: str, said: Mapping[str, Any], known: Mapping[str, str], key: str = "") -> Claim:
    key = key or field
    word = str(said[key])
    if word in known:
        return place.claim(field, known[word], f"{key} {word}")
    return place.unusable(field, f"{key} {word[:40]!r}", f"is none of {', '.join(sorted(known))}")


def _labels(said: Mapping[str, Any], config: Mapping[str, Any], place: Place) -> Iterator[Claim]:
    """Yield the names of the classes; timm's own may be short codes, with descriptions beside them."""
    for holder in (said, config):
        if "label_names" not in holder:
            continue
        found = names(holder["label_names"])
        if isinstance(found, str):
            yield place.unusable("labels", "label_names", found)
            return
        described = holder.get("label_descriptions")
        if isinstance(described, Mapping) and all(isinstance(described.get(name), str) for name in found):
            found = tuple(" ".join(described[name].split()) or name for name in found)
        yield place.claim("labels", found, "label_names")
        return


def _size(value: object) -> tuple[int, int] | None:
    if not isinstance(value, list | tuple) or len(value) not in (2, 3):
        return None
    height, width = whole(value[-2]), whole(value[-1])
    return (height, width) if height and width else None


def _channels_of(said: Mapping[str, Any]) -> int:
    size = said.get("input_size")
    return (whole(size[0]) or 3) if isinstance(size, list | tuple) and len(size) == 3 else 3


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
