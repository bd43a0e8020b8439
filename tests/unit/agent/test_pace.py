"""How fast a server has been of late: counters are cut into windows, in bounded memory."""

import pytest

from scripts.agent.pace import EVERY_S, MOST, Pace
from scripts.agent.triton import AwayError
from tests.doubles.disk_agent import World

START = 1000


class Clocked:
    """Looks at a server's counters once in each window.

    Attributes:
        window: The number of the window that is now.
    """

    def __init__(self, world: World) -> None:
        self.window = START
        self.counted, self.faults = world.triton.counted, world.triton.faults
        self.pace = Pace(triton=world.triton, wall=lambda: (self.window + 0.5) * EVERY_S)

    def count(self, requests: int, us: int, *, version: int = 2) -> None:
        """Let a version have answered so many requests, in so many microseconds, and look in the next window."""
        self.counted["cars", version] = (requests, 1000 * us)
        self.window += 1
        self.pace.look()


@pytest.fixture
def clocked(world: World) -> Clocked:
    """Return what looks."""
    return Clocked(world)


def test_each_window_has_what_came_in_it(clocked: Clocked) -> None:
    """The warm-up came before the first look; windows without a request take no room; versions are kept apart."""
    for requests, us in ((33, 99_000), (43, 149_000), (43, 149_000), (44, 153_500)):
        clocked.count(requests, us)
    clocked.count(5, 100, version=3)
    clocked.count(7, 300, version=3)
    assert clocked.pace.to_dict() == {
        "cars": {
            "2": [(START + 2, 10, 50_000), (START + 4, 1, 4_500)],
            "3": [(START + 6, 2, 200)],
        }
    }


def test_counters_that_begin_anew_are_no_requests(clocked: Clocked) -> None:
    """A version that was loaded again, or whose server was started anew, is counted from then on."""
    clocked.count(33, 99_000)
    clocked.count(53, 199_000)
    clocked.count(33, 90_000)
    clocked.count(34, 95_000)
    assert clocked.pace.to_dict()["cars"]["2"] == [(START + 2, 20, 100_000), (START + 4, 1, 5_000)]


def test_only_the_last_ten_minutes_are_kept(clocked: Clocked) -> None:
    """Whether requests come or not; a version that is gone leaves nothing."""
    for number in range(MOST + 20):
        clocked.count(number, number)
    windows = clocked.pace.to_dict()["cars"]["2"]
    assert len(windows) == MOST
    assert windows[-1][0] - windows[0][0] == MOST - 1
    for _ in range(MOST - 5):
        clocked.count(MOST + 19, MOST + 19)
    assert len(clocked.pace.to_dict()["cars"]["2"]) == 5
    clocked.counted.clear()
    clocked.pace.look()
    assert clocked.pace.to_dict() == {}


def test_a_server_that_is_away_takes_nothing_away(clocked: Clocked) -> None:
    """What was known stays, and the next look goes on."""
    clocked.count(1, 1_000)
    clocked.count(2, 3_000)
    clocked.faults.add("away")
    with pytest.raises(AwayError):
        clocked.count(3, 5_000)
    clocked.faults.clear()
    clocked.count(4, 9_000)
    assert clocked.pace.to_dict()["cars"]["2"] == [(START + 2, 1, 2_000), (START + 4, 2, 6_000)]
