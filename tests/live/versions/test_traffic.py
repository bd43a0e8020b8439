"""A traffic plan on a real Triton: four processes that follow it, whatever happens to the versions and the agent."""

import contextlib
import json
import multiprocessing
import os
import queue
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from typing import Any

import attrs
import pytest

from scripts.agent.traffic import Traffic
from scripts.host.errors import TaskFailure
from tests.live.versions.scene import MODEL, PIXELS, Served
from tests.waiting import wait_until
from triton_sdk import ResNetClient, TrafficPlan
from triton_sdk._wire.following import EVERY_S

pytestmark = pytest.mark.timeout(300)

PROCESSES = 4
PAUSE_S = 0.02
WITHIN_S = 3.0


def work(grpc: str, source: str, number: int, ended: Event, answers: Any) -> None:
    """Classify as eight users in turn, and put down when each call began, how, and what came of it."""
    plan = TrafficPlan(source, model=MODEL)
    with ResNetClient(grpc, model=MODEL) as client:
        place = 0
        while not ended.is_set():
            place += 1
            begun = time.monotonic()
            key = f"{number}-{place % 8}"
            try:
                answers.put((begun, number, key, int(client.predict(PIXELS, version=plan, key=key).model_version)))
            except Exception as error:  # every failure counts
                answers.put((begun, number, key, repr(error)))
            time.sleep(PAUSE_S)
        time.sleep(2 * EVERY_S)  # until the agent has been told of the last calls


