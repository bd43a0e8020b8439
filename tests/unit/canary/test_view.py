"""Figures as people read them."""

import pytest

from scripts.canary.view import duration, percent, weight


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (0.00042, "0.042%"), (0.021, "2.1%"), (0.0999, "10%"), (0.48, "48%"), (0.996, "100%"), (1, "100%")],
)
def test_a_share_has_no_exponent(share: float, text: str) -> None:
    """Also where all of it fails."""
    assert percent(share) == text


def test_times_and_weights_are_short() -> None:
    """Two units of time, and no digits that say nothing."""
    assert [duration(seconds) for seconds in (0.2, 60, 125, 7260, 90_000)] == [
        "1 s", "1 min", "2 min 5 s", "2 h 1 min", "1 d 1 h",
    ]  # fmt: skip
    assert [weight(evidence) for evidence in (0.0123, 3.14, 1234567)] == ["0.012", "3.1", "1,234,567"]
