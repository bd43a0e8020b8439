"""How a canary goes about it: its steps, and what ends it. canary.toml says so; without one the same holds."""

import itertools
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs

from scripts.canary.limits import Limits
from scripts.host.errors import TaskFailure
from scripts.host.root import ROOT

FILE = ROOT / "canary.toml"
MOST_STEPS = 20
# What a number may be: the least, the most, and whether it has to be whole.
_RULES: Mapping[str, tuple[float, float, bool]] = {
    "every": (0.5, 60, False),
    "expires": (10, 3600, False),
    "shadow": (0, 1, False),
}
_STEP: Mapping[str, tuple[float, float, bool]] = {
    "share": (0.0001, 0.99, False),
    "calls": (1, 10_000_000, True),
    "seconds": (0, 604_800, False),
}
_LIMITS: Mapping[str, tuple[float, float, bool]] = {
    "alpha": (0.0001, 0.2, False),
    "slower": (1.01, 10, False),
    "most_disagreement": (0, 1, False),
    "least_sure": (1, 1_000_000, True),
    "hard_share": (0.01, 1, False),
    "hard_calls": (5, 100_000, True),
    "hard_looks": (1, 100, True),
    "calibration": (100, 1_000_000, True),
}
# Before a plan is over it is renewed, and some looks may fail.
_LOOKS = 4


@attrs.frozen(kw_only=True)
class Step:
    """A share of the calls, and what has to be seen at it.

    Attributes:
        share: The share that goes to the new version, from 0 to 1.
        calls: At least so many calls of the new version.
        seconds: For at least so long.
    """

    share: float
    calls: int
    seconds: float


STEPS = (
    Step(share=0.01, calls=100, seconds=60),
    Step(share=0.1, calls=300, seconds=120),
    Step(share=0.5, calls=1000, seconds=300),
)


@attrs.frozen(kw_only=True)
class Settings:
    """All of it.

    Attributes:
        steps: One after the other; their shares grow.
        every: Seconds between two looks.
        expires: A plan that nobody renews is over after so many seconds.
        shadow: For this share of the calls the new version is asked as well, for the comparison alone.
        limits: What the judge goes by.
    """

    steps: tuple[Step, ...] = STEPS
    every: float = 3.0
    expires: float = 180.0
    shadow: float = 0.1
    limits: Limits = attrs.field(factory=lambda: Limits(most_disagreement=0.02))

    @classmethod
    def read(cls, path: Path | None) -> Self:
        """Read *path*; None: canary.toml of this folder, and the defaults where there is none.

        Raises:
            TaskFailure: If it cannot be read, or says what cannot be; the message names all of that.
        """
        try:
            text = (path or FILE).read_text(encoding="utf-8")
        except FileNotFoundError:
            if path is None:
                return cls()
            raise TaskFailure(f"--config {path}: there is no such file.") from None
        except (OSError, ValueError) as error:
            raise TaskFailure(f"{path or FILE} cannot be read: {error}") from error
        return cls.parse(text, where=str(path or FILE.name))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return what `attrs.asdict` gave, for another program that has no such file."""
        steps = tuple(Step(**step) for step in data["steps"])
        return cls(**{**data, "steps": steps, "limits": Limits(**data["limits"])})

    @classmethod
    def parse(cls, text: str, *, where: str) -> Self:
        """Read the text of a file; *where* names it in messages.

        Raises:
            TaskFailure: If it says what cannot be; the message names all of that.
        """
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise TaskFailure(f"{where} is not TOML: {error}") from error
        faults: list[str] = []
        given = _numbers(data, _RULES, "", faults, others=("steps", "limits"))
        limits = _numbers(_table(data, "limits", faults), _LIMITS, "limits.", faults)
        if limits.get("most_disagreement") == 1 or given.get("shadow") == 0:  # nothing can be, or is seen to be, beyond
            limits["most_disagreement"] = None
        steps = _steps(data.get("steps"), faults)
        if not faults and (expires := given.get("expires", 180.0)) < _LOOKS * given.get("every", 3.0):
            faults.append(f"expires is {expires:g}, and it has to be {_LOOKS} times as long as every at least")
        if faults:
            raise TaskFailure(f"{where} cannot be used: {'; '.join(faults)}.")
        made = cls()
        return attrs.evolve(made, steps=steps or made.steps, limits=attrs.evolve(made.limits, **limits), **given)


def _steps(data: Any, faults: list[str]) -> tuple[Step, ...]:
    """Return the steps that *data* says; none where it says nothing, or something is wrong."""
    if data is None:
        return ()
    if not isinstance(data, list) or not 0 < len(data) <= MOST_STEPS or not all(isinstance(one, dict) for one in data):
        faults.append(f"steps has to be 1 to {MOST_STEPS} tables, [[steps]] before each")
        return ()
    found = []
    for number, one in enumerate(data, 1):
        values = _numbers(one, _STEP, f"step {number}: ", faults)
        if missing := [name for name in _STEP if name not in one]:
            faults.append(f"step {number}: {', '.join(missing)} is missing")
        if len(values) == len(_STEP):
            found.append(Step(**values))
    if any(not before.share < after.share for before, after in itertools.pairwise(found)):
        faults.append("the share has to grow from step to step")
    return () if faults else tuple(found)


def _table(data: Mapping[str, Any], name: str, faults: list[str]) -> Mapping[str, Any]:
    found = data.get(name, {})
    if isinstance(found, dict):
        return found
    faults.append(f"{name} has to be a table, [{name}]")
    return {}


def _numbers(
    data: Mapping[str, Any],
    rules: Mapping[str, tuple[float, float, bool]],
    before: str,
    faults: list[str],
    *,
    others: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return the numbers of *data* that the rules allow."""
    found = {}
    for name, value in data.items():
        if name in others:
            continue
        if name not in rules:
            faults.append(f"{before}{name} is not known (known: {', '.join((*rules, *others))})")
            continue
        least, most, whole = rules[name]
        kind = int if whole else int | float
        if isinstance(value, bool) or not isinstance(value, kind) or not least <= value <= most or math.isnan(value):
            what = "a whole number" if whole else "a number"
            faults.append(f"{before}{name} is {value!r:.40}, and it has to be {what} from {least:g} to {most:,g}")
            continue
        found[name] = value if whole else float(value)
    return found
