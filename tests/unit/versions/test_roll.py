"""A change is followed by every server, or put back on all."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from scripts.agent.errors import AgentError
from scripts.agent.health import Health
from scripts.agent.outcomes import Outcomes
from scripts.agent.pace import Pace
from scripts.agent.plan import ModelPlan, Plan
from scripts.agent.plans import Plans
from scripts.agent.server import Api
from scripts.agent.traffics import Traffics
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.server.seen import State
from scripts.versions import change
from scripts.versions.roll import Roll
from scripts.versions.target import OvertakenError
from tests.doubles.disk_agent import World, agent
from tests.doubles.disk_triton import BAD, GOOD, WRONG


class InProcess:
    """A target of agents without processes, which take a step whenever time passes.

    Attributes:
        name: Its name.
        worlds: Its agents, by name.
        away: The names of those that do not answer.
    """

    name = "here"

    def __init__(self, **worlds: World) -> None:
        self.worlds = worlds
        self.away: set[str] = set()
        self.now = 0.0
        self.apis: dict[str, Api] = {}
        for name, world in worlds.items():
            plans = Plans(kept=world.root / "work" / "plan.json")
            health = Health(follower=world.follower)
            self.apis[name] = Api(
                follower=world.follower,
                plans=plans,
                traffics=Traffics(kept=world.root / "work" / "traffic", say=world.said.append),
                outcomes=Outcomes(),
                health=health,
                pace=Pace(triton=world.triton),
                key="",
                open=True,
                changed=lambda: None,
            )
            self.sleep(0)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        for name, api in self.apis.items():
            if name not in self.away:
                try:
                    api.follower.step(api.plans.current)
                except AgentError:
                    continue

    def state_of(self, name: str) -> State:
        """Ask one agent."""
        if name in self.away:
            raise TaskFailure(f"No answer from {name}.")
        return State.from_dict(self.apis[name].state(), where=name)

    def state(self) -> State:
        """Ask the first."""
        return self.state_of(next(iter(self.apis)))

    def follow(self, plan: Plan, *, after: int) -> Plan:
        """Give the plan to all that answer."""
        for name, api in self.apis.items():
            if name not in self.away:
                api.plans.post(plan, after=after)
        return plan

    def servers(self) -> Sequence[tuple[str, Callable[[], State]]]:
        """Return all of them."""
        return [(name, lambda name=name: self.state_of(name)) for name in self.apis]  # type: ignore[misc]

    def roll(self, *, timeout_s: float = 60.0) -> Roll:
        """Return a change of the model ``cars``."""
        clock = Clock(now=lambda: self.now, sleep=self.sleep)
        said: list[str] = []
        return Roll(target=self, model="cars", was=self.state(), timeout_s=timeout_s, progress=said.append, clock=clock)

    def served(self) -> list[set[int]]:
        """Return the versions of ``cars`` that each server serves."""
        return [world.triton.loaded["cars"] for world in self.worlds.values()]


def promoted(target: InProcess, version: int) -> Plan:
    """Return the plan with *version* promoted."""
    return change.promoted(target.state(), "cars", version, keep=1, digest=None)


def sibling(world: World, folders: pytest.TempPathFactory) -> World:
    """Return another agent with the image and the store of *world*."""
    root = folders.mktemp("other")
    for name in ("image", "store"):
        (root / name).symlink_to(world.root / name)
    return agent(root)


def test_a_version_is_promoted_and_rolled_back(world: World) -> None:
    """The rows tell where it came from and what went."""
    world.publish(3)
    target = InProcess(one=world)
    rows = target.roll().to(promoted(target, 3)).rows
    assert target.served() == [{2, 3}]
    assert [(row[1], row[2], row[-1]) for row in rows] == [
        ("2", "image", "served"),
        ("3", "store", "callers who name none get it"),
        ("1", "", "dropped"),
    ]
    done = target.roll().to(change.rolled_back(target.state(), "cars", to=None))
    assert done.switched_s <= done.seconds
    assert target.served() == [{1, 2}]
    assert [(row[1], row[-1]) for row in done.rows] == [
        ("1", "served"),
        ("2", "callers who name none get it"),
        ("3", "dropped"),
    ]


@pytest.mark.parametrize(("model", "why"), [(BAD, "does not load"), (WRONG, "its numbers are wrong")])
def test_a_bad_version_is_put_back(world: World, model: bytes, why: str) -> None:
    """What was served is served, by a plan that names it, and the message says why."""
    world.publish(3, model)
    target = InProcess(one=world)
    with pytest.raises(TaskFailure, match=rf"one cannot serve version 3 of cars: .*{why}.*Everything is put back"):
        target.roll().to(promoted(target, 3))
    assert target.served() == [{1, 2}]
    assert (target.state().plan.models["cars"].serve, target.state().plan.generation) == ((1, 2), 2)
    assert target.state().models["cars"].fault is None


def test_one_server_that_cannot_takes_all_of_them_back(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The version has loaded on one of two; both serve what they served before."""
    world.publish(3)
    second = sibling(world, tmp_path_factory)
    second.triton.broken.add(("cars", 3))
    target = InProcess(one=world, two=second)
    with pytest.raises(TaskFailure, match="two cannot serve version 3"):
        target.roll().to(promoted(target, 3))
    assert target.served() == [{1, 2}, {1, 2}]


