"""Put the figures of a run into docs/performance.md, between two marks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from benchmarks.aims import Outcome
from benchmarks.contest import Result
from benchmarks.figures import cpu, percentile, rates, ratio
from benchmarks.workloads import FAST, UINT8, Workload

BEGIN: Final = "<!-- figures: written by nox -s bench -->"
END: Final = "<!-- end of figures -->"


def into(page: str, figures: str) -> str:
    """Return *page* with *figures* between its marks.

    Raises:
        ValueError: If the marks are not there, once each and in order.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in tail:
        raise ValueError(f"The page needs one {BEGIN!r} and behind it one {END!r}.")
    return f"{head}{BEGIN}\n\n{figures.strip()}\n\n{END}{tail}"


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


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
