"""Flows that nobody waits for: begun at once, bounded, and gone with the client."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doubles.blocking import Blocking
from tests.doubles.scripted import ScriptedTransport
from triton_sdk import ResNetClient
from triton_sdk._flow.steps import Flow, Sleep, Spawn, Work
from triton_sdk._wire.loop import MOST_IN_BACKGROUND as MOST_TASKS
from triton_sdk._wire.threads import MOST_IN_BACKGROUND


@pytest.fixture(params=[ResNetClient, Blocking])
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return a client of threads, and one of an event loop."""
    with request.param("triton:8001", model="clf", transport=ScriptedTransport()) as client:
        yield client


def aside(job: Any) -> Flow[object]:
    """Do *job*."""
    return (yield Work(job))


def begins(*flows: Flow[object], then: float = 0.0) -> Flow[list[bool]]:
    """Begin *flows* in the background, and return which were taken."""
    taken = []
    for flow in flows:
        taken.append((yield Spawn(flow)))
    yield Sleep(then)
    return taken


def test_a_flow_in_the_background_is_run_and_not_waited_for(client: Any) -> None:
    """The caller has its result while the other flow is still at work."""
    begun, release, done = threading.Event(), threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        release.wait(30)
        done.set()

    assert client._run(begins(aside(job), then=0.01)) == [True]
    assert begun.wait(30)
    assert not done.is_set()
    release.set()
    client._run(begins(then=0.01))
    assert done.wait(30)


def test_what_fails_in_the_background_hurts_nobody(client: Any) -> None:
    """An error there is neither raised nor printed, and the next flow is run."""
    done = threading.Event()
    client._run(begins(aside(lambda: 1 / 0), aside(done.set), then=0.01))
    assert done.wait(30)


def test_too_many_are_dropped(client: Any) -> None:
    """Beyond a bound the caller is told that its flow was not taken, and there is room again when some have ended."""
    release = threading.Event()
    flows = [aside(lambda: release.wait(30)) for _ in range(MOST_IN_BACKGROUND + 5)]
    assert client._run(begins(*flows)) == [True] * MOST_IN_BACKGROUND + [False] * 5
    release.set()
    for _ in range(1000):
        if client._run(begins(aside(int), then=0.005)) == [True]:
            break
    else:
        pytest.fail("there was no room again")
    assert MOST_TASKS == MOST_IN_BACKGROUND


def test_a_closed_client_begins_nothing(client: Any) -> None:
    """A flow that is still running when its client is closed cannot begin another one."""
    spawn = client._background.spawn
    client.close()
    assert spawn(aside(int)) is False


def test_closing_cancels_what_is_under_way() -> None:
    """The async client leaves no task behind."""

    async def main() -> int:
        from triton_sdk import AsyncResNetClient

        async with AsyncResNetClient("triton:8001", transport=ScriptedTransport()) as client:
            waits = (begins(then=60) for _ in range(5))
            assert await client._run(begins(*waits)) == [True] * 5
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1
