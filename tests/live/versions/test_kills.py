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

pytestmark = pytest.mark.timeout(600)
# From the order on, in seconds: a promotion takes one to two. Twenty kills in all.
MOMENTS = [random.Random(seed).uniform(0.0, 2.0) for seed in range(10)]


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


def test_after_a_killed_triton_the_next_start_serves_a_whole_plan(scene: Scene) -> None:
    """At each moment: the old one or the new one, all of it."""
    with scene.started() as served:
        served.settle(1, 2)
    for moment in MOMENTS:
        with scene.started() as served:
            wait_until(lambda: is_whole(served), within_s=60)
            served.settle(1, 2)
            killer = kill_later(served.server.pid, moment)
            with contextlib.suppress(TaskFailure):  # whether it was done before or not
                served.promote(3, timeout_s=3)
            killer.join()
    with scene.started() as served:
        wait_until(lambda: is_whole(served), within_s=60)


def test_a_killed_agent_fails_no_call_and_the_promotion_goes_on(scene: Scene) -> None:
    """At each moment it is started again and finds what it was doing; Triton is the same process all the time."""
    with scene.started() as served, served.called() as callers:
        pid = served.server.pid
        for moment in MOMENTS:
            served.settle(1, 2)
            killer = kill_later(scene.agent_pid(), moment)
            with contextlib.suppress(TaskFailure):  # an agent that is away in the moment of the order takes none
                served.promote(3)
            killer.join()
            wait_until(lambda: is_whole(served), within_s=60)
        assert callers.failures == []
        assert served.server.pid == pid
    with scene.started() as served:
        wait_until(lambda: is_whole(served), within_s=60)
