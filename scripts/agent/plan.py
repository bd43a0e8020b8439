"""The serving plan: which versions of which model are served, and which one is a candidate."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from scripts.agent.errors import PlanError

SCHEMA = 1
CANDIDATE = ".candidate"
# A version is tried under this name before it joins its model, so that nobody who asks for the model meets it.
TRIAL = ".trial"
# A plan of more bytes is none: a hundred models with a hundred versions each take a tenth of it.
LARGEST = 2**20
_LARGEST_NUMBER = 2**31 - 1
# What a folder, a URL, a metric's label and a shell take unquoted. The candidate's name is longer, and 64 is the limit.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,53}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """What one model serves.

    Attributes:
        serve: The versions that callers get, in order; whoever names none gets the highest. Empty: all that the image
            has.
        candidate: The version that is loaded as a model of its own; None: none is.
        digests: The digest of the bytes that a version must have, by version; what is not named may have any.
    """

    serve: tuple[int, ...] = ()
    candidate: int | None = None
    digests: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one server serves.

    Attributes:
        models: The plan of each model, by name. A model that is not named serves what the image has.
        generation: Grows with each change; of two plans the one with the higher number is the later one.
    """

    models: Mapping[str, ModelPlan] = field(default_factory=dict)
    generation: int = 0

    @property
    def digest(self) -> str:
        """What names this plan's content, whatever its generation: SHA-256 in hexadecimal."""
        models = self.to_dict()["models"]
        return hashlib.sha256(json.dumps(models, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-like data."""
        return {
            "schema": SCHEMA,
            "generation": self.generation,
            "models": {
                name: {
                    "serve": list(model.serve),
                    "candidate": model.candidate,
                    "digests": {str(version): digest for version, digest in sorted(model.digests.items())},
                }
                for name, model in sorted(self.models.items())
            },
        }

    def to_json(self) -> str:
        """Return the text of the plan."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read a plan.

        Raises:
            PlanError: If it is none; the message names everything that is wrong.
        """
        data = read_object(text)
        faults = [f"{key!r} is not known" for key in data if key not in ("schema", "generation", "models", "after")]
        generation = data.get("generation", 0)
        if not is_number(generation, least=0):
            faults.append(f"generation is {generation!r}, not a whole number from 0 on")
        models = data.get("models")
        if not isinstance(models, dict):
            raise PlanError("; ".join([*faults, "models is not a JSON object"]) + ".")
        read = {name: _model(name, value, faults) for name, value in models.items()}
        if faults:
            raise PlanError(f"The plan cannot be followed: {'; '.join(faults)}.")
        return cls(models=read, generation=generation)


def read_object(text: str | bytes, *, what: str = "plan") -> dict[str, Any]:
    """Return the JSON object of a plan of either kind, or of *what* else is posted.

    Raises:
        PlanError: If *text* is none, or is too long.
    """
    if len(text) > LARGEST:
        raise PlanError(f"The {what} has more than {LARGEST} bytes.")
    try:
        data = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"The {what} is not JSON: {error}.") from error
    if not isinstance(data, dict):
        raise PlanError(f"The {what} is not a JSON object.")
    if data.get("schema") != SCHEMA:
        raise PlanError(f"The {what} has schema {data.get('schema')!r}; this agent reads {SCHEMA}.")
    return data


def is_model_name(name: str) -> bool:
    """Return whether *name* can name a model and leave room for its candidate's name."""
    return _NAME.fullmatch(name) is not None and not name.endswith((CANDIDATE, TRIAL))


def is_version(name: str) -> bool:
    """Return whether a folder of this name is a version: a positive whole number without a zero in front."""
    return name.isascii() and name.isdigit() and not name.startswith("0") and int(name) <= _LARGEST_NUMBER


def is_number(value: object, *, least: int) -> bool:
    """Return whether *value* is a whole number from *least* that a version may have."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= _LARGEST_NUMBER


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return *pairs* as a dictionary; a key that stands there twice has no meaning."""
    data = dict(pairs)
    if len(data) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} stands there twice")
    return data


def _model(name: str, data: object, faults: list[str]) -> ModelPlan:
    """Read one model's part, and add what is wrong with it to *faults*."""
    if not is_model_name(name):
        faults.append(f"{name!r} cannot name a model")
    if not isinstance(data, dict):
        faults.append(f"{name}: {data!r} is not a JSON object")
        return ModelPlan()
    faults += [f"{name}: {key!r} is not known" for key in data if key not in ("serve", "candidate", "digests")]
    serve, candidate, digests = data.get("serve") or [], data.get("candidate"), data.get("digests") or {}
    if not isinstance(serve, list) or not all(is_number(version, least=1) for version in serve):
        faults.append(f"{name}: serve is {serve!r}, not a list of versions")
        serve = []
    if candidate is not None and not is_number(candidate, least=1):
        faults.append(f"{name}: candidate is {candidate!r}, not a version")
        candidate = None
    if not isinstance(digests, dict) or not all(
        is_version(version) and isinstance(digest, str) and _DIGEST.fullmatch(digest)
        for version, digest in digests.items()
    ):
        faults.append(f"{name}: digests is {digests!r}, not SHA-256 digests by version")
        digests = {}
    return ModelPlan(
        serve=tuple(sorted(set(serve))),
        candidate=candidate,
        digests={int(version): digest for version, digest in digests.items()},
    )
