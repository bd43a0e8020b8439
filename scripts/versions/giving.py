"""A plan on its way to the pods of a release: each gets it when it is asked for the first time after that."""

from collections.abc import Callable, Sequence

import attrs

from scripts.agent.plan import Plan
from scripts.cluster.pod_agent import PodAgent
from scripts.host.errors import TaskFailure
from scripts.server.seen import State

# How an agent answers who has no key, or one that it does not take; and where it follows a later plan.
_CLOSED, _LATER = (401, 403), 409


def together(states: Sequence[State], plan: Plan, *, release: str) -> State:
    """Return what stands for all pods of a release: its plan, and what the first of them serves.

    Raises:
        TaskFailure: If there is no pod.
    """
    if not states:
        raise TaskFailure(f"No pod of the {release} runs, and none can follow a plan: `invoke status` says more.")
    # A plan that somebody posted to a pod by hand has a higher number than the release's.
    latest = max(plan.generation, *(state.plan.generation for state in states))
    return attrs.evolve(states[0], plan=Plan(models=plan.models, generation=latest), before=Plan())


@attrs.define
class Giving:
    """Gives pods the plan.

    Attributes:
        progress: Takes a line where something is worth knowing.
        plan: The plan; None: there is none to be given.
    """

    progress: Callable[[str], None]
    plan: Plan | None = None
    _closed: bool = attrs.field(default=False, init=False)

    def ask(self, agent: PodAgent) -> State:
        """Return what a pod serves; one that does not know the plan yet gets it.

        Raises:
            TaskFailure: If it does not answer.
        """
        state, plan = agent.state(), self.plan
        if plan is not None and state.plan.generation < plan.generation and not self._closed:
            self._post(agent, plan)
        return state

    def _post(self, agent: PodAgent, plan: Plan) -> None:
        """Give a pod the plan; one that cannot be asked now is given it when it can."""
        try:
            answer = agent.post(plan)
        except TaskFailure:
            return
        if answer.status in _CLOSED:
            if not self._closed:
                said = f"Note: pod {agent.pod} takes no plan from here ({answer})."
                self.progress(f"{said} Kubernetes brings it to the pods in a minute or two")
            self._closed = True
        elif answer.status not in (200, _LATER):  # which plan is the later one, the next look shows
            self.progress(f"Note: pod {agent.pod} does not take the plan: {answer}")
