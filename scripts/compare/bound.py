"""How many answers a canary may see changed, by what a comparison has seen."""

from collections.abc import Mapping

import attrs

from scripts.compare.chance import share_interval
from scripts.compare.figures import Share
from scripts.compare.verdict import enough_pictures

# What lies above the limit by chance: callers' pictures differ from those that were compared, and so may their answers.
_TAIL = 0.01
# Callers' pictures are no sample of those that were compared: so many times more may change, and at least so much more.
_TIMES, _MORE = 1.5, 0.01
# A limit that lies further above what was seen tells more of the pictures' number than of the version.
_WIDE = 0.05


@attrs.frozen
class Bound:
    """What a canary takes of a comparison.

    Attributes:
        changed: The pictures that got another best class, of those of which the baseline was sure.
    """

    changed: Share

    @property
    def upper(self) -> float:
        """The share that other pictures like these do not exceed, with 99% certainty."""
        return _upper(self.changed.hits, self.changed.of)

    @property
    def most(self) -> float | None:
        """Which share of callers' images may get another best class; None: the pictures are too few to say."""
        found = self.changed
        if not found.of or self.upper - found.value > _WIDE:
            return None
        return round(min(1.0, max(_TIMES * self.upper, self.upper + _MORE)), 4)

    @property
    def needed(self) -> int | None:
        """About how many pictures of which the baseline is sure are enough; None: no number is."""
        share = self.changed.value if self.changed.of else 0.0
        return enough_pictures(lambda of: _upper(round(share * of), of) - share <= _WIDE, max(self.changed.of, 1))

    def to_dict(self) -> Mapping[str, int | float | None]:
        """Return it for scripts."""
        return {
            "most_disagreement": self.most,
            "other_answers": self.changed.hits,
            "sure_pictures": self.changed.of,
            "upper_limit": self.upper,
            "sure_pictures_needed": self.needed if self.most is None else None,
        }


def _upper(hits: int, of: int) -> float:
    return share_interval(hits, of, outside=_TAIL)[1]
