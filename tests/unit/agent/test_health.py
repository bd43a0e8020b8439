"""Whether the server gets traffic, and what its metrics say."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scripts.agent import metrics
from scripts.agent.errors import AgentError
from scripts.agent.health import DEAD_AFTER_S, Health
from scripts.agent.outcomes import Outcomes
from scripts.agent.plan import ModelPlan, Plan
from scripts.agent.plans import Plans
from scripts.agent.traffics import Traffics
from scripts.agent.triton import AwayError, SilentError
from tests.doubles.disk_agent import World
from tests.doubles.disk_triton import BAD, DiskTriton


class Watch:
    """Looks at the health of a world every ten seconds of a clock of its own."""

    def __init__(self, world: World) -> None:
        self.now = 1000.0
        self.health = Health(follower=world.follower, clock=lambda: self.now)

    def look(self, seconds: float = 10.0) -> str:
        """Look after *seconds*, and return the problem."""
        self.now += seconds
        self.health.look()
        return self.health.problem()


@pytest.fixture
def watch(world: World) -> Watch:
    """Return what looks at the agent's health."""
    return Watch(world)


def silent(monkeypatch: pytest.MonkeyPatch, *, counts: Callable[[], int] = lambda: 0) -> None:
    """Let every question go unanswered, while Triton's own pages answer."""

    def infer(*_: Any, **__: Any) -> bytes:
        raise SilentError("Triton has not answered for 10 s.")

    monkeypatch.setattr(DiskTriton, "infer", infer)
    monkeypatch.setattr(DiskTriton, "successes", lambda *_: {2: (counts(), 0)})


def test_nothing_is_healthy_before_something_is_served(world: World, watch: Watch) -> None:
    """Neither before the first step nor while the model has no version, and the reason is told."""
    assert watch.look() == "nothing is served yet"
    world.publish(3, BAD)
    world.plan(3)
    assert "cars serves no version yet: version 3: it does not load" in watch.look()
    world.plan(1)
    assert watch.look() == ""


def test_a_server_starts_with_its_whole_plan(world: World, watch: Watch) -> None:
    """One version that does not load keeps a new server from traffic; it takes none from a server that has started."""
    world.publish(3, BAD)
    world.plan(1, 3)
    assert watch.look() == ""
    assert watch.health.unstarted().startswith("cars version 3 is failed: it does not load")
    world.plan(1, 2, generation=2)
    assert watch.health.unstarted() == ""
    world.plan(1, 2, 3, generation=3)
    assert watch.health.unstarted() == ""
    assert Watch(world).health.unstarted() == "", "an agent that is started anew knows it"


def test_a_candidate_does_not_keep_a_server_from_starting(world: World, watch: Watch) -> None:
    """Nobody depends on it."""
    world.publish(3, BAD)
    world.plan(1, candidate=3)
    assert watch.health.unstarted() == ""


def test_a_backend_that_hangs_is_found(world: World, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without traffic a real question is asked; unanswered, the server gets none, and after a while it is dead."""
    world.plan(1, 2)
    assert watch.look() == ""
    silent(monkeypatch)
    assert "cars version 2 does not answer" in watch.look()
    assert watch.health.dead() == ""
    watch.look(DEAD_AFTER_S)
    assert "has not answered for" in watch.health.dead()
    monkeypatch.undo()
    assert watch.look(1) == ""
    assert watch.health.dead() == ""


def test_traffic_that_is_answered_proves_enough(world: World, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is busy answering others is asked nothing."""
    world.plan(1, 2)
    counts = iter(range(1, 100))
    silent(monkeypatch, counts=lambda: next(counts))
    assert [watch.look() for _ in range(4)] == [""] * 4


def test_a_triton_that_went_away_and_stays_away_is_dead(world: World, watch: Watch) -> None:
    """What was served once and is served no more has to come back in time."""
    world.plan(1, 2)
    watch.look()
    world.triton.faults.add("away")
    with pytest.raises(AwayError):
        world.plan(1, 2)
    assert "serves no version yet" in watch.look()
    watch.look(DEAD_AFTER_S)
    assert "Triton serves it no more" in watch.health.dead()
    world.triton.faults.clear()
    world.plan(1, 2)
    assert (watch.look(1), watch.health.dead()) == ("", "")


def test_a_slow_triton_is_not_taken_for_a_restarted_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it serves is known on while it does not answer in time."""
    world.plan(1, 2)

    def ready(_: object) -> dict[str, set[int]]:
        raise SilentError("Triton has not answered for 10 s.")

    monkeypatch.setattr(DiskTriton, "ready", ready)
    with pytest.raises(AgentError):
        world.plan(1, 2)
    assert world.follower.models["cars"].stable == 2


def test_the_metrics_are_prometheus_text(world: World, watch: Watch, tmp_path: Any) -> None:
    """Each version's phase stands there, and whether the plan is settled."""
    plans = Plans(kept=tmp_path / "plan.json")
    plans.post(Plan(models={"cars": ModelPlan(serve=(1, 2), candidate=9)}, generation=12_345_678))
    world.follower.step(plans.current)
    traffics = Traffics(kept=tmp_path / "traffic", say=world.said.append)
    page = metrics.text(world.follower, plans, traffics, Outcomes(), watch.health)
    found = {
        (sample.name, sample.labels.get("version"), sample.labels.get("phase")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert found["triton_agent_plan_generation", None, None] == 12_345_678
    assert found["triton_agent_settled", None, None] == 0
    assert found["triton_agent_healthy", None, None] == 1
    assert found["triton_agent_version_phase", "2", "serving"] == 1
    assert found["triton_agent_version_phase", "9", "failed"] == 1
