"""What answers say, on pairs that are made by hand."""

from scripts.compare.figures import Figures, Share, most_different
from tests.unit.compare.scene import pair


def test_agreement_is_counted_by_the_best_class() -> None:
    """Of four pictures two agree; another best class may still be among the other's five, and the last class is not."""
    found = Figures.of([pair(0, 0), pair(1, 1), pair(0, 1), pair(0, 6)], classes=7)
    assert (found.agreement, found.near) == (Share(2, 4), Share(3, 4))
    assert Figures.of([pair(0, 1)], classes=5).near is None


def test_what_the_baseline_was_sure_of_is_counted_apart() -> None:
    """From 90% on; a share of nothing stays one."""
    pairs = [pair(0, 1, sure=0.89), pair(0, 1, sure=0.9), pair(0, 0, sure=0.99)]
    assert Figures.of(pairs, classes=7).sure_agreement == Share(1, 2)
    assert Figures.of(pairs[:1], classes=7).sure_agreement == Share(0, 0)


def test_probabilities_move() -> None:
    """Means of the best class's probability, and of what became of it; quantiles of the largest changes."""
    found = Figures.of([pair(0, 0, shift=0.2), pair(0, 1, shift=0.6), pair(1, 1, shift=0.1)], classes=7)
    assert [round(value, 9) for value in found.confidence] == [0.8, 0.7]
    assert round(found.kept, 9) == round((2 * 0.7 + 0.05) / 3 - 0.8, 9)
    assert (found.shifts[0], round(found.shifts[1], 9), found.shifts[2]) == (0.2, 0.56, 0.6)


def test_accuracy_is_of_both_and_of_pairs() -> None:
    """One is right in both, two are lost, one is won, and the right class is among five more often."""
    pairs = [pair(0, 0, label=0), pair(0, 1, label=0), pair(3, 2, label=3), pair(1, 2, label=2), pair(0, 0, label=6)]
    found = Figures.of(pairs, classes=7).accuracy
    assert found is not None
    assert (found.baseline, found.candidate, found.lost, found.won) == (Share(3, 5), Share(2, 5), 2, 1)
    assert found.in_five == (Share(4, 5), Share(4, 5))
    assert (found.loss, found.chance) == (0.2, 1.0)
    low, high = found.loss_interval
    assert low < 0 < 0.2 < high
    assert Figures.of([pair(0, 1)], classes=7).accuracy is None


def test_changes_are_listed_by_how_many_and_what_they_cost() -> None:
    """The frequent first, then those that were right."""
    pairs = [pair(0, 1, label=1), pair(0, 1, label=5), pair(3, 4, label=5), pair(2, 4, label=2), pair(5, 5, label=5)]
    changes = Figures.of(pairs, classes=7).changes
    assert [(one.was, one.became, one.pictures, one.lost, one.won) for one in changes] == [
        ("cat", "dog", 2, 0, 1),
        ("<script>alert(1)</script>", "fox", 1, 1, 0),
        ("eel", "fox", 1, 0, 0),
    ]


def test_the_most_different_have_another_class() -> None:
    """A picture with another best class comes before one whose probabilities moved farther."""
    near, far, other = pair(0, 0, shift=0.1, name="b"), pair(0, 0, shift=0.5, name="a"), pair(0, 1, shift=0.2, name="c")
    assert most_different([near, far, other], 2) == [other, far]
