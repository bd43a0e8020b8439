"""Which way of serving is chosen, what is measured for that, and when nothing changes."""

import pytest

from scripts.tuning.choose import Candidate, Layout, Measured, Precision, choose, to_try

USED = Candidate(precision="fp32", layout="NCHW", instances=2)


def measured(precision: Precision, layout: Layout, instances: int, rate: float, *, spread: float = 0.01) -> Measured:
    """Return a candidate that was measured three times with 1, 16 and 64 callers, around *rate*."""
    turns = [rate * (1 - spread / 2), rate, rate * (1 + spread / 2)]
    candidate = Candidate(precision=precision, layout=layout, instances=instances)
    return Measured(candidate=candidate, images_s=dict.fromkeys((1, 16, 64), turns))


def test_the_fastest_is_chosen_where_it_is_clearly_faster() -> None:
    """By the geometric mean over the numbers of callers."""
    choice = choose([measured("fp32", "NCHW", 2, 1000), measured("fp16", "NHWC", 2, 1600)], used=USED)
    assert choice.changes
    assert str(choice.best.candidate) == "FP16, NHWC, 2 instances"
    assert choice.gain == pytest.approx(0.6)


@pytest.mark.parametrize(("rate", "spread"), [(1040, 0.0), (1200, 0.3), (900, 0.0)])
def test_nothing_changes_within_the_noise(rate: float, spread: float) -> None:
    """A gain below a twentieth, or below what measurements differ by, is no gain; slower is none at all."""
    choice = choose([measured("fp32", "NCHW", 2, 1000), measured("fp16", "NCHW", 1, rate, spread=spread)], used=USED)
    assert not choice.changes
    assert choice.best.candidate == USED


def test_one_number_of_callers_does_not_decide_alone() -> None:
    """Twice the rate for many callers does not pay for a lone one that gets a quarter."""
    lonely = Measured(
        candidate=Candidate(precision="fp16", layout="NCHW", instances=4),
        images_s={1: [250.0] * 3, 16: [1000.0] * 3, 64: [2000.0] * 3},
    )
    assert not choose([measured("fp32", "NCHW", 2, 1000), lonely], used=USED).changes


def test_more_instances_are_tried_of_the_fastest_only_and_while_they_gain() -> None:
    """As on an H100: FP16 in NHWC is the fastest with one instance, two are faster still, three are not."""
    rates = {("fp32", "NCHW"): 1000.0, ("fp32", "NHWC"): 900.0, ("fp16", "NCHW"): 1300.0, ("fp16", "NHWC"): 1500.0}
    by_instances = {1: 1.0, 2: 1.5, 3: 1.2, 4: 1.1}
    done: list[Measured] = []
    while (candidate := to_try(done, used=USED)) is not None:
        rate = rates[candidate.precision, candidate.layout] * by_instances[candidate.instances]
        done.append(measured(candidate.precision, candidate.layout, candidate.instances, rate))
    assert [str(one.candidate) for one in done] == [
        "FP32, NCHW, 2 instances",
        "FP32, NCHW, 1 instance",
        "FP32, NHWC, 1 instance",
        "FP16, NCHW, 1 instance",
        "FP16, NHWC, 1 instance",
        "FP16, NHWC, 2 instances",
        "FP16, NHWC, 3 instances",
    ]
    assert str(choose(done, used=USED).best.candidate) == "FP16, NHWC, 2 instances"
