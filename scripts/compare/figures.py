"""What the answers of two versions say: how often they agree, how far probabilities moved, who is right more often."""

from collections import Counter
from collections.abc import Iterable, Sequence

import attrs
import numpy as np

from scripts.compare.answers import FIVE, Pair
from scripts.compare.chance import Interval, difference_interval, mcnemar, share_interval

# Where the baseline was as sure as this, another answer tells a broken version rather than another training.
SURE = 0.9


@attrs.frozen
class Share:
    """So many of so many.

    Attributes:
        hits: How many.
        of: Of how many.
    """

    hits: int
    of: int

    @classmethod
    def count(cls, found: Iterable[bool]) -> "Share":
        """Count what is true."""
        listed = list(found)
        return cls(sum(listed), len(listed))

    @property
    def other(self) -> "Share":
        """Those that are not."""
        return Share(self.of - self.hits, self.of)

    @property
    def value(self) -> float:
        """The share, from 0 to 1."""
        return self.hits / self.of

    @property
    def interval(self) -> Interval:
        """Its exact interval of 95%."""
        return share_interval(self.hits, self.of)


@attrs.frozen(kw_only=True)
class Accuracy:
    """How often each version is right.

    Attributes:
        baseline: The baseline's share of right answers.
        candidate: The candidate's.
        in_five: How often the right class is among the five best of each; None where there are no more classes.
        lost: Pictures that only the baseline got right.
        won: Pictures that only the candidate got right.
    """

    baseline: Share
    candidate: Share
    in_five: tuple[Share, Share] | None
    lost: int
    won: int

    @property
    def loss(self) -> float:
        """How much smaller the candidate's accuracy is."""
        return (self.lost - self.won) / self.baseline.of

    @property
    def loss_interval(self) -> Interval:
        """Its interval of 95%."""
        return difference_interval(self.lost, self.won, self.baseline.of)

    @property
    def chance(self) -> float:
        """McNemar's exact test: how often chance alone makes such a difference."""
        return mcnemar(self.lost, self.won)


@attrs.frozen(kw_only=True)
class Change:
    """A class that became another one.

    Attributes:
        was: The baseline's answer.
        became: The candidate's.
        pictures: How many.
        lost: Of these, how many were right before.
        won: And how many are right now.
    """

    was: str
    became: str
    pictures: int
    lost: int
    won: int


@attrs.frozen(kw_only=True)
class Figures:
    """All of it.

    Attributes:
        pictures: How many were asked.
        agreement: How often both have the same best class.
        near: How often the best class of each is among the other's five; None where there are no more classes.
        sure_agreement: How often both have the same best class, where the baseline was at least 90% sure.
        confidence: The mean probability of the best class, of the baseline and of the candidate.
        kept: The mean difference that the candidate makes to the probability of the baseline's best class.
        shifts: Median, 95th percentile and largest of the pictures' largest differences of a probability.
        accuracy: Who is right how often; None where nobody told the classes.
        changes: What became what, the most frequent first.
    """

    pictures: int
    agreement: Share
    near: Share | None
    sure_agreement: Share
    confidence: tuple[float, float]
    kept: float
    shifts: tuple[float, float, float]
    accuracy: Accuracy | None
    changes: tuple[Change, ...]

    @classmethod
    def of(cls, pairs: Sequence[Pair], *, classes: int) -> "Figures":
        """Compute them of at least one pair; *classes* is how many there are."""
        sure = [pair.same for pair in pairs if pair.baseline[0].probability >= SURE]
        shifts = np.percentile([pair.shift for pair in pairs], [50, 95, 100])
        return cls(
            pictures=len(pairs),
            agreement=Share.count(pair.same for pair in pairs),
            near=Share.count(pair.near for pair in pairs) if classes > FIVE else None,
            sure_agreement=Share.count(sure),
            confidence=(
                float(np.mean([pair.baseline[0].probability for pair in pairs])),
                float(np.mean([pair.candidate[0].probability for pair in pairs])),
            ),
            kept=float(np.mean([pair.kept - pair.baseline[0].probability for pair in pairs])),
            shifts=(float(shifts[0]), float(shifts[1]), float(shifts[2])),
            accuracy=None if pairs[0].label is None else _accuracy(pairs, classes=classes),
            changes=_changes(pairs),
        )


def most_different(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Return the *count* pictures whose probabilities moved most, those with another answer first."""
    return sorted(pairs, key=lambda pair: (pair.same, -pair.shift, str(pair.path)))[:count]


def _accuracy(pairs: Sequence[Pair], *, classes: int) -> Accuracy:
    in_five = None
    if classes > FIVE:
        in_five = (
            Share.count(pair.right_in_five[0] for pair in pairs),
            Share.count(pair.right_in_five[1] for pair in pairs),
        )
    return Accuracy(
        baseline=Share.count(pair.right[0] for pair in pairs),
        candidate=Share.count(pair.right[1] for pair in pairs),
        in_five=in_five,
        lost=sum(pair.right == (True, False) for pair in pairs),
        won=sum(pair.right == (False, True) for pair in pairs),
    )


def _changes(pairs: Sequence[Pair]) -> tuple[Change, ...]:
    changed = [pair for pair in pairs if not pair.same]
    # By index: ImageNet has classes of the same name.
    found = Counter((pair.baseline[0].index, pair.candidate[0].index) for pair in changed)
    names = {score.index: score.label for pair in changed for score in (pair.baseline[0], pair.candidate[0])}
    lost = Counter((pair.baseline[0].index, pair.candidate[0].index) for pair in changed if pair.right[0])
    won = Counter((pair.baseline[0].index, pair.candidate[0].index) for pair in changed if pair.right[1])
    return tuple(
        Change(was=names[key[0]], became=names[key[1]], pictures=count, lost=lost[key], won=won[key])
        for key, count in sorted(found.items(), key=lambda item: (-item[1], -lost[item[0]], -won[item[0]], item[0]))
    )
