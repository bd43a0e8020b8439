"""Thousands of canaries of raw calls: how many good ones are ended, and how soon bad ones are."""

import attrs
import numpy as np
import pytest

from scripts.agent.outcomes import Latency
from scripts.canary.judge import Judge, Look
from scripts.canary.limits import OUTRIGHT, QUANTILES, Limits
from tests.unit.canary.simulated import PLAN, Steps, World, empty, run

WITH_A_BOUND = Limits(most_disagreement=0.02)
# At the bound, and with the failures and latencies of the stable version.
GOOD = World(sure=0.05, flips=0.02)
# Two thousand calls of the candidate.
A_TENTH: Steps = [(0.1, 2000)]
# What comes in two seconds.
BUSY = World(rate=50, look_s=2)


@pytest.mark.parametrize(
    ("steps", "sigma"),
    [([(0.01, 100)], 0.3), ([(0.1, 300)], 0.6), ([(0.5, 1000)], 0.3), (PLAN, 0.6)],
    ids=["1%", "10%", "50%", "plan"],
)
def test_at_most_one_good_canary_of_a_hundred_is_ended(steps: Steps, sigma: float) -> None:
    """All statistics and the hard stop together, looked at after every fifty calls."""
    ended = run(attrs.evolve(GOOD, sigma=sigma), steps, canaries=2000, seed=16, limits=WITH_A_BOUND)
    assert ended.share <= 0.01
    assert (ended.by == OUTRIGHT).mean() <= 0.005


@pytest.mark.parametrize("batch", [8, 32])
@pytest.mark.parametrize("steps", [[(0.01, 100)], [(0.1, 300)], [(0.5, 1000)], PLAN], ids=["1%", "10%", "50%", "plan"])
def test_batches_that_fail_end_at_most_one_good_canary_of_a_hundred(steps: Steps, batch: int) -> None:
    """A batch fails all its calls; so it is at each share, with answers that differ as often as the bound allows."""
    world = attrs.evolve(BUSY, sure=GOOD.sure, flips=GOOD.flips, batch=batch)
    ended = run(world, steps, canaries=2000, seed=17, limits=WITH_A_BOUND)
    assert ended.share <= 0.01


@pytest.mark.parametrize(("failing", "share", "calls"), [(0.05, 0.75, 289), (0.2, 0.99, 87), (1.0, 1.0, 12)])
def test_batches_that_fail_hide_no_bad_candidate(failing: float, share: float, calls: int) -> None:
    """Batches of eight: eight failures tell as much as one, and what fails in so many is still found in the plan."""
    ended = run(attrs.evolve(BUSY, batch=8, candidate_failing=failing), PLAN, canaries=200, seed=18)
    assert ended.share >= share
    assert np.median(ended.calls) <= 1.3 * calls


@pytest.mark.parametrize(
    ("world", "steps"),
    [
        # The pod is away for two or three seconds, again and again.
        (World(away=0.02), PLAN),
        (attrs.evolve(BUSY, away=0.02), PLAN),
        # A version is slow for a second now and then, the other one in other seconds.
        (attrs.evolve(BUSY, spells=0.3), PLAN),
        # Something fails in each second.
        (World(rate=500, look_s=2), [(0.01, 200), (0.5, 5000)]),
        # Slower, and within the margin.
        (World(slower=1.1), PLAN),
    ],
    ids=["away", "away, busy", "spells", "very busy", "1.1 times"],
)
def test_good_canaries_go_on_where_calls_have_a_fate_in_common(world: World, steps: Steps) -> None:
    """What no e-process promises: here it is that at most one of a hundred is ended."""
    ended = run(world, steps, canaries=300, seed=17)
    assert ended.share <= 0.01


@pytest.mark.parametrize(
    ("share", "failing", "requests"),
    [(0.1, 0.025, 4000), (0.1, 0.05, 1550), (0.01, 0.2, 2850), (0.1, 1.0, 100)],
)
def test_a_candidate_that_fails_is_found_in_time(share: float, failing: float, requests: int) -> None:
    """The stable version fails 0.5 % of its calls; half of the canaries end after at most 1.3 times *requests*."""
    world = World(candidate_failing=failing)
    ended = run(world, [(share, round(20_000 * share))], canaries=200, seed=18)
    assert ended.share == 1
    assert np.median(ended.requests) <= 1.3 * requests


