"""Put the figures of a run into docs/performance.md, between the marks of their section."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from benchmarks.aims import Outcome
from benchmarks.contest import Result
from benchmarks.figures import Moved, Spread, cpu, percentile, rates, ratio
from benchmarks.workloads import FAST, UINT8, Workload

CLIENTS: Final = "figures"
STORE: Final = "figures of the store"


def marks(section: str) -> tuple[str, str]:
    """Return what stands before and behind the figures of a section of the page."""
    return f"<!-- {section}: written by nox -s bench -->", f"<!-- end of {section} -->"


def into(page: str, figures: str, *, section: str) -> str:
    """Return *page* with *figures* between the marks of a section.

    Raises:
        ValueError: If the marks are not there, once each and in order.
    """
    first, last = marks(section)
    head, begin, rest = page.partition(first)
    _, end, tail = rest.partition(last)
    if not begin or not end or first in rest or last in tail:
        raise ValueError(f"The page needs one {first!r} and behind it one {last!r}.")
    return f"{head}{first}\n\n{figures.strip()}\n\n{last}{tail}"


def aims_table(outcomes: Iterable[Outcome]) -> str:
    """Return what was aimed at and reached."""
    rows = []
    for outcome in outcomes:
        aim = outcome.aim
        bound = "" if not aim.bound else f"{'>=' if aim.of == 'rate' else '<='} {aim.bound:g}"
        rows.append(
            (aim.title, outcome.against, bound or "-", str(outcome.reached or "-"), outcome.verdict if bound else "-")
        )
    return table(("ratio", "compared with", "aim", "reached", "verdict"), rows)


def workload_table(workload: Workload, results: Mapping[str, Result]) -> str:
    """Return what each contender did, the fastest first."""
    ours = next((group for group in (FAST, UINT8) if group in results), None)
    ordered = sorted(results.items(), key=lambda item: -rates(item[1].rounds).median)
    rows = []
    for group, result in ordered:
        speed, time = rates(result.rounds), cpu(result.rounds)
        lead = "" if ours is None or group == ours else str(ratio(results[ours].rounds, result.rounds))
        latency = [percentile(result.rounds, share) for share in (0.5, 0.99)]
        rows.append(
            (
                f"**{group}**" if group.startswith("triton_sdk") else group,
                result.variant.label,
                f"{speed.median:.0f} ({speed.low:.0f} to {speed.high:.0f})",
                f"{time.median:.2f}",
                " / ".join("-" if ms is None else f"{ms:.1f}" for ms in latency),
                lead or "-",
            )
        )
    heads = ("client", "tuning", "images/s", "client CPU s/1000", "p50 / p99 ms", f"{ours} is so many times as fast")
    return f"### {workload.title}\n\n{table(heads, rows)}"


def store_table(ways: Sequence[Moved]) -> str:
    """Return how long each way to the model store took, and what it moved."""
    ours = {way.name: way.moves for way in ways if not way.beside}
    rows = []
    for way in ways:
        counted = ("requests", "sent", "received")
        medians = [statistics.median(getattr(move, what) for move in way.moves) for what in counted]
        times = [a.seconds / b.seconds for a, b in zip(way.moves, ours[way.beside or way.name], strict=True)]
        rows.append(
            (
                way.name if way.beside else f"**{way.name}**",
                str(Spread.of([move.seconds for move in way.moves])),
                f"{medians[0]:.0f}",
                *(f"{size / 1e6:.2f}" for size in medians[1:]),
                str(Spread.of(times)) if way.beside else "-",
            )
        )
    heads = ("way", "seconds", "requests", "MB sent", "MB received", "so many times as long as ours")
    return table(heads, rows)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
