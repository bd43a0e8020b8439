"""Calls that a version refused as their callers' fault.

They count for neither side, for one caller who sends what is no image would tell against whichever version he is sent
to. But if a candidate refuses what the stable version takes, the fault is its own: many kinds of errors within a model
come as INVALID_ARGUMENT too.
"""

import attrs

from scripts.agent.outcomes import INVALID, Tally
from scripts.canary.limits import Limits

# So many shadowed calls, which the other version has answered, and such a share of all of them.
_SHADOWED, _SHARE = 10, 0.02


@attrs.define
class Refusals:
    """Adds them up; a run that goes on with an earlier one begins anew.

    Attributes:
        limits: What the judge goes by; its hard stop holds here too.
        stable: Calls of the stable version, and how many of them it refused.
        candidate: The same of the candidate.
        looks: In how many looks the candidate has refused some.
        shadows: How many shadowed calls the candidate was asked, and how many of them it refused.
        shadow_looks: In how many looks it has refused some of those.
    """

    limits: Limits
    stable: tuple[int, int] = (0, 0)
    candidate: tuple[int, int] = (0, 0)
    looks: int = 0
    shadows: tuple[int, int] = (0, 0)
    shadow_looks: int = 0

    def look(self, stable: Tally, candidate: Tally) -> str | None:
        """Add a look; return in sentences why the canary is to be ended, if it is."""
        self.stable = _plus(self.stable, stable.calls, stable.failures[INVALID])
        self.candidate = _plus(self.candidate, candidate.calls, candidate.failures[INVALID])
        self.looks += candidate.failures[INVALID] > 0
        asked = candidate.shadow["images"] + candidate.shadow_failures.total()
        self.shadows = _plus(self.shadows, asked, candidate.shadow_failures[INVALID])
        self.shadow_looks += candidate.shadow_failures[INVALID] > 0
        (calls, refused), (others, by_other) = self.candidate, self.stable
        often = calls >= self.limits.hard_calls and refused > self.limits.hard_share * calls
        if often and self.looks >= self.limits.hard_looks and 3 * by_other * calls < refused * max(others, 1):
            return (
                f"The candidate refused {refused:,} of {calls:,} calls as their callers' fault, and the stable version "
                f"{by_other:,} of {others:,}. Does it take other inputs? If that is one caller who sends what is no "
                "image, try again."
            )
        asked, refused = self.shadows
        if refused >= _SHADOWED and refused > _SHARE * asked and self.shadow_looks >= self.limits.hard_looks:
            return (
                f"The candidate refused {refused:,} of {asked:,} shadowed calls as their callers' fault, and the "
                "version beside it answered them. Does it take other inputs?"
            )
        return None


def _plus(known: tuple[int, int], calls: int, refused: int) -> tuple[int, int]:
    return known[0] + calls, known[1] + refused
