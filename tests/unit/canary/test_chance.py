"""The e-processes, held against the exact expectation of every case of small numbers."""

import math
from itertools import product

import numpy as np
import pytest

from scripts.canary.chance import RATIOS, Evidence
from tests.unit.canary.simulated import NUMPY


def factor(hits: float, calls: float, stable_hits: float, stable_calls: float) -> list[float]:
    """Return by what one look multiplies the e-process of each ratio."""
    evidence = Evidence()
    evidence.compare(hits, calls, stable_hits, stable_calls)
    return [math.exp(log) for log in evidence.logs]


@pytest.mark.parametrize(("calls", "stable_calls"), [(1, 9), (5, 5), (12, 3), (20, 40)])
def test_a_look_at_two_alike_multiplies_by_at_most_one_on_average(calls: int, stable_calls: int) -> None:
    """For each ratio and each number of failures, by whichever calls they fell on."""
    for failed in range(calls + stable_calls + 1):
        ways = math.comb(calls + stable_calls, failed)
        mean = np.zeros(len(RATIOS))
        for hits in range(max(0, failed - stable_calls), min(calls, failed) + 1):
            chance = math.comb(calls, hits) * math.comb(stable_calls, failed - hits) / ways
            mean += chance * np.array(factor(hits, calls, failed - hits, stable_calls))
        assert (mean <= 1 + 1e-12).all()


def test_parts_of_hits_multiply_by_at_most_one_on_average() -> None:
    """Calls that count by parts of 1, dealt to two versions in each way that there is."""
    parts = (0.0, 0.0, 0.2, 0.5, 0.9, 1.0)
    mean = np.zeros(len(RATIOS))
    for mine in product((False, True), repeat=len(parts)):
        hits = sum(part for part, is_mine in zip(parts, mine, strict=True) if is_mine)
        share = 0.3 ** sum(mine) * 0.7 ** (len(parts) - sum(mine))
        mean += share * np.array(factor(hits, sum(mine), sum(parts) - hits, len(parts) - sum(mine)))
    assert (mean <= 1 + 1e-12).all()


@pytest.mark.parametrize("most", [0.001, 0.02, 0.5])
def test_a_look_at_one_at_its_bound_multiplies_by_one_on_average(most: float) -> None:
    """The expectation is exact: neither promised too much nor given away."""
    mean = np.zeros(len(RATIOS))
    for hits in range(31):
        evidence = Evidence()
        evidence.hold(hits, 30, most)
        mean += math.comb(30, hits) * most**hits * (1 - most) ** (30 - hits) * np.exp(evidence.logs)
    assert mean == pytest.approx(np.ones(len(RATIOS)))


def test_what_fails_both_tells_nothing() -> None:
    """If each call of both versions fails, a pod is away: the evidence stays what it was."""
    assert factor(20, 20, 180, 180) == pytest.approx(np.ones(len(RATIOS)))


def test_no_calls_tell_nothing() -> None:
    """Neither no calls at all, nor calls of one version alone."""
    assert factor(0, 0, 0, 0) == factor(0, 0, 3, 90) == [1] * len(RATIOS)
    assert factor(3, 90, 0, 0) == pytest.approx(np.ones(len(RATIOS)))


def test_looks_multiply_and_the_share_may_change() -> None:
    """Two looks with different shares give the product of what each gives by itself."""
    both = Evidence()
    both.compare(1, 10, 2, 990)
    both.compare(3, 100, 1, 100)
    one, other = factor(1, 10, 2, 990), factor(3, 100, 1, 100)
    assert np.exp(both.logs) == pytest.approx(np.array(one) * other)
    assert math.exp(both.log()) == pytest.approx(np.mean(np.array(one) * other))


def test_hits_that_come_together_are_one_piece_of_evidence() -> None:
    """Each hit eightfold is worth as much as each once, if they are said to come together by eights."""
    single, eightfold = Evidence(), Evidence()
    single.compare(3, 100, 4, 10_000)
    eightfold.compare(8 * 3, 8 * 100, 8 * 4, 8 * 10_000)
    assert eightfold.log(8.0) == pytest.approx(single.log())


def test_many_canaries_are_judged_like_each_by_itself() -> None:
    """Arrays give the numbers that single canaries give."""
    hits, calls = np.array([0.0, 2.0, 7.0]), np.array([10.0, 30.0, 40.0])
    many = Evidence(arithmetic=NUMPY)
    many.compare(hits, calls, hits + 1, 9 * calls)
    many.hold(hits, calls, 0.02)
    for place, (one, of) in enumerate(zip(hits, calls, strict=True)):
        single = Evidence()
        single.compare(float(one), float(of), float(one) + 1, 9 * float(of))
        single.hold(float(one), float(of), 0.02)
        assert many.log()[place] == pytest.approx(single.log())