@pytest.mark.parametrize(
    ("failing", "share", "calls"), [(0.025, 0.93, 289), (0.05, 0.99, 74), (0.2, 0.99, 87), (1.0, 1.0, 12)]
)
def test_the_plan_finds_what_fails(failing: float, share: float, calls: int) -> None:
    """Five, ten, forty, two hundred times as often, after at most 1.3 times *calls* of the candidate."""
    ended = run(World(candidate_failing=failing), PLAN, canaries=200, seed=19)
    assert ended.share >= share
    assert np.median(ended.calls) <= 1.3 * calls


@pytest.mark.parametrize(("sigma", "share", "requests"), [(0.3, 1.0, 2000), (0.6, 0.95, 8000)])
def test_a_slower_candidate_is_found_in_time(sigma: float, share: float, requests: int) -> None:
    """1.3 times slower: half of the canaries end after at most 1.3 times *requests*."""
    ended = run(World(sigma=sigma, slower=1.3), A_TENTH, canaries=200, seed=20)
    assert ended.share >= share
    assert np.median(ended.requests) <= 1.3 * requests
    assert set(ended.by) <= {"", *QUANTILES}


@pytest.mark.parametrize(("bound", "images"), [(0.05, 320), (0.01, 1540)])
def test_other_answers_are_found_in_time(bound: float, images: int) -> None:
    """At twice the bound; each call has an image whose answer is sure."""
    world = World(sure=1, flips=2 * bound)
    ended = run(world, A_TENTH, canaries=200, seed=21, limits=Limits(most_disagreement=bound))
    assert ended.share == 1
    assert np.median(ended.requests) <= 1.3 * images


def test_much_traffic_hides_nothing() -> None:
    """Five hundred calls a second, of which some fail in each: ten times as often is found in half a minute."""
    world = World(rate=500, look_s=2, candidate_failing=0.05)
    ended = run(world, [(0.5, 10_000)], canaries=50, seed=22)
    assert ended.share == 1
    assert ended.requests.max() <= 30 * world.rate


def test_the_judge_weighs_what_the_scales_weigh() -> None:
    """From histograms, one canary after the other, it comes to the evidence of many canaries at once."""
    world = attrs.evolve(GOOD, candidate_failing=0.02, batch=4, rate=50, look_s=2, slower=1.2)
    draws, limits = np.random.default_rng(23), attrs.evolve(WITH_A_BOUND, calibration=10**9)
    scales = empty(5, limits)
    judges = [Judge(limits) for _ in range(5)]
    for judge in judges:
        judge.edges = world.edges
    for _ in range(20):
        raw = world.look(draws, 5, 0.2)
        scales.weigh(*raw.marks(world.edges, limits.slower))
        for canary, judge in enumerate(judges):
            judge.look(Look(stable=raw.counts(canary, candidate=False), candidate=raw.counts(canary, candidate=True)))
            for name, log in judge.scales.logs().items():
                assert log == pytest.approx(scales.logs()[name][canary], abs=1e-3)
            assert judge.scales.outright == np.asarray(scales.outright)[canary]


def test_what_is_slow_may_be_learned_in_the_canary() -> None:
    """Thirty good canaries that know nothing before: none is ended, and all have what is needed to pass."""
    world, draws = attrs.evolve(GOOD, rate=100, look_s=2), np.random.default_rng(24)
    judges = [Judge(WITH_A_BOUND, Latency()) for _ in range(30)]
    for share in (0.1, 0.5):
        for _ in range(20):
            raw = world.look(draws, len(judges), share)
            for canary, judge in enumerate(judges):
                stable, candidate = raw.counts(canary, candidate=False), raw.counts(canary, candidate=True)
                assert judge.look(Look(stable=stable, candidate=candidate)) is None
    assert {tuple(judge.missing()) for judge in judges} == {()}
