"""What people see of a canary: where it stands, and what is to be expected of a step."""

import math
from collections.abc import Sequence
from typing import Any

import attrs

from scripts.agent.outcomes import QUANTILES, Latency
from scripts.canary.judge import Figure, Judge
from scripts.canary.kept import Record
from scripts.canary.settings import Step
from scripts.host.figures import brief

COLUMNS = ("", "stable", "candidate", "evidence", "ends the canary at")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@attrs.frozen(kw_only=True)
class View:
    """Where a canary stands.

    Attributes:
        title: The step, and what was seen at it.
        rows: A row for each statistic, as `COLUMNS` says.
        line: All of it in a line.
        waits: What the step still waits for, to be said behind that; empty: nothing.
    """

    title: str
    rows: Sequence[tuple[str, ...]]
    line: str
    waits: str

    @classmethod
    def of(cls, judge: Judge, step: Step, record: Record, *, missing: Sequence[str]) -> "View":
        """Make it of what the judge knows, how far the canary is at *step*, and what that still waits for."""
        stable, candidate = record.stable, record.version
        figures = judge.figures()
        title = (
            f"{100 * step.share:g}% to version {candidate} for {duration(record.seconds)}: {record.calls:,} of "
            f"{step.calls:,} calls"
        )
        counted = figures[0]
        line = (
            f"{title}; failed: {_of(counted.candidate, counted.candidate_of)} of version {candidate}, "
            f"{_of(counted.stable, counted.stable_of)} of version {stable}; p50 / p95 / p99: "
            f"{_milliseconds(judge.candidate)} and {_milliseconds(judge.stable)}"
        )
        waits = f"; waiting for {'; '.join(missing)}" if missing else ""
        return cls(
            title=title + waits,
            rows=[
                *(_row(figure) for figure in figures),
                ("p50 / p95 / p99", _milliseconds(judge.stable), _milliseconds(judge.candidate), "", ""),
            ],
            line=line,
            waits=waits,
        )


def as_data(judge: Judge) -> dict[str, Any]:
    """Return the figures for the log."""
    return {
        "statistics": [attrs.asdict(figure) for figure in judge.figures()],
        "latency_ms": {
            name: [None if s is None else round(1e3 * s, 3) for s in map(latency.quantile, QUANTILES)]
            for name, latency in (("stable", judge.stable), ("candidate", judge.candidate))
        },
    }


def duration(seconds: float) -> str:
    """Return a time in words, to two units: ``2 min 5 s``."""
    whole = math.ceil(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    for unit, name, below, less in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min"), (_MINUTE, "min", 1, "s")):
        if whole >= unit:
            many, rest = divmod(whole, unit)
            return f"{many} {name} {rest // below} {less}" if rest // below else f"{many} {name}"
    raise AssertionError("a minute is the last unit")


def percent(share: float) -> str:
    """Return a share as a percentage of two digits, or of three: ``0.42%``, ``48%``, ``100%``."""
    return f"{100 * share:.0f}%" if share >= 0.095 else f"{100 * share:.2g}%"


def weight(evidence: float) -> str:
    """Return evidence in figures that can be read."""
    return f"{evidence:,.0f}" if evidence >= 100 else f"{evidence:.2g}"


def _row(figure: Figure) -> tuple[str, ...]:
    stable = _of(figure.stable, figure.stable_of) if figure.stable_of else ""
    candidate = _of(figure.candidate, figure.candidate_of)
    return figure.statistic, stable, candidate, weight(figure.evidence), weight(figure.limit)


def _of(hits: float, of: int) -> str:
    share = f" ({percent(hits / of)})" if of else ""
    return f"{hits:,.0f} of {of:,}{share}"


def _milliseconds(latency: Latency) -> str:
    found = [latency.quantile(share) for share in QUANTILES]
    return " / ".join("?" if seconds is None else brief(1e3 * seconds) for seconds in found) + " ms"
