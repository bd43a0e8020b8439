"""The agent's heart: a plan is followed, and what is served stays served whatever goes wrong."""

import shutil

import pytest

from scripts.agent.plan import ModelPlan, Plan
from scripts.agent.triton import AwayError
from tests.doubles import disk_triton
from tests.doubles.disk_agent import World, agent
from tests.doubles.disk_triton import BAD, WRONG

pytestmark = pytest.mark.timeout(30)


def test_without_a_plan_the_image_is_served(world: World) -> None:
    """All its versions come up with one load."""
    assert world.follower.step(Plan()) is True
    assert world.triton.loaded == {"cars": {1, 2}}
    assert world.triton.log == ["load cars [1, 2]"]


def test_what_is_packaged_later_waits_to_be_promoted(world: World) -> None:
    """A version that appears in the folder while the agent runs is served when a plan names it, and not before."""
    world.follower.step(Plan())
    disk_triton.version(world.root / "image" / "cars" / "3")
    world.follower.step(Plan())
    assert world.triton.loaded == {"cars": {1, 2}}
    assert world.plan(2, 3) is True
    assert world.triton.loaded == {"cars": {2, 3}}


def test_a_version_is_tried_alone_before_it_joins(world: World) -> None:
    """It loads as a model of its own, answers there, and is gone from there before it joins."""
    world.plan(1)
    world.triton.log.clear()
    assert world.plan(1, 2) is True
    assert world.triton.log == ["load cars.trial [2]", "unload cars.trial", "load cars [1, 2]"]
    assert world.triton.loaded == {"cars": {1, 2}}


def test_going_back_drops_first(world: World) -> None:
    """The version that must go is gone by the first load, before an older one is brought back."""
    world.publish(3)
    world.plan(2, 3)
    world.triton.log.clear()
    assert world.plan(1, 2) is True
    assert world.triton.log[0] == "load cars [2]"
    assert world.triton.loaded == {"cars": {1, 2}}


def test_nothing_goes_before_the_highest_planned_version_is_there(world: World) -> None:
    """A plan whose new version cannot be had drops nothing."""
    world.plan(1, 2)
    assert world.plan(2, 9) is False
    assert world.triton.loaded == {"cars": {1, 2}}
    assert "holds version 9" in world.why(9)
    assert world.plan(2) is True
    assert world.triton.loaded == {"cars": {2}}


def test_a_candidate_is_a_model_of_its_own(world: World) -> None:
    """It comes from the store, callers of the model do not meet it, and it joins without another trial."""
    world.publish(3)
    assert world.plan(1, 2, candidate=3) is True
    assert world.triton.loaded == {"cars": {1, 2}, "cars.candidate": {3}}
    world.triton.log.clear()
    assert world.plan(2, 3) is True
    assert world.triton.log == ["unload cars.candidate", "load cars [1, 2, 3]", "load cars [2, 3]"]
    assert world.triton.loaded == {"cars": {2, 3}}


@pytest.mark.parametrize(("model", "why"), [(BAD, "does not load"), (WRONG, "its numbers are wrong")])
@pytest.mark.parametrize("as_candidate", [True, False])
def test_a_bad_version_is_told_and_leaves_no_trace(world: World, model: bytes, why: str, as_candidate: bool) -> None:
    """As a candidate and as a planned version: nothing of it stays loaded, and the others never stop."""
    world.publish(3, model)
    world.plan(1, 2)
    assert world.plan(*((1, 2) if as_candidate else (2, 3)), candidate=3 if as_candidate else None) is False
    assert world.triton.loaded == {"cars": {1, 2}}
    assert world.follower.loader.served.models() == ["cars"]
    state = world.follower.models["cars"]
    assert why in (state.candidate[1].why if state.candidate else world.why(3))


@pytest.mark.parametrize("model", [BAD, WRONG])
def test_a_bad_version_at_the_start_does_not_take_the_others_down(world: World, model: bytes) -> None:
    """The good ones are served, and the bad one answers nobody."""
    world.publish(3, model)
    assert world.plan(1, 2, 3) is False
    assert world.triton.loaded == {"cars": {1, 2}}
    assert world.follower.models["cars"].stable == 2


def test_a_lone_bad_version_answers_nobody(world: World) -> None:
    """A version whose numbers are wrong is unloaded again if it is all there is."""
    world.publish(3, WRONG)
    assert world.plan(3) is False
    assert world.triton.loaded == {}


def test_a_version_that_loads_only_by_itself_calls_for_a_restart(world: World) -> None:
    """Triton keeps its number from loading: what was served is served on, and the agent says what helps."""
    world.publish(3)
    world.triton.broken.add(("cars", 3))
    world.plan(1, 2)
    assert world.plan(2, 3) is False
    assert world.triton.loaded == {"cars": {1, 2}}
    assert world.follower.loader.served.versions("cars").keys() == {1, 2}
    assert "keeps version 3 of cars from loading" in (world.follower.restart_needed or "")
    world.triton.broken.clear()
    world.triton.restart()
    world.retry()
    assert world.plan(2, 3) is True
    assert world.follower.restart_needed is None


