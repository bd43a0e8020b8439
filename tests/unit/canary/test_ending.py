"""Whoever changes what is served ends a canary first."""

import pytest

from scripts.canary import ending
from scripts.host.errors import TaskFailure
from scripts.versions import change
from tests.unit.canary.scene import MODEL, Scene
from tests.unit.canary.test_run import Killed, kill


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


def test_the_candidate_goes_with_the_canary(under_way: Scene) -> None:
    """A rollback would leave it loaded."""
    was = under_way.state()
    plan = change.without_candidate(change.rolled_back(was, MODEL, to=1), MODEL)
    assert (plan.models[MODEL].candidate, plan.models[MODEL].serve) == (None, (1,))
    assert plan.generation == was.plan.generation + 1
