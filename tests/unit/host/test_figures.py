"""Figures for people."""

import pytest

from scripts.host.figures import brief


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0, 3, "0"),
        (0.004567, 3, "0.00457"),
        (4.0, 3, "4"),
        (99.96, 3, "100"),
        (123.4, 3, "123"),
        (999.6, 3, "1,000"),
        (1234.5, 3, "1,230"),
        (9.96, 2, "10"),
        (123.0, 2, "120"),
        (-1234.5, 3, "-1,230"),
    ],
)
def test_a_figure_has_the_digits_that_count(value: float, digits: int, text: str) -> None:
    """And no exponent, whose meaning a reader would have to work out."""
    assert brief(value, digits) == text