def test_only_failed_loads_call_for_a_restart(world: World) -> None:
    """A version that is not in the store may be asked for as often as one likes; one that does not load, four times."""
    world.plan(1)
    for _ in range(8):
        world.plan(1, 9)
        world.retry()
    assert world.follower.restart_needed is None
    world.publish(3, BAD)
    for _ in range(5):
        assert world.follower.restart_needed is None
        world.plan(1, 3)
        world.retry()
    assert "5 loads have failed" in (world.follower.restart_needed or "")


def test_a_failed_version_is_not_tried_at_once_again(world: World) -> None:
    """It waits; the server is asked to load nothing meanwhile."""
    world.publish(3, BAD)
    world.plan(1, 2)
    world.plan(2, 3)
    world.triton.log.clear()
    world.plan(2, 3)
    assert world.triton.log == []


def test_a_restarted_triton_gets_the_plan_again(world: World) -> None:
    """It comes up empty, and one load brings the planned versions back, from the files that are here."""
    world.publish(3)
    world.plan(2, 3)
    shutil.rmtree(world.root / "store")
    world.triton.faults.add("away")
    with pytest.raises(AwayError):
        world.plan(2, 3)
    assert world.follower.models["cars"].stable is None
    world.triton.faults.clear()
    world.triton.restart()
    world.triton.log.clear()
    digest = world.follower.models["cars"].versions[3].digest
    assert world.plan(2, 3, v3=digest) is True
    assert (world.triton.loaded, world.triton.log) == ({"cars": {2, 3}}, ["load cars [2, 3]"])


def test_a_restarted_agent_touches_nothing_that_is_right(world: World) -> None:
    """Versions and candidate that an earlier agent loaded go on being served, without a load."""
    world.publish(3)
    world.plan(1, 2, candidate=3)
    world.triton.log.clear()
    second = agent(world.root, world.triton)
    assert second.plan(1, 2, candidate=3) is True
    assert world.triton.log == []
    assert second.follower.models["cars"].versions[1].source == "image"


def test_a_restarted_agent_removes_what_was_being_tried(world: World) -> None:
    """A trial that an earlier agent left loaded is unloaded."""
    world.plan(1)
    world.follower.loader.served.put_model(
        "cars.trial", shared=world.root / "image" / "cars", versions={2: world.root / "image" / "cars" / "2"}
    )
    world.triton.load("cars.trial")
    second = agent(world.root, world.triton)
    assert second.plan(1) is True
    assert world.triton.loaded == {"cars": {1}}


def test_other_bytes_than_planned_are_not_served(world: World) -> None:
    """Where the image has other bytes than the plan names, and the store too, the version does not come up."""
    world.plan(1)
    assert world.plan(1, 2, v2="0" * 64) is False
    assert "holds version 2" in world.why(2)
    assert world.triton.loaded == {"cars": {1}}


def test_other_bytes_than_planned_that_are_served_are_told(world: World) -> None:
    """A served number keeps its bytes, and the plan that names others is not followed to its end."""
    world.plan(1, 2)
    assert world.plan(1, 2, v2="0" * 64) is False
    assert "a version never changes" in world.follower.models["cars"].fault
    assert world.triton.loaded == {"cars": {1, 2}}


def test_one_model_does_not_hold_up_another(world: World) -> None:
    """A configuration that cannot be read is one model's fault; the next model is followed."""
    disk_triton.repository(world.root / "image", 1, model="aaa")
    (world.root / "image" / "aaa" / "config.pbtxt").write_bytes(b"\xff\xfe")
    assert world.follower.step(Plan()) is False
    assert "not UTF-8" in world.follower.models["aaa"].fault
    assert world.triton.loaded == {"cars": {1, 2}}


def test_a_model_that_is_planned_no_more_goes(world: World) -> None:
    """A model that only the store has is served while a plan names it."""
    world.publish(3)
    shutil.copytree(world.root / "laptop" / "cars", world.root / "image" / "bikes")
    both = Plan(models={"bikes": ModelPlan(serve=(3,)), "cars": ModelPlan(serve=(1,))})
    assert world.follower.step(both) is True
    shutil.rmtree(world.root / "image" / "bikes")
    second = agent(world.root, world.triton)
    assert second.plan(1) is True
    assert world.triton.loaded == {"cars": {1}}


def test_fetched_versions_go_when_nothing_needs_them(world: World) -> None:
    """The disk holds what is planned."""
    world.publish(3)
    world.publish(4)
    world.plan(2, 3)
    world.plan(3, 4)
    world.plan(4)
    fetched = world.root / "work" / "fetched" / "cars"
    assert [path.name.partition("-")[0] for path in fetched.iterdir()] == ["4"]
