"""Who may decode when flows go together, without a processor being busy."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.doubles.scripted import ScriptedTransport
from triton_sdk._wire import threads
from triton_sdk._wire.threads import Lane, Stopped


@pytest.fixture
def lane(monkeypatch: pytest.MonkeyPatch) -> Lane:
    """Return a lane on a machine with two cores."""
    monkeypatch.setattr(threads, "workers", lambda: 2)
    return Lane(ScriptedTransport())


def test_no_more_decode_at_once_than_there_are_cores(lane: Lane) -> None:
    """Of eight threads two are at work, always, and each gets its turn."""
    pair, at_work, most = threading.Barrier(2), 0, 0
    lock = threading.Lock()

    def job() -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        pair.wait(30)
        with lock:
            at_work -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: lane.work(job), range(8)))
    assert most == 2


def test_a_failing_job_gives_its_place_back(lane: Lane) -> None:
    """An error in a job is the caller's, and the next job is done."""
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            lane.work(lambda: 1 / 0)
    assert lane.work(lambda: 7) == 7


def test_nothing_is_decoded_for_flows_that_are_stopped(lane: Lane) -> None:
    """Who waited for a turn when the first failure came does no work any more."""
    lane.stopped.set()
    with pytest.raises(Stopped):
        lane.work(lambda: pytest.fail("it was done"))
