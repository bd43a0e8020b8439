"""How a pod gets a plan."""

from pathlib import Path
from typing import cast

from scripts.agent.plan import ModelPlan, Plan
from scripts.cluster.pod_agent import PodAgent
from scripts.server.endpoint import Answer
from scripts.server.seen import State
from scripts.versions.giving import Giving
from tests.doubles.disk_agent import two_versions
from tests.unit.versions.test_roll import InProcess


class Overtaken:
    """A pod that somebody gives a later plan between a look and the next word."""

    pod = "pod"

    def __init__(self, root: Path) -> None:
        self.inside = InProcess(pod=two_versions(root))

    def state(self) -> State:
        """Return what it says, and let somebody else be faster."""
        state = self.inside.state()
        self.inside.follow(Plan(models={"cars": ModelPlan(serve=(1,))}, generation=5), after=0)
        return state

    def post(self, plan: Plan) -> Answer:
        """Take no earlier plan."""
        status, body = self.inside.apis["pod"].take(plan.to_json().encode())
        return Answer(status=int(status), body=body)


def test_a_pod_that_has_got_a_later_plan_keeps_it(tmp_path: Path) -> None:
    """Whether that one says something else, the next look shows: here it is no failure."""
    said: list[str] = []
    pod = Overtaken(tmp_path)
    Giving(said.append, Plan(generation=4)).ask(cast(PodAgent, pod))
    assert (pod.inside.state().plan.generation, said) == (5, [])
