"""How far a pod follows the serving plan of its release, as its agent says."""

from typing import Literal, Self

import attrs

from scripts.agent.plan import Plan
from scripts.server.seen import State


@attrs.frozen(kw_only=True)
class Follows:
    """How far a pod follows the plan.

    Attributes:
        generation: Which plan it follows.
        planned: Whether that is the release's.
        settled: Whether it serves just what that plan says.
        troubles: What is wrong, a sentence for each.
    """

    generation: int
    planned: bool
    settled: bool
    troubles: tuple[str, ...]

    @classmethod
    def of(cls, state: State, plan: Plan) -> Self:
        """Return what an agent's *state* says, measured by the release's *plan*."""
        troubles = [each for each in (state.problem, state.restart_needed) if each]
        for name, model in sorted(state.models.items()):
            troubles += [f"{name}: {model.fault}"] if model.fault else []
            candidate = [model.candidate] if model.candidate else []
            for number, one in (*sorted(model.versions.items()), *candidate):
                if one.phase == "failed":
                    troubles.append(f"{name} {number}: {one.why}")
        return cls(
            generation=state.plan.generation,
            planned=state.plan.digest == plan.digest,
            settled=state.settled,
            troubles=tuple(troubles),
        )

    @property
    def mark(self) -> Literal["ok", "warning", "failed"]:
        """How good that is."""
        if self.planned and self.settled and not self.troubles:
            return "ok"
        return "failed" if self.troubles else "warning"

    def __str__(self) -> str:
        if not self.planned:
            said = f"follows another plan, of generation {self.generation}; the release's reaches it within two minutes"
        else:
            said = f"serves generation {self.generation}" if self.settled else f"is on its way to {self.generation}"
        return "; ".join((said, *self.troubles))
