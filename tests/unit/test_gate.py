"""Who may decode, without a processor being busy."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from triton_sdk._gate import AsyncGate, Gate, Room, beside_us


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Return threads."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("localhost:8001", True),
        ("127.0.0.1:8001", True),
        ("[::1]:8001", True),
        ("unix:/run/triton.sock", True),
        ("triton:8001", False),
        ("10.0.0.7:8001", False),
        ("dns:///triton:8001", False),
    ],
)
def test_a_server_on_this_machine_is_known_by_its_address(url: str, local: bool) -> None:
    """Loopback and sockets of the file system are here; a name may be anywhere."""
    assert beside_us(url) is local


def test_a_server_beside_us_takes_cores() -> None:
    """Of four cores, each request on its way takes one from the decoders, but never the last."""
    room = Room(shared=True, cores=4)
    allowed = []
    for room.away in range(6):
        room.working = 0
        while room.left():
            room.working += 1
        allowed.append(room.working)
    assert allowed == [4, 3, 2, 1, 1, 1]


def test_a_server_elsewhere_takes_none() -> None:
    """All cores decode, whatever is on its way."""
    room = Room(shared=False, cores=2)
    room.away = 9
    room.working = 1
    assert room.left()
    room.working = 2
    assert not room.left()


def test_threads_wait_for_room() -> None:
    """With one core, what two threads do never overlaps."""
    gate, inside, most = Gate(Room(shared=True, cores=1)), 0, 0

    def job() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        threading.Event().wait(0.001)
        inside -= 1

    threads = [threading.Thread(target=gate.work, args=(job,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == 1


def test_a_failing_job_gives_its_room_back() -> None:
    """An error in a job is the caller's, and the next job is done."""
    gate = Gate(Room(shared=True, cores=1))
    with pytest.raises(ZeroDivisionError):
        gate.work(lambda: 1 / 0)
    assert gate.work(lambda: 7) == 7


def test_tasks_wait_for_room_in_order(pool: ThreadPoolExecutor) -> None:
    """With one core, the jobs of many tasks are done one after the other, first come first served."""
    done: list[int] = []

    async def main() -> None:
        gate = AsyncGate(Room(shared=True, cores=1), pool)
        await asyncio.gather(*(gate.work(partial(done.append, place)) for place in range(20)))

    asyncio.run(main())
    assert done == list(range(20))


def test_a_cancelled_task_gives_its_room_back(pool: ThreadPoolExecutor) -> None:
    """Whether it waited, had just got its turn, or was in a thread: the others get theirs."""
    release = threading.Event()

    async def main() -> int:
        gate = AsyncGate(Room(shared=True, cores=1), pool)
        tasks = [asyncio.create_task(gate.work(lambda: release.wait(10))) for _ in range(6)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for place in (0, 2, 3):
            tasks[place].cancel()
        release.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(one, asyncio.CancelledError) for one in found] == [True, False, True, True, False, False]
        result: int = await gate.work(lambda: 7)
        return result

    assert asyncio.run(main()) == 7


def test_a_pool_that_is_shut_down_keeps_nobody_waiting(pool: ThreadPoolExecutor) -> None:
    """After the client was closed each job fails, and none waits for one that was refused."""

    async def main() -> list[object]:
        gate = AsyncGate(Room(shared=True, cores=1), pool)
        pool.shutdown()
        async with asyncio.timeout(5):
            return list(await asyncio.gather(*(gate.work(lambda: 1) for _ in range(3)), return_exceptions=True))

    assert {type(one) for one in asyncio.run(main())} == {RuntimeError}