def test_a_server_that_goes_away_takes_all_of_them_back(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It is waited for a while, since its agent may be starting anew; the others are put back."""
    world.publish(3)
    target = InProcess(one=world, two=sibling(world, tmp_path_factory))
    roll, plan = target.roll(), promoted(target, 3)
    target.away.add("two")
    with pytest.raises(TaskFailure, match=r"two does not answer: .*Whether two serves it is not known"):
        roll.to(plan)
    assert target.now >= 30
    assert target.served()[0] == {1, 2}


def test_a_server_that_ends_is_waited_for_no_more(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its successor, which has come meanwhile, is waited for instead."""
    world.publish(3)
    target = InProcess(one=world, two=sibling(world, tmp_path_factory))
    roll, plan = target.roll(), promoted(target, 3)
    target.away.add("two")
    successor = InProcess(three=sibling(world, tmp_path_factory))

    def sleep(seconds: float) -> None:
        target.sleep(seconds)
        if "two" in target.apis and target.now > 5:
            del target.apis["two"], target.worlds["two"]
            target.apis |= successor.apis
            target.worlds |= successor.worlds
            target.apis["three"].plans.post(plan)

    done = attrs.evolve(roll, clock=Clock(now=lambda: target.now, sleep=sleep)).to(plan)
    assert {row[0] for row in done.rows} == {"one", "three"}
    assert target.served() == [{2, 3}, {2, 3}]


def test_servers_that_serve_different_bytes_are_put_back(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each of them is content with its own."""
    world.publish(3)
    root = tmp_path_factory.mktemp("other")
    (root / "image").symlink_to(world.root / "image")
    (root / "store").mkdir()
    other = agent(root)
    other.publish(3, GOOD + b" retrained")
    target = InProcess(one=world, two=other)
    with pytest.raises(TaskFailure, match=r"different bytes as version 3 of cars \(one: .*, two: .*put back"):
        target.roll().to(promoted(target, 3))
    assert target.served() == [{1, 2}, {1, 2}]


def test_a_change_that_takes_too_long_is_put_back(world: World) -> None:
    """The message says how far it came."""
    target = InProcess(one=world)
    world.follower.fetches.run = lambda _: None
    with pytest.raises(TaskFailure, match=r"within 5 s: one \(fetching version 3\)\. Everything is put back"):
        target.roll(timeout_s=5).to(promoted(target, 3))
    assert target.served() == [{1, 2}]


def test_of_two_promotions_at_once_one_is_refused(world: World) -> None:
    """The slower one changes nothing."""
    world.publish(3)
    world.publish(4)
    target = InProcess(one=world)
    first, second = target.roll(), target.roll()
    third, fourth = promoted(target, 3), promoted(target, 4)
    first.to(third)
    with pytest.raises(AgentError, match="somebody else was faster"):
        second.to(fourth)
    assert target.served() == [{2, 3}]


def overtaken(target: InProcess, plan: Plan, later: Plan, *, candidate: bool = False) -> Roll:
    """Return a change to *plan*; as soon as it is followed, somebody else posts a later one."""

    def meanwhile(seconds: float) -> None:
        plans = target.apis["one"].plans
        if plans.current == plan:
            plans.post(later)
        target.sleep(seconds)

    return attrs.evolve(target.roll(), clock=Clock(now=lambda: target.now, sleep=meanwhile), candidate=candidate)


BIKES = {"bikes": ModelPlan(serve=(1,))}


@pytest.mark.parametrize("models", [{}, {"cars": ModelPlan(serve=(1, 2))}, {"cars": ModelPlan(serve=(3,))}])
def test_a_plan_that_somebody_changes_meanwhile_is_theirs(world: World, models: dict[str, ModelPlan]) -> None:
    """Nothing is put back over a later change of the model."""
    world.publish(3)
    target = InProcess(one=world)
    plan = promoted(target, 3)
    roll = overtaken(target, plan, Plan(models=models, generation=9))
    with pytest.raises(OvertakenError, match="Somebody else has changed the plan of here for cars"):
        roll.to(plan)
    assert target.state().plan.generation == 9


def test_other_bytes_of_the_version_are_another_plan(world: World) -> None:
    """Somebody else means another version of that number."""
    world.publish(3)
    target = InProcess(one=world)
    plan = change.promoted(target.state(), "cars", 3, keep=1, digest="a" * 64)
    part = said_of(plan, digests={3: "b" * 64})
    with pytest.raises(OvertakenError):
        overtaken(target, plan, Plan(models={"cars": part}, generation=9)).to(plan)


def said_of(plan: Plan, **changes: Any) -> ModelPlan:
    """Return what *plan* says of the model, with *changes*."""
    return dataclasses.replace(plan.models["cars"], **changes)


def test_who_changes_another_model_meanwhile_stops_nothing(world: World) -> None:
    """Two models are promoted on one server at once: both are served, and neither promotion fails."""
    world.publish(3)
    target = InProcess(one=world)
    plan = promoted(target, 3)
    assert overtaken(target, plan, Plan(models={**plan.models, **BIKES}, generation=2)).to(plan).rows
    assert target.served() == [{2, 3}]
    assert target.state().plan.models.keys() == {"cars", "bikes"}


def test_who_changes_another_model_meanwhile_keeps_that(world: World) -> None:
    """A bad version is put back over the later plan, which says the rest."""
    world.publish(3, WRONG)
    target = InProcess(one=world)
    plan = promoted(target, 3)
    with pytest.raises(TaskFailure, match="Everything is put back"):
        overtaken(target, plan, Plan(models={**plan.models, **BIKES}, generation=2)).to(plan)
    assert target.served() == [{1, 2}]
    assert (target.state().plan.models["cars"].serve, target.state().plan.models["bikes"]) == ((1, 2), BIKES["bikes"])


def test_a_canary_that_ends_meanwhile_stops_no_promotion(world: World) -> None:
    """It takes its candidate away, and the version is promoted; who waits for the candidate is overtaken."""
    world.publish(3)
    world.publish(4)
    target = InProcess(one=world)
    target.roll().to(change.with_candidate(target.state(), "cars", 4, digest=None))
    plan = promoted(target, 3)
    later = Plan(models={"cars": said_of(plan, candidate=None)}, generation=9)
    assert overtaken(target, plan, later).to(plan).rows
    assert target.served() == [{2, 3}]
    again = change.with_candidate(target.state(), "cars", 4, digest=None)
    without = Plan(models={"cars": said_of(again, candidate=None)}, generation=19)
    with pytest.raises(OvertakenError):
        overtaken(target, again, without, candidate=True).to(again)


def test_a_candidate_is_waited_for_where_that_is_asked(world: World) -> None:
    """And one that does not answer right is put back, with what is served untouched."""
    world.publish(3)
    world.publish(4, WRONG)
    target = InProcess(one=world)
    roll = attrs.evolve(target.roll(), candidate=True)
    roll.to(change.with_candidate(target.state(), "cars", 3, digest=None))
    assert target.state().models["cars"].candidate is not None
    assert world.triton.loaded["cars.candidate"] == {3}
    again = attrs.evolve(target.roll(), candidate=True)
    with pytest.raises(TaskFailure, match=r"one cannot serve version 4 of cars: .*its numbers are wrong.*put back"):
        again.to(change.with_candidate(target.state(), "cars", 4, digest=None))
    assert target.served() == [{1, 2}]
    assert target.state().plan.models["cars"].candidate == 3
