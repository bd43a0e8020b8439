"""Whether new pods can serve every version that they should, as their agents say."""

from collections.abc import Iterator, Sequence

import attrs

from scripts.cluster.agents import Agents
from scripts.cluster.progress import State
from scripts.cluster.release.rollout import RolloutFailure
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.server import seen

# An agent tries a version that failed again after 5 s. What an image holds does not get better later; a store that was
# away may be back.
IMAGE_PATIENCE_S, PATIENCE_S = 8.0, 60.0


@attrs.define(kw_only=True)
class Served:
    """Asks the agents of new pods: Kubernetes only sees that such a pod is not ready, and never why.

    Attributes:
        agents: Those of the release.
        clock: The time.
    """

    agents: Agents
    clock: Clock
    _since: dict[str, float] = attrs.field(factory=dict, init=False)

    def look(self, states: Sequence[State]) -> None:
        """Look once.

        Raises:
            RolloutFailure: If a version has failed for so long that waiting cannot help.
        """
        now = self.clock.now()
        new = {pod.name for state in states for pod in state.pods if pod.new and not pod.leaving}
        found = dict(self._faults(new)) if new else {}
        self._since = {fault: self._since.get(fault, now) for fault in found}
        if late := [fault for fault, patience_s in found.items() if now - self._since[fault] > patience_s]:
            raise RolloutFailure("\n".join(late))

    def _faults(self, pods: set[str]) -> Iterator[tuple[str, float]]:
        try:
            found = [agent for agent in self.agents.look() if agent.pod in pods]
        except TaskFailure:
            return  # whoever waits for the pods tells that
        for agent in found:
            try:
                state = agent.state()
            except TaskFailure:
                continue  # it has not begun yet, or this login may not ask it
            yield from ((f"pod {agent.pod}: {fault}", patience_s) for fault, patience_s in faults(state))


def faults(state: seen.State) -> Iterator[tuple[str, float]]:
    """Yield what an agent says against the versions of its plan, and for how many seconds that may pass.

    Of a candidate nothing is said, since nobody depends on it.
    """
    for name, model in sorted(state.models.items()):
        if model.fault:
            yield f"{name}: {model.fault}", PATIENCE_S
        for number, one in sorted(model.versions.items()):
            if one.phase == "failed":
                patience_s = IMAGE_PATIENCE_S if one.source == "image" else PATIENCE_S
                yield f"{name} version {number} cannot be served: {one.why}", patience_s
