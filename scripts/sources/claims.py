"""What one source says of a model's preprocessing, before anything is decided."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from scripts.host.errors import TaskFailure
from scripts.repository.preprocessing import Kind

# Far above any metadata, and a bound on what an odd file costs.
_LARGEST_FILE = 16 * 2**20


@attrs.frozen(kw_only=True)
class Share:
    """A crop said as a part of the resized picture's side: timm's ``crop_pct``.

    Attributes:
        part: Above 0, at most 1.
    """

    part: float

    def resize(self, side: int) -> int:
        """Return the length of the side before the crop, in pixels, as timm rounds it."""
        return math.floor(side / self.part)


@attrs.frozen(kw_only=True)
class Claim:
    """One field as one source says it.

    Attributes:
        field: ``"colour"``, ``"scaling"``, ``"size"``, ``"resize"``, ``"interpolation"``, ``"fit"``, ``"scores"`` or
            ``"labels"``.
        value: A colour, a `Scaling`, ``(height, width)``, pixels or a `Share`, a word, or the names of the classes.
        kind: What kind of source it is.
        where: Where it stands there, for people.
        problem: Why it cannot be followed, for a claim that has no usable value; empty otherwise.
    """

    field: str
    value: Any
    kind: Kind
    where: str
    problem: str = ""


@attrs.frozen
class Place:
    """A source whose keys are read, and what its claims say of where they come from.

    Attributes:
        kind: What kind of source it is.
        name: The file's name, or "the ONNX file".
    """

    kind: Kind
    name: str

    def claim(self, field: str, value: object, key: str) -> Claim:
        """Return that the key *key* says *value*."""
        return Claim(field=field, value=value, kind=self.kind, where=f"{key} in {self.name}")

    def unusable(self, field: str, key: str, problem: str) -> Claim:
        """Return that the key *key* is about *field* and cannot be followed."""
        where = f"{key} in {self.name}"
        return Claim(field=field, value=None, kind=self.kind, where=where, problem=f"{where} {problem}")


def read_json(path: Path) -> Any:
    """Return what a JSON file beside a model holds.

    Raises:
        TaskFailure: If it cannot be read or is no JSON.
    """
    advice = "Mend the file, or move the model to a folder without it."
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise TaskFailure(f"{path} is larger than {_LARGEST_FILE // 2**20} MiB, which no such file is. {advice}")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise TaskFailure(
            f"{path}, which stands beside the model, cannot be read: {error.strerror}. {advice}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise TaskFailure(f"{path}, which stands beside the model, is no JSON: {error}. {advice}") from error


def number(value: object, *, least: float = -math.inf) -> float | None:
    """Return a finite number above or at *least*, also one written as a word; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and found >= least else None


def whole(value: object) -> int | None:
    """Return a whole number from 1 on, also one written as a word; None where it is none."""
    found = number(value, least=1)
    return int(found) if found is not None and found == int(found) and found < 2**31 else None


def channels(value: object) -> tuple[float, ...] | None:
    """Return one or three finite numbers; None where *value* is something else."""
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    found = [number(part) for part in values]
    if len(found) not in (1, 3) or None in found:
        return None
    return tuple(part for part in found if part is not None)


def names(value: object) -> tuple[str, ...] | str:
    """Return the names of classes; a problem in words where *value* holds none.

    Args:
        value: A list, a mapping whose keys are 0, 1, 2..., or one from names to such indices, as Keras writes it.
    """
    if isinstance(value, Mapping) and value and all(number(key) is None for key in value):
        indices = list(value.values())
        if all(isinstance(index, int) for index in indices) and len(set(indices)) == len(indices):
            value = dict(zip(indices, value, strict=True))
    if isinstance(value, Mapping):
        by_index: dict[int, object] = {}
        for key, name in value.items():
            index = number(key, least=0)
            if index is None or index != int(index):
                return f"has the key {key!r}, but indices of classes were expected"
            by_index[int(index)] = name
        if sorted(by_index) != list(range(len(by_index))):
            return "leaves indices of classes out"
        value = [by_index[index] for index in range(len(by_index))]
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return "holds no list of names"
    found = []
    for index, name in enumerate(value):
        if not isinstance(name, str | int | float) or isinstance(name, bool):
            return f"has no name for class {index}"
        text = " ".join(str(name).split())
        if not text:
            return f"has a blank name for class {index}"
        found.append(text)
    return tuple(found)
