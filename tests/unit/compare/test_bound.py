"""The bound for a canary, from what was compared."""

import math

import pytest

from scripts.compare.bound import Bound
from scripts.compare.figures import Share
from scripts.packaging.trial.verdict import binomial_tail


@pytest.mark.parametrize(
    ("changed", "sure", "upper", "most"),
    [
        (0, 137, 1 - 0.01 ** (1 / 137), 0.0496),  # 3.31%, and half as much more
        (0, 5000, 1 - 0.01 ** (1 / 5000), 0.0109),  # a point more is more than half
        (100, 1000, 0.12419, 0.1863),
        (1000, 1000, 1.0, 1.0),
    ],
)
def test_the_bound_is_one_and_a_half_times_the_upper_limit(changed: int, sure: int, upper: float, most: float) -> None:
    """Of 99%, exact; and a point more at least, but never more than all."""
    bound = Bound(Share(changed, sure))
    assert bound.upper == pytest.approx(upper, abs=1e-5)
    assert bound.most == most
    told = bound.to_dict()
    assert (told["other_answers"], told["sure_pictures"], told["sure_pictures_needed"]) == (changed, sure, None)


@pytest.mark.parametrize(("changed", "sure"), [(2, 150), (100, 1000)])
def test_the_upper_limit_is_passed_in_one_of_a_hundred(changed: int, sure: int) -> None:
    """If the true share were the limit, so few changes would be seen with just that probability."""
    upper = Bound(Share(changed, sure)).upper
    assert 1 - binomial_tail(changed + 1, sure, upper) == pytest.approx(0.01, abs=1e-6)


@pytest.mark.parametrize(("changed", "sure", "needed"), [(0, 0, 90), (0, 12, 90), (0, 89, 90), (6, 60, 280)])
def test_too_few_sure_pictures_give_no_bound(changed: int, sure: int, needed: int) -> None:
    """About how many would is said, and so many are enough if the share stays."""
    told = Bound(Share(changed, sure)).to_dict()
    assert told["most_disagreement"] is None
    assert told["sure_pictures_needed"] == needed
    share = changed / sure if sure else 0
    assert Bound(Share(math.floor(share * needed), needed)).most is not None
