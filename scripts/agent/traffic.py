"""The traffic plan of a model: which share of the calls goes to which version, for clients that follow it."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from scripts.agent.errors import PlanError
from scripts.agent.plan import SCHEMA, is_number, is_version, read_object

MOST_ROUTES = 16
# Beyond any use, so that no sum or ratio of weights overflows or vanishes.
_LARGEST_WEIGHT, _LEAST_WEIGHT = 1e9, 1e-9
# So far ahead a plan may end; what is to last longer is promoted.
LONGEST = timedelta(days=31)
_KNOWN = ("schema", "model", "generation", "after", "routes", "candidate", "shadow", "expires", "now", "in_force")


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Whom the calls of one model go to.

    Attributes:
        model: The model's name.
        routes: The weight of each version; where all are 0 or there is none, the stable version answers all calls.
        candidate: The version that is asked as the model of the candidate; None: there is none.
        shadow: The version that is asked beside the one that answers, and the share of the calls from 0 to 1; None:
            none is.
        expires: When the plan is over, and the stable version answers again; None: only where it has no routes.
        generation: Grows with each change; of two plans the one with the higher number is the later one.
    """

    model: str
    routes: Mapping[int, float] = field(default_factory=dict)
    candidate: int | None = None
    shadow: tuple[int, float] | None = None
    expires: datetime | None = None
    generation: int = 0

    @property
    def digest(self) -> str:
        """What names this plan's content, whatever its generation: SHA-256 in hexadecimal."""
        content = {**self.to_dict(), "generation": None}
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def asked(self) -> set[int]:
        """The versions that calls go to, that of the shadow too."""
        shadow = {self.shadow[0]} if self.shadow and self.shadow[1] else set()
        return {version for version, weight in self.routes.items() if weight} | shadow

    def is_over(self, now: datetime) -> bool:
        """Return whether the stable version answers all calls by now."""
        return not self.asked or self.expires is None or self.expires <= now

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-like data."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "generation": self.generation,
            "routes": {str(version): weight for version, weight in sorted(self.routes.items())},
            "candidate": self.candidate,
            "shadow": self.shadow and {"version": self.shadow[0], "fraction": self.shadow[1]},
            "expires": self.expires and to_text(self.expires),
        }

    def to_json(self) -> str:
        """Return the text of the plan."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def parse(cls, text: str | bytes, *, model: str) -> Self:
        """Read a plan for *model*.

        Raises:
            PlanError: If it is none; the message names everything that is wrong.
        """
        data = read_object(text)
        faults = [f"{key!r} is not known" for key in data if key not in _KNOWN]
        if data.get("model") != model:
            faults.append(f"it is for model {data.get('model')!r}, not for {model!r}")
        generation, candidate = data.get("generation", 0), data.get("candidate")
        if not is_number(generation, least=0):
            faults.append(f"generation is {generation!r}, not a whole number from 0 on")
        if candidate is not None and not is_number(candidate, least=1):
            faults.append(f"candidate is {candidate!r}, not a version")
        routes, shadow = _routes(data.get("routes"), faults), _shadow(data.get("shadow"), faults)
        expires = _time(data.get("expires"), faults)
        plan = cls(
            model=model, routes=routes, candidate=candidate, shadow=shadow, expires=expires, generation=generation
        )
        if plan.asked and data.get("expires") is None:
            faults.append("expires is missing: a plan has to end by itself, when nobody is there to end it")
        if faults:
            raise PlanError(f"The traffic plan cannot be followed: {'; '.join(faults)}.")
        return plan


def to_text(time: datetime) -> str:
    """Return *time* in UTC as plans have it: ``"2030-01-31T12:00:00Z"``."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _routes(data: Any, faults: list[str]) -> dict[int, float]:
    if not isinstance(data, dict) or len(data) > MOST_ROUTES:
        faults.append(f"routes is {data!r:.100}, not a weight for each version, {MOST_ROUTES} at most")
        return {}
    faults += [f"{name!r:.100} in routes is not a version" for name in data if not is_version(name)]
    for name, weight in data.items():
        if not _is_part(weight, most=_LARGEST_WEIGHT) or 0 < weight < _LEAST_WEIGHT:
            faults.append(f"the weight of version {name:.20} is {weight!r:.100}, not a number from 0 on")
    return {} if faults else {int(name): weight for name, weight in data.items()}


def _shadow(data: Any, faults: list[str]) -> tuple[int, float] | None:
    if data is None:
        return None
    known = isinstance(data, dict) and data.keys() == {"version", "fraction"}
    if not known or not is_number(data["version"], least=1) or not _is_part(data["fraction"], most=1):
        faults.append(f"shadow is {data!r:.100}, not a version and a fraction from 0 to 1")
        return None
    return data["version"], data["fraction"]


def _time(data: Any, faults: list[str]) -> datetime | None:
    if data is None:
        return None
    try:
        time = datetime.fromisoformat(data)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    faults.append(f"expires is {data!r:.100}, not a time such as 2030-01-31T12:00:00Z")
    return None


def _is_part(value: object, *, most: float) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value <= most and math.isfinite(value)  # type: ignore[operator, arg-type]
