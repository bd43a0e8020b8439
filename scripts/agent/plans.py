"""Which serving plan is followed, and what each model's part was before its last change."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scripts.agent.kept import Kept, write
from scripts.agent.plan import ModelPlan, Plan

# Where in the agent's work folder the plan that it follows is kept.
PLAN = "plan.json"


@dataclass(kw_only=True)
class Plans(Kept[Plan]):
    """The serving plan that is followed.

    Attributes:
        before: The part of each model that was changed, as it was before the last change of what it serves: a candidate
            comes and goes, and nobody goes back to one.
    """

    parse: Callable[[bytes], Plan] = Plan.parse
    current: Plan = field(default_factory=Plan)
    before: Plan = field(default_factory=Plan)

    def open(self) -> None:
        """Take up the plan that an earlier run followed, and that of the file.

        Raises:
            AgentError: If the plan that was kept cannot be read.
        """
        self.before = self._read(self._kept_before) or Plan()
        super().open()

    @property
    def _kept_before(self) -> Path:
        return self.kept.with_name(f"{self.kept.name}.before")

    def _keep(self, plan: Plan) -> None:
        """Follow *plan*, now and after a restart."""
        if plan != self.current or not self.kept.exists():
            changed = {
                name: self.current.models.get(name, ModelPlan())
                for name in {*plan.models, *self.current.models}
                if plan.models.get(name, ModelPlan()).serve != self.current.models.get(name, ModelPlan()).serve
            }
            before = Plan(models={**self.before.models, **changed})
            write(self._kept_before, before)
            super()._keep(plan)
            self.before = before
        self.current = plan
