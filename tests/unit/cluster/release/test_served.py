"""What the agents of new pods say against a deployment."""

import attrs
import pytest

from scripts.cluster.agents import Agents
from scripts.cluster.pod_agent import PodAgent
from scripts.cluster.progress import PodState, State
from scripts.cluster.release.rollout import RolloutFailure
from scripts.cluster.release.served import IMAGE_PATIENCE_S, PATIENCE_S, Served
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.server import seen
from tests.doubles import scripted
from tests.doubles.cluster import TARGET, Cluster
from tests.unit.versions.test_change import state

GOOD = state(2, 3)


def failing(phase: str = "failed", *, candidate: bool = False, source: str = "image") -> seen.State:
    """Return what an agent says whose newest version, or whose candidate, is in *phase*."""
    cars = GOOD.models["cars"]
    bad = attrs.evolve(cars.versions[3], phase=phase, why="it does not load", source=source)
    changed = {"candidate": (4, bad)} if candidate else {"versions": {**cars.versions, 3: bad}}
    return attrs.evolve(GOOD, models={"cars": attrs.evolve(cars, **changed)})


def rollout(*, new: bool = True) -> list[State]:
    """Return a Deployment of one pod."""
    pod = PodState(name="a", new=new, leaving=False, ready=False, node="n", doing="starting", trouble=None)
    counts = {"wanted": 1, "ready": 0, "serving": 0, "available": 0}
    return [State(name="t", **counts, renewed=False, whole=False, proven=False, pods=[pod], trouble=())]


class World:
    """A pod whose agent says what it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, says: seen.State | None) -> None:
        self.says = says
        self.time = scripted.Clock()
        agents = Agents(kubectl=Cluster({}).kubectl, target=TARGET, progress=lambda _: None, forward=lambda *_: None)  # type: ignore[arg-type]
        monkeypatch.setattr(Agents, "look", lambda _: [PodAgent.out_of_reach("a", "")])
        monkeypatch.setattr(PodAgent, "state", lambda _: self.told())
        self.served = Served(agents=agents, clock=Clock(now=self.time, sleep=self.time.sleep))

    def told(self) -> seen.State:
        """Return what the agent says, if it answers."""
        if self.says is None:
            raise TaskFailure("The agent of pod a gives no answer.")
        return self.says

    def look(self, *, after: float = 0.0, new: bool = True) -> None:
        """Look at the pod *after* some seconds."""
        self.time.now += after
        self.served.look(rollout(new=new))


@pytest.mark.parametrize(("source", "patience_s"), [("image", IMAGE_PATIENCE_S), ("store", PATIENCE_S)])
def test_a_version_that_does_not_load_ends_the_waiting(
    monkeypatch: pytest.MonkeyPatch, source: str, patience_s: float
) -> None:
    """After the agent has tried it again, and with its word for it; a store may come back."""
    world = World(monkeypatch, failing(source=source))
    world.look()
    world.look(after=patience_s)
    with pytest.raises(RolloutFailure, match="pod a: cars version 3 cannot be served: it does not load"):
        world.look(after=1)


def test_a_model_that_is_wrong_as_a_whole_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fault is told."""
    cars = attrs.evolve(GOOD.models["cars"], fault="its config.pbtxt cannot be read")
    world = World(monkeypatch, attrs.evolve(GOOD, models={"cars": cars}))
    world.look()
    with pytest.raises(RolloutFailure, match=r"pod a: cars: its config\.pbtxt cannot be read"):
        world.look(after=PATIENCE_S + 1)


def test_what_works_at_a_later_try_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time counts anew when it fails again."""
    world = World(monkeypatch, failing())
    world.look()
    world.says = failing("loading")
    world.look(after=IMAGE_PATIENCE_S)
    world.says = failing()
    world.look(after=IMAGE_PATIENCE_S)
    world.look(after=IMAGE_PATIENCE_S)


@pytest.mark.parametrize("says", [GOOD, failing("fetching"), failing(candidate=True), None])
def test_the_rest_is_no_reason_to_give_up(monkeypatch: pytest.MonkeyPatch, says: seen.State | None) -> None:
    """What is on its way, a candidate, on which nobody depends, and an agent that does not answer."""
    world = World(monkeypatch, says)
    for _ in range(5):
        world.look(after=PATIENCE_S)


def test_pods_that_are_about_to_go_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deployment may be what mends them."""
    world = World(monkeypatch, failing())
    for _ in range(5):
        world.look(after=PATIENCE_S, new=False)
