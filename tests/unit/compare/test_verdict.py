"""Limits, and when pictures are too few to tell."""

import re

import pytest

from scripts.compare.figures import Accuracy, Figures, Share
from scripts.compare.verdict import Limits, judge, points, signed, status
from tests.unit.compare.scene import pair


def figures(others: int, of: int, *, lost: int = 0, won: int = 0, right: int | None = None) -> Figures:
    """Return figures with so many other answers; *right* are those of the baseline that are."""
    accuracy = None
    if right is not None:
        accuracy = Accuracy(
            baseline=Share(right, of), candidate=Share(right - lost + won, of), in_five=None, lost=lost, won=won
        )
    made = Figures.of([pair(0, 0)], classes=7)
    return Figures(
        pictures=of,
        agreement=Share(of - others, of),
        near=None,
        sure_agreement=Share(0, 0),
        confidence=made.confidence,
        kept=0.0,
        shifts=made.shifts,
        accuracy=accuracy,
        changes=(),
    )


@pytest.mark.parametrize(
    ("others", "of", "limit", "state", "exit_status"),
    [
        (0, 200, 0.02, "ok", 0),  # up to 1.8%
        (0, 100, 0.02, "too few", 3),  # up to 3.6%
        (2, 100, 0.02, "too few", 3),
        (3, 100, 0.02, "failed", 1),
        (0, 3, 0.0, "ok", 0),  # these very pictures
        (1, 3, 0.0, "failed", 1),
        (100, 100, 1.0, "ok", 0),
        (0, 10, None, "too few", 0),  # nothing has to be told
        (50, 1000, None, "ok", 0),
    ],
)
def test_a_limit_of_disagreement_is_kept_broken_or_open(
    others: int, of: int, limit: float | None, state: str, exit_status: int
) -> None:
    """Kept only where chance cannot hide a breach: the whole interval lies within the limit."""
    limits = Limits(disagreement=limit)
    rulings = judge(figures(others, of), limits)
    assert [(one.about, one.state) for one in rulings] == [("agreement", state)]
    assert status(rulings) == exit_status
    assert f"{others} of {of} pictures get another answer" in rulings[0].words
    assert ("are too few to tell" in rulings[0].words) == (state == "too few")


@pytest.mark.parametrize(
    ("lost", "won", "of", "limit", "state", "exit_status"),
    [
        (0, 0, 200, 0.05, "ok", 0),
        (0, 0, 20, 0.05, "too few", 3),
        (12, 2, 100, 0.05, "failed", 1),
        (2, 12, 100, 0.01, "ok", 0),
        (1, 1, 100, 0.0, "ok", 0),
        (0, 0, 20, None, "too few", 0),
        (12, 2, 100, None, "ok", 0),  # shown to be worse, and nobody minds
        (1, 1, 1000, None, "ok", 0),
    ],
)
def test_a_limit_of_loss_is_kept_broken_or_open(
    lost: int, won: int, of: int, limit: float | None, state: str, exit_status: int
) -> None:
    """So it is for the difference of the accuracies."""
    limits = Limits(loss=limit)
    rulings = judge(figures(0, of, lost=lost, won=won, right=of // 2), limits)
    assert [(one.about, one.state) for one in rulings][1] == ("accuracy", state)
    assert status(rulings) == exit_status


def test_what_is_beyond_a_limit_outweighs_what_is_open() -> None:
    """Exit status 1, and both are told."""
    limits = Limits(disagreement=0.02, loss=0.01)
    rulings = judge(figures(0, 20, lost=4, won=0, right=15), limits)
    assert [one.state for one in rulings] == ["too few", "failed"]
    assert status(rulings) == 1


def test_a_proven_difference_names_the_better_version() -> None:
    """By McNemar's test; what is not proven says so."""
    worse, better, neither = (
        judge(figures(0, 100, lost=lost, won=won, right=60), Limits())[1].words
        for lost, won in ((12, 2), (2, 12), (3, 2))
    )
    assert "the baseline is better (McNemar's exact test: p = 0.013)" in worse
    assert "the candidate is better" in better
    assert "no proof of a difference" in neither


@pytest.mark.parametrize(("others", "of", "limit"), [(0, 10, 0.02), (1, 100, 0.02), (5, 300, 0.02), (1, 20, None)])
def test_the_number_of_pictures_that_is_named_is_enough(others: int, of: int, limit: float | None) -> None:
    """With the same share it is, and with nine tenths of it, or so, it is not."""
    (ruling,) = judge(figures(others, of), Limits(disagreement=limit))
    named = re.search(r"about ([\d,]+) would", ruling.words)
    assert named is not None
    needed = int(named[1].replace(",", ""))

    def state(pictures: int) -> str:
        return judge(figures(round(others * pictures / of), pictures), Limits(disagreement=limit))[0].state

    assert (state(needed), state(int(needed * 0.8))) == ("ok", "too few")


def test_the_number_for_a_loss_is_enough_too() -> None:
    """One pair lost of twenty may be 5 points or none: the number that is named tells."""
    limits = Limits(loss=0.1)
    ruling = judge(figures(0, 20, lost=1, won=0, right=15), limits)[1]
    named = re.search(r"about ([\d,]+) would", ruling.words)
    assert named is not None
    needed = int(named[1])
    assert judge(figures(0, needed, lost=round(needed / 20), won=0, right=needed), limits)[1].state == "ok"


def test_one_picture_is_no_plural() -> None:
    """Whoever tries the task with one is told how many would do."""
    assert "1 picture is too few to tell: about" in judge(figures(0, 1), Limits())[0].words


def test_at_the_limit_no_number_is_promised() -> None:
    """If two of a hundred differ and 2% may, more pictures need not tell."""
    assert "no number of pictures is sure to be enough" in judge(figures(2, 100), Limits(disagreement=0.02))[0].words


def test_shares_are_written_for_people() -> None:
    """What is nearly all is not called all; no zeros that say nothing, no negative zero."""
    assert [points(value) for value in (0, 0.00123, 0.02, 0.0996, 0.25, 0.333, 0.933, 0.96, 0.9998, 1)] == [
        "0%", "0.12%", "2%", "10%", "25%", "33.3%", "93.3%", "96%", "99.98%", "100%",
    ]  # fmt: skip
    assert [signed(value) for value in (0.0, -0.0, -0.0004, 0.012, -0.3)] == ["0.0", "0.0", "0.0", "+1.2", "-30.0"]