@attrs.frozen(eq=False)
class Callers:
    """Four processes that call."""

    answers: Any
    seen: list[tuple[float, int, str, int | str]] = attrs.field(factory=list)

    def read(self) -> None:
        """Take what has come."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.seen.append(self.answers.get_nowait())

    def since(self, begun: float) -> list[tuple[float, int, str, int | str]]:
        """Return the calls that began after *begun*."""
        self.read()
        return [one for one in self.seen if one[0] >= begun]

    def all_get(self, versions: set[int], after: float) -> bool:
        """Return whether the last eight calls of every process since *after* were answered by just these versions."""
        by = {number: [one[3] for one in self.since(after) if one[1] == number][-8:] for number in range(PROCESSES)}
        return all(len(last) == 8 and set(last) == versions for last in by.values())


@contextlib.contextmanager
def calling(served: Served, source: str) -> Iterator[Callers]:
    """Let four processes call until the block ends."""
    context = multiprocessing.get_context("spawn")
    ended, answers = context.Event(), context.Queue()
    processes = [
        context.Process(target=work, args=(served.server.grpc_url, source, number, ended, answers), daemon=True)
        for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    callers = Callers(answers)
    try:
        wait_until(lambda: len({one[1] for one in callers.since(0)}) == PROCESSES, within_s=60)
        yield callers
    finally:
        ended.set()
        until = time.monotonic() + 30
        while any(process.is_alive() for process in processes) and time.monotonic() < until:
            callers.read()  # a process does not end before its queue is empty
            time.sleep(0.05)
        assert not any(process.is_alive() for process in processes)


def post(served: Served, routes: Mapping[int, float], *, candidate: int | None = None, seconds: float = 120) -> float:
    """Post a traffic plan as the next one, and return when it was accepted."""
    now = served.target.agent.get(f"/v1/traffic/{MODEL}").body
    plan = Traffic(
        model=MODEL,
        routes=routes,
        candidate=candidate,
        expires=datetime.now(UTC) + timedelta(seconds=seconds) if routes else None,
        generation=now["generation"] + 1,
    )
    body = json.dumps({**plan.to_dict(), "after": now["generation"]}).encode()
    answer = served.target.agent.post(f"/v1/traffic/{MODEL}", body)
    assert answer.status == 200, answer
    return time.monotonic()


def candidate_is_served(served: Served) -> bool:
    """Return whether version 3 is served as the candidate."""
    try:
        one = served.state().models[MODEL].candidate
    except (TaskFailure, KeyError):  # the agent is starting anew
        return False
    return one is not None and one[1].phase == "serving"


@pytest.mark.timing
def test_weights_reach_four_processes_within_3_s(served: Served) -> None:
    """There and back; then the plan still names a candidate that is gone, and no call of any of it fails."""
    served.post(1, 2, candidate=3)
    wait_until(lambda: candidate_is_served(served), within_s=60)
    with calling(served, served.target.agent.http) as callers:
        wait_until(lambda: callers.all_get({2}, 0), within_s=30)
        took = []
        for routes, versions in [({2: 0, 3: 1}, {3}), ({2: 1, 3: 0}, {2}), ({2: 1, 3: 1}, {2, 3}), ({3: 1}, {3})] * 2:
            changed = post(served, routes, candidate=3)
            wait_until(lambda versions=versions, changed=changed: callers.all_get(versions, changed), within_s=20)  # type: ignore[misc]
            took.append(max(first(callers, number, versions, changed) for number in range(PROCESSES)))
        served.post(1, 2)
        gone = time.monotonic()
        wait_until(lambda: callers.all_get({2}, gone), within_s=20)
        post(served, {})
    assert [one for one in callers.seen if isinstance(one[3], str)] == []
    assert max(took) <= WITHIN_S, took


def first(callers: Callers, number: int, versions: set[int], changed: float) -> float:
    """Return how long after *changed* a process got no other versions any more, in seconds."""
    old = [begun for begun, who, _, version in callers.since(changed) if who == number and version not in versions]
    return max(old, default=changed) - changed


def test_a_user_keeps_a_version_over_its_promotion(served: Served) -> None:
    """Whoever got the candidate gets it as version 3 of the model, nobody else does; the agent knows of all calls."""
    counted = calls(served)
    served.post(1, 2, candidate=3)
    wait_until(lambda: candidate_is_served(served), within_s=60)
    with calling(served, served.target.agent.http) as callers:
        begun = post(served, {2: 1, 3: 1}, candidate=3)
        wait_until(lambda: callers.all_get({2, 3}, begun + WITHIN_S), within_s=30)
        before = {key: version for _, _, key, version in callers.since(begun + WITHIN_S)}
        served.post(2, 3)
        wait_until(lambda: served.versions() == {2, 3}, within_s=60)
        both = post(served, {2: 1, 3: 1}) + WITHIN_S
        wait_until(lambda: len({one[2] for one in callers.since(both)}) == 8 * PROCESSES, within_s=30)
        after = {key: version for _, _, key, version in callers.since(both)}
        done = post(served, {}) + WITHIN_S
        wait_until(lambda: callers.all_get({3}, done), within_s=30)
    assert after == before
    assert set(before.values()) == {2, 3}
    answers = Counter(str(version) for *_, version in callers.seen)
    assert calls(served) - counted == answers
    assert [one for one in callers.seen if isinstance(one[3], str)] == []
    pace = served.target.agent.get("/v1/state").body["pace"][MODEL]
    windows = [(requests, spent_us) for number in ("2", "3") for _, requests, spent_us in pace[number]]
    assert all(1e-5 < spent_us / 1e6 / requests < 10 for requests, spent_us in windows)
    assert sum(requests for requests, _ in windows) >= len(callers.since(both)) / 2


def calls(served: Served) -> Counter[str]:
    """Return how many calls of each version the agent was told of."""
    told = served.target.agent.get("/v1/state").body["outcomes"].get(MODEL, {"versions": {}})["versions"]
    return Counter({version: tally["calls"] for version, tally in told.items()})


def test_the_plan_outlives_the_agent_and_ends_without_it(served: Served) -> None:
    """While it is away and after it came back the same versions answer; a plan that nobody prolongs ends."""
    served.post(1, 2, candidate=3)
    wait_until(lambda: candidate_is_served(served), within_s=60)
    with calling(served, served.target.agent.http) as callers:
        begun = post(served, {3: 1}, candidate=3, seconds=25)
        wait_until(lambda: callers.all_get({3}, begun), within_s=20)
        killed = time.monotonic()
        os.kill(served.scene.agent_pid(), signal.SIGKILL)
        wait_until(lambda: any("starting it again" in line for line in served.said), within_s=20)
        wait_until(lambda: candidate_is_served(served), within_s=30)
        time.sleep(WITHIN_S)
        answered = callers.since(killed)
        wait_until(lambda: callers.all_get({2}, begun + 25), within_s=30)
    served.said.clear()
    assert {version for *_, version in answered} == {3}
    assert min(at for at, _, _, version in callers.since(killed) if version == 2) >= begun + 24.5
    assert [one for one in callers.seen if isinstance(one[3], str)] == []
