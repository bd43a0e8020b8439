"""What a ``config.pbtxt`` says of a model.

Another's beside the file says the size of its pictures and where its labels are; that of the model's other versions
says what they call their classes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from scripts.host.errors import TaskFailure
from scripts.repository import config_pbtxt
from scripts.repository.versions import CONFIG
from scripts.sources.claims import Claim, Place, whole
from scripts.sources.label_files import read_names
from triton_sdk import labels as class_names
from triton_sdk.contract import Fit, Interpolation
from triton_sdk.errors import ConfigurationError

# One channel or three; whoever has other numbers there serves no pictures.
_CHANNELS = (1, 3)


def claims(path: Path) -> Iterator[Claim]:
    """Yield what the configuration *path* says.

    Raises:
        TaskFailure: If it is none.
    """
    config, place = config_pbtxt.parse(path), Place("beside the file", path.name)
    for tensor in config.get("input", []):
        size = _size([int(dim) for dim in tensor.get("dims", [])])
        if size:
            yield place.claim("size", size, "dims")
    for field, read in (("resize", whole), ("interpolation", _word), ("fit", _word)):
        if (key := f"image.{field}") in config.get("parameters", {}):  # this project's own
            value = read(config["parameters"][key].get("string_value"))
            yield place.claim(field, value, key) if value else place.unusable(field, key, "cannot be read")
    for tensor in config.get("output", []):
        if name := str(tensor.get("label_filename", "")):
            file = path.parent / name
            if not file.is_file():
                raise TaskFailure(
                    f"{path} names the labels {name}, which do not stand beside it. Put the file there, or take "
                    "label_filename out."
                )
            yield place.claim("labels", read_names(file), f"label_filename {name}")


def names_of_others(target: Path) -> list[Claim]:
    """Return what the versions of the model in *target* call their classes; nothing where that is not to be read."""
    try:
        outputs = config_pbtxt.parse(target / CONFIG).get("output", [])
        files = [str(output["label_filename"]) for output in outputs if output.get("label_filename")]
        names = [class_names.read(target / file) for file in files]
    except (TaskFailure, ConfigurationError):
        return []  # publishing says what is wrong with them
    place = Place("other versions", target.name)
    return [place.claim("labels", given, file) for given, file in zip(names, files, strict=True)]


def _word(value: object) -> str | None:
    known = (*get_args(Interpolation), *get_args(Fit))
    return value if isinstance(value, str) and value in known else None


def _size(dims: list[int]) -> tuple[int, int] | None:
    """Return height and width of ``(3, h, w)`` or ``(h, w, 3)``, maybe behind a batch; None where they are open."""
    last = dims[-3:]
    if len(last) < 3:
        return None
    sides = last[1:] if last[0] in _CHANNELS else last[:2] if last[2] in _CHANNELS else [0]
    return (sides[0], sides[1]) if min(sides) > 0 else None
