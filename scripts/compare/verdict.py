"""Hold what was found against the limits, and say where the pictures are too few to tell."""

import bisect
import math
from collections.abc import Callable
from typing import Literal

import attrs

from scripts.compare.chance import Interval, difference_interval, share_interval
from scripts.compare.figures import Accuracy, Figures, Share

State = Literal["ok", "failed", "too few"]

# Exit statuses: what is beyond a limit is a failure like any other, and what nobody can tell yet is no success.
FAILED, TOO_FEW = 1, 3
# An interval wider than this is said to be so: five points to each side.
_WIDE = 0.1
# Beyond any collection of pictures.
_MOST = 1_000_000
_SIGNIFICANT = 0.05


@attrs.frozen(kw_only=True)
class Limits:
    """What is allowed.

    Attributes:
        disagreement: The share of pictures that may get another answer; None: any. 0 is about these pictures alone.
        loss: How much smaller the accuracy may be, from 0 to 1; None: any.
    """

    disagreement: float | None = None
    loss: float | None = None


@attrs.frozen(kw_only=True)
class Ruling:
    """What came of one question.

    Attributes:
        about: What it is about: ``"agreement"`` or ``"accuracy"``.
        limited: Whether there is a limit for it.
        state: ``"ok"`` also where there is no limit and enough pictures.
        words: The reason, in whole sentences.
    """

    about: str
    limited: bool
    state: State
    words: str


def judge(figures: Figures, limits: Limits) -> list[Ruling]:
    """Return a ruling on the agreement, and one on the accuracy where the classes are known."""
    state, words = _agreement(figures.agreement, limits.disagreement)
    found = [Ruling(about="agreement", limited=limits.disagreement is not None, state=state, words=words)]
    if figures.accuracy is not None:
        state, words = _accuracy(figures.accuracy, limits.loss)
        found.append(Ruling(about="accuracy", limited=limits.loss is not None, state=state, words=words))
    return found


def status(rulings: list[Ruling]) -> int:
    """Return the exit status: too few pictures count only where there is a limit for what they should tell."""
    states = {one.state for one in rulings if one.limited}
    return FAILED if "failed" in states else TOO_FEW if "too few" in states else 0


def _agreement(found: Share, limit: float | None) -> tuple[State, str]:
    of, other = found.of, found.other
    low, high = other.interval
    said = f"{other.hits} of {of} pictures get another answer, {points(other.value)}"
    between = f"for other pictures like these it is between {points(low)} and {points(high)}"
    if limit is None:
        if high - low <= _WIDE:
            return "ok", f"{said}; {between}."
        needed = enough_pictures(lambda n: _width(_scaled(other, n)) <= _WIDE, of)
        return "too few", f"{said}; {between}. {_too_few(of, needed, 'narrow that down')}"
    allowed = f"--max-disagreement allows {points(limit)}"
    if other.value > limit:
        return "failed", f"{said}, and {allowed}; {between}."
    # With 0 the question is about these very pictures.
    if high <= limit or limit == 0:
        return "ok", f"{said}, and {allowed}; {between}."
    needed = enough_pictures(lambda n: _scaled(other, n)[1] <= limit, of)
    few = _too_few(of, needed, "tell, if the share stays the same")
    return "too few", f"{said}; {between}, and {allowed}. {few}"


def _accuracy(found: Accuracy, limit: float | None) -> tuple[State, str]:
    low, high = found.loss_interval
    of = found.baseline.of
    now, before = points(found.candidate.value), points(found.baseline.value)
    said = f"The candidate is right in {now} of the pictures and the baseline in {before}"
    between = f"for other pictures like these the difference is between {signed(-high)} and {signed(-low)} points"
    if limit is None:
        proof = f"McNemar's exact test: p = {found.chance:.2g}"
        if found.chance <= _SIGNIFICANT:
            better = "baseline" if found.loss > 0 else "candidate"
            return "ok", f"{said}: the {better} is better ({proof}); {between}."
        said = f"{said}: that is no proof of a difference ({proof}); {between}."
        if high - low <= _WIDE:
            return "ok", said
        needed = enough_pictures(lambda n: _width(_scaled_difference(found, n)) <= _WIDE, of)
        return "too few", f"{said} {_too_few(of, needed, 'narrow that down')}"
    allowed = f"--max-loss allows {100 * limit:.3g} points less"
    if found.loss > limit:
        return "failed", f"{said}, and {allowed}; {between}."
    if high <= limit or limit == 0:
        return "ok", f"{said}, and {allowed}; {between}."
    needed = enough_pictures(lambda n: _scaled_difference(found, n)[1] <= limit, of)
    few = _too_few(of, needed, "tell, if the shares stay the same")
    return "too few", f"{said}; {between}, and {allowed}. {few}"


def points(share: float) -> str:
    """Return a share as a percentage; only all of them are 100%."""
    if share < 0.0995:
        return f"{100 * share:.2g}%"
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        return f"{100 - float(f'{100 - 100 * share:.1g}'):g}%"
    return f"{text.removesuffix('.0')}%"


def signed(share: float) -> str:
    """Return a difference of shares in points, with its sign."""
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _width(interval: Interval) -> float:
    return interval[1] - interval[0]


def _scaled(found: Share, of: int) -> Interval:
    """Return the interval that *of* pictures would have, if they were like these."""
    return share_interval(round(found.value * of), of)


def _scaled_difference(found: Accuracy, of: int) -> Interval:
    """Return the interval of the loss that *of* pictures would have, if they were like these."""
    scale = of / found.baseline.of
    return difference_interval(round(found.lost * scale), round(found.won * scale), of)


def enough_pictures(enough: Callable[[int], bool], at_least: int) -> int | None:
    """Return about how many pictures are *enough*; None where no number would be."""
    most = at_least
    while not enough(most):
        most *= 2
        if most > _MOST:
            return None
    exact: int = bisect.bisect_left(range(most), True, lo=at_least, key=enough)
    # Rounded up to two digits: the next pictures will not be just like these.
    unit: int = 10 ** max(len(str(exact)) - 2, 0)
    return math.ceil(exact / unit) * unit


def _too_few(of: int, needed: int | None, would: str) -> str:
    more = "no number of pictures is sure to be enough" if needed is None else f"about {needed:,} would {would}"
    return f"{of} picture{' is' if of == 1 else 's are'} too few to tell: {more}."
