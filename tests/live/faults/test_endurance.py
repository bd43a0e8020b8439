"""What long and careless use leaves behind: nothing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.live.faults import scene
from tests.live.faults.conftest import Connect
from tests.live.faults.scene import pixels
from tests.waiting import wait_until
from triton_sdk.local import LocalTriton

pytestmark = pytest.mark.timeout(300)
# An allocator takes some MiB at once and keeps them, in more rounds on a busy machine; a leak takes more in each round.
LEAST_ROUNDS, MOST_ROUNDS = 3, 10
# What memory may grow by in the best round: 230 bytes for each of 6,000 requests, 23 KiB for each of 60 clients.
FLAT = 1_400_000


def ask(client: scene.Client, requests: int) -> None:
    """Make so many requests, from four threads."""
    batch = pixels()
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(lambda: [client.infer(batch) for _ in range(requests // 4)]) for _ in range(4)]:
            done.result()


def left_behind(server: LocalTriton, use: Callable[[], None]) -> int:
    """Return by how many bytes memory grows in its best round by *use*; threads and descriptors of both sides stay.

    There are more rounds until one of them is flat.
    """
    threads, ours, theirs = scene.threads(), scene.descriptors(), scene.descriptors(server.pid)
    grown: list[int] = []
    while len(grown) < LEAST_ROUNDS or (min(grown) >= FLAT and len(grown) < MOST_ROUNDS):
        memory = scene.resident()
        use()
        # gRPC closes in the background.
        wait_until(lambda: scene.threads() <= threads + scene.ELASTIC_THREADS)
        wait_until(lambda: scene.descriptors() <= ours)
        wait_until(lambda: scene.descriptors(server.pid) <= theirs)
        grown.append(scene.resident() - memory)
    return min(grown)


def test_twenty_thousand_requests_leave_nothing(connect: Connect, server: LocalTriton) -> None:
    """After the first 2,000 requests, three rounds of 6,000 more take no memory, threads or descriptors."""
    client = connect(server.grpc_url)
    ask(client, 2_000)
    grown = left_behind(server, lambda: ask(client, 6_000))
    assert grown < FLAT


def test_two_hundred_clients_leave_nothing(make: Connect, server: LocalTriton) -> None:
    """After the first 20, opening, using, closing three rounds of 60 more takes no memory, threads or descriptors."""

    def open_and_close(times: int) -> None:
        for _ in range(times):
            client = make(server.grpc_url, model="quick")
            client.infer(pixels())
            client.close()

    open_and_close(20)
    grown = left_behind(server, lambda: open_and_close(60))
    assert grown < FLAT
