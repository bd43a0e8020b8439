"""Which pods are slower than the others: thousands of releases of raw requests, and what is said of a slow pod."""

import numpy as np
import pytest

from scripts.agent.pace import EVERY_S, Window
from scripts.cluster.status.slow import ALPHA, Paces, slow_pods
from tests.unit.cluster.status.paces import World, steady

NODES = {"a": "node-1", "b": "node-2", "c": "node-3"}


def named(world: World, *, releases: int) -> list[set[str]]:
    """Return the slow pods of so many releases."""
    generator = np.random.default_rng(16)
    return [{one.pod for one in slow_pods(world.paces(generator), {})} for _ in range(releases)]


@pytest.mark.parametrize(
    "world",
    [
        World(times=[1, 1, 1]),
        World(times=[1, 1], windows=32, rates=30, drift=0.1, swing=0.5),
        World(times=[1, 1], rates=[20, 10], hiccups=0.005),
    ],
    ids=["three", "two, drifting", "one has twice the requests, some take long"],
)
def test_of_a_hundred_releases_whose_pods_are_alike_at_most_one_has_a_slow_pod(world: World) -> None:
    """All pods of a release together."""
    assert sum(map(bool, named(world, releases=2000))) <= ALPHA * 2000


@pytest.mark.parametrize(
    "world",
    [
        World(times=[1.1, 1, 1], windows=200),
        World(times=[1] * 8, windows=60, rates=5),
        World(times=[1, 1, 1], sigma=1.2, swing=1.0),
        World(times=[1, 1], windows=200, rates=30, drift=0.2),
    ],
    ids=["1.1 times", "eight pods", "wild", "nodes that come and go"],
)
def test_little_is_no_reason_to_name_a_pod(world: World) -> None:
    """Nor are many pods, or requests of very different lengths."""
    assert sum(map(bool, named(world, releases=200))) <= ALPHA * 200


@pytest.mark.parametrize(
    "world",
    [
        World(times=[1.5, 1], windows=60, rates=30),
        World(times=[1.5, 1, 1], windows=200, drift=0.05, swing=0.5),
        World(times=[2, 1, 1, 1], rates=6),
        World(times=[3, 1], windows=34, rates=10),
    ],
    ids=["1.5 times in 3 min", "1.5 times in 10 min", "twice in 2 min", "three times in 100 s"],
)
def test_a_slow_pod_is_found(world: World) -> None:
    """In nearly all releases, and no other pod with it."""
    found = named(world, releases=100)
    assert sum("0" in pods for pods in found) >= 0.95 * 100
    assert set().union(*found) == {"0"}


def test_a_pod_that_has_just_become_slow_is_found() -> None:
    """It was as fast as the others for seven of the ten minutes that agents keep."""
    before, after = steady(range(140), a=4, b=4, c=4), steady(range(140, 200), a=6, b=4, c=4)
    paces = {pod: {"cars": {2: [*before[pod]["cars"][2], *after[pod]["cars"][2]]}} for pod in before}
    (slow,) = slow_pods(paces, NODES)
    assert (slow.pod, slow.ms, slow.others_ms, slow.seconds) == ("a", 6.0, 4.0, 60 * EVERY_S)


def test_what_is_said_of_a_slow_pod() -> None:
    """Pod, node, model and version, how slow it is, how sure that is, and what to do."""
    (slow,) = slow_pods(steady(a=6, b=4, c=4), NODES)
    assert (slow.pod, slow.node, slow.model, slow.version) == ("a", "node-1", "cars", 2)
    assert (slow.ms, slow.others_ms, slow.seconds) == (6.0, 4.0, 40 * EVERY_S)
    assert slow.rate == slow.others_rate == pytest.approx(20 / EVERY_S)
    assert str(slow) == (
        "Pod a on node node-1 is slower than the others: with cars version 2, Triton takes 1.5 times as long there "
        "(6 ms for a request on average, 4 ms in the others, within 2 min of requests). If all pods were alike, chance "
        "would name one in at most 1 of 683 looks. To see what else the node runs: kubectl describe node node-1"
    )


def test_a_pod_that_gets_more_requests_than_the_others_is_not_blamed_on_its_node() -> None:
    """What makes it slow may be the requests."""
    paces = {**steady(b=4, c=4), "a": {"cars": {2: busier(steady(a=6)["a"]["cars"][2], times=3)}}}
    (slow,) = slow_pods(paces, NODES)
    assert str(slow).endswith(
        "The pod gets 20 requests/s, and each of the others 6.67. That may be the reason: let the clients spread their "
        "calls over all pods (docs/operations.md, Look)."
    )


def busier(windows: object, *, times: int) -> list[Window]:
    """Return windows with so many times the requests, of the same length."""
    assert isinstance(windows, list)
    return [(at, times * requests, times * us) for at, requests, us in windows]


@pytest.mark.parametrize(
    "paces",
    [
        {},
        steady(a=9),
        # A single other one that gets little tells too little.
        {**steady(b=4), "a": {"cars": {2: busier(steady(a=9)["a"]["cars"][2], times=3)}}},
        # No window in common.
        {**steady(b=4), "a": {"cars": {2: [(at, 20, 180_000) for at in range(40, 80)]}}},
        # Other models and versions are no others.
        {**steady(a=9), "b": {"cars": {3: [(at, 20, 9) for at in range(40)]}, "bikes": {2: [(1, 20, 9)]}}},
        # One request in each window is too little.
        {pod: {"cars": {2: [(at, 1, us) for at in range(40)]}} for pod, us in (("a", 9000), ("b", 4000))},
        # As is a minute.
        {pod: {"cars": {2: [(at, 99, us) for at in range(20)]}} for pod, us in (("a", 9000), ("b", 4000))},
        # What came in a single burst is one piece.
        {
            pod: {"cars": {2: [(at, 20, 80_000) if at != 20 else (at, 50_000, us) for at in range(40)]}}
            for pod, us in (("a", 900_000_000), ("b", 200_000_000))
        },
    ],
    ids=["none", "one", "too busy", "apart", "other versions", "few", "short", "burst"],
)  # fmt: skip
def test_what_cannot_be_told_is_not_told(paces: Paces) -> None:
    """No pod is named without others that answered enough of the same at the same time."""
    assert slow_pods(paces, NODES) == ()
