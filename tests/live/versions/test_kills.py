"""Triton and the agent are killed in the middle of a promotion: what is served afterwards is a whole plan."""

import contextlib
import os
import random
import signal
import threading
import time

import pytest

from scripts.host.errors import TaskFailure
from tests.live.versions.scene import MODEL, Scene, Served
from tests.waiting import wait_until
from triton_sdk.local import Runtime

pytestmark = pytest.mark.timeout(300)
# From the order on, in seconds: a promotion takes one to two.
MOMENTS = [random.Random(seed).uniform(0.0, 2.0) for seed in range(3)]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, runtime: Runtime) -> Scene:
    """Return what is on the disk."""
    return Scene.made(tmp_path_factory.mktemp("kills"), runtime)


def kill_later(pid: int, seconds: float) -> threading.Thread:
    """Kill a process after a while."""

    def kill() -> None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def is_whole(served: Served) -> bool:
    """Say whether just the versions of the plan are served, and whether that is the old one or the new one."""
    try:
        found = served.versions()
    except (TaskFailure, KeyError):  # the agent is starting anew
        return False
    return found in ({1, 2}, {2, 3}) and found == set(served.state().plan.models[MODEL].serve)


@pytest.mark.parametrize("moment", MOMENTS, ids="{:.2f}s".format)
def test_after_a_killed_triton_the_next_start_serves_a_whole_plan(scene: Scene, moment: float) -> None:
    """The old one or the new one, all of it."""
    with scene.started() as served:
        served.settle(1, 2)
        killer = kill_later(served.server.pid, moment)
        with contextlib.suppress(TaskFailure):  # whether it was done before or not
            served.promote(3, timeout_s=3)
        killer.join()
    with scene.started() as served:
        wait_until(lambda: is_whole(served), within_s=60)


@pytest.mark.parametrize("moment", MOMENTS, ids="{:.2f}s".format)
def test_a_killed_agent_fails_no_call_and_the_promotion_goes_on(scene: Scene, moment: float) -> None:
    """It is started again and finds what it was doing; Triton is the same process all the time."""
    with scene.started() as served:
        served.settle(1, 2)
        pid = served.server.pid
        with served.called() as callers:
            killer = kill_later(scene.agent_pid(), moment)
            with contextlib.suppress(TaskFailure):  # an agent that is away in the moment of the order takes none
                served.promote(3)
            killer.join()
            wait_until(lambda: is_whole(served), within_s=60)
        assert callers.failures == []
        assert served.server.pid == pid
    with scene.started() as served:
        assert is_whole(served)
        served.settle(1, 2)
