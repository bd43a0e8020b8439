"""Whoever changes what is served ends a canary first."""

import itertools
from collections.abc import Callable, Sequence

import attrs
import pytest

from scripts.canary import ending
from scripts.canary.routes import Routes
from scripts.canary.servers import Server
from scripts.host.errors import TaskFailure
from scripts.versions import change
from tests.unit.canary.scene import MODEL, Scene
from tests.unit.canary.stops import Killed, kill


@pytest.fixture
def under_way(two: Scene) -> Scene:
    """Return a canary whose judge does not look at the moment."""
    two.served.at(20, kill)
    with pytest.raises(Killed):
        two.run()
    assert not two.served.plan().is_over(two.served.wall())
    return two


def test_a_canary_is_ended_on_every_server(under_way: Scene) -> None:
    """And in its log, so that no other run goes on with it."""
    said = ending.end_before(under_way.routes(), doing="promote")
    assert said == "The canary of version 3 of cars is ended first: all calls go to the stable version again."
    for api in under_way.served.apis.values():
        assert api.traffics.of(MODEL).is_over(under_way.served.wall())
    record, _ = under_way.keeper.read()
    assert record is not None
    assert record.verdict == "ended"
    assert record.decisions[-1]["why"] == "invoke promote has ended it."


def test_without_a_canary_nothing_is_done(two: Scene) -> None:
    """Nor to a split between served versions, which is no canary."""
    assert ending.end_before(two.routes(), doing="promote") == ""
    two.served.post({1: 1, 2: 1})
    assert ending.end_before(two.routes(), doing="promote") == ""
    assert two.served.plan().routes == {1: 1, 2: 1}


def test_a_canary_that_is_over_is_left_alone(under_way: Scene) -> None:
    """Its time has ended it."""
    under_way.served.sleep(61)
    assert ending.end_before(under_way.routes(), doing="rollback") == ""


def test_what_cannot_be_ended_everywhere_stops_the_change(under_way: Scene) -> None:
    """Or callers would be sent on to what goes."""
    under_way.served.away.add("two")
    with pytest.raises(TaskFailure, match=r"could not be ended on two, so nothing else was done.*ends by itself at"):
        ending.end_before(under_way.routes(), doing="promote")


def overtaken(scene: Scene, change: Callable[[], object], *, times: int) -> Routes:
    """Return routes whose servers are found changed, so many times, between the look at the plan and its end."""
    asked = itertools.count()

    def servers() -> Sequence[Server]:
        number = next(asked)
        if number % 2 and number < 2 * times:
            change()
        return scene.served.members()

    return attrs.evolve(scene.routes(), servers=servers)


def test_a_canary_that_takes_its_next_step_meanwhile_is_ended(under_way: Scene) -> None:
    """A rollback once failed because the judge had renewed its plan a moment before."""
    routes = overtaken(under_way, lambda: under_way.served.post({2: 1, 3: 1}, 3), times=3)
    assert "is ended first" in ending.end_before(routes, doing="rollback")
    assert under_way.served.plan().is_over(under_way.served.wall())


def test_a_canary_that_ends_meanwhile_needs_no_end(under_way: Scene) -> None:
    """Its judge was faster."""
    routes = overtaken(under_way, lambda: under_way.served.post({}), times=1)
    assert ending.end_before(routes, doing="promote") == ""


def test_a_plan_that_changes_all_the_time_stops_the_change(under_way: Scene) -> None:
    """It says so, and how to go on."""
    routes = overtaken(under_way, lambda: under_way.served.post({2: 1, 3: 1}, 3), times=100)
    with pytest.raises(TaskFailure, match=r"changed each time.*Stop the canary.*then invoke promote again"):
        ending.end_before(routes, doing="promote")


def test_the_candidate_goes_with_the_canary(under_way: Scene) -> None:
    """A rollback would leave it loaded."""
    was = under_way.state()
    plan = change.without_candidate(change.rolled_back(was, MODEL, to=1), MODEL)
    assert (plan.models[MODEL].candidate, plan.models[MODEL].serve) == (None, (1,))
    assert plan.generation == was.plan.generation + 1
