"""Whose turn it is, on a clock that stands still."""

from hypothesis import given
from hypothesis import strategies as st

from tests.doubles.scripted import Clock
from triton_sdk._wire.rotation import FIRST_REST, LAST_REST, Rotation


def test_all_take_turns() -> None:
    """Three addresses come one after the other."""
    rotation = Rotation(3, clock=Clock())
    assert [rotation.next() for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def test_one_that_is_gone_is_left_alone_and_looked_at_by_one_call() -> None:
    """While it rests nobody is sent there; then one call is, and the others only when that one was answered."""
    clock = Clock()
    rotation = Rotation(2, clock=clock)
    rotation.lost(0)
    assert {rotation.next() for _ in range(10)} == {1}
    clock.now += FIRST_REST
    assert [rotation.next() for _ in range(10)].count(0) == 1
    rotation.found(0)
    assert [rotation.next() for _ in range(10)].count(0) == 5


def test_looks_become_rare() -> None:
    """An address that stays away for an hour, among calls every 100 ms, is asked about twice a minute."""
    clock = Clock()
    rotation = Rotation(2, clock=clock)
    looks = 0
    for _ in range(36_000):
        clock.now += 0.1
        if rotation.next() == 0:
            looks += 1
            rotation.lost(0)
    assert 3600 / LAST_REST <= looks <= 3600 / LAST_REST + 10


def test_many_losses_at_once_are_one() -> None:
    """Ten calls that were under way when a server died do not keep it away for long."""
    clock = Clock()
    rotation = Rotation(2, clock=clock)
    for _ in range(10):
        rotation.lost(0)
    clock.now += FIRST_REST
    assert 0 in (rotation.next(), rotation.next())


@given(st.lists(st.tuples(st.sampled_from(["lost", "found", "next"]), st.integers(0, 3), st.floats(0, 5)), max_size=60))
def test_there_is_always_one_to_ask(events: list[tuple[str, int, float]]) -> None:
    """Whatever was lost and found, the next call has an address, one that is there where there is one."""
    clock = Clock()
    rotation = Rotation(4, clock=clock)
    alive = {0, 1, 2, 3}
    for event, place, seconds in events:
        clock.now += seconds
        if event == "lost":
            rotation.lost(place)
            alive.discard(place)
        elif event == "found":
            rotation.found(place)
            alive.add(place)
        elif len(alive) == 4:
            assert rotation.next() in range(4)
    chosen = [rotation.next() for _ in range(8)]
    assert set(chosen) <= {0, 1, 2, 3}
    # Each of the resting ones is looked at once at most.
    if alive:
        assert sum(place not in alive for place in chosen) <= 4 - len(alive)
