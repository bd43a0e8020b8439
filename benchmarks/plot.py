"""Draw images per second of every contender."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.contest import Result
from benchmarks.figures import rates
from benchmarks.workloads import Workload

OURS, PEER, FLOOR = "#2f7d4f", "#9aa5b1", "#d9c27e"


def draw(runs: Sequence[tuple[Workload, Mapping[str, Result]]], path: Path) -> None:
    """Write an SVG with a panel for each workload: the median as a bar, the spread as a line."""
    # The same figures give the same file.
    mpl.rcParams["svg.hashsalt"] = "performance"
    heights = [len(results) + 1.5 for _, results in runs]
    figure = Figure(figsize=(9, 0.28 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(runs), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (workload, results) in zip(panels, runs, strict=True):
        ordered = sorted(results.items(), key=lambda item: rates(item[1].rounds).median)
        speeds = [rates(result.rounds) for _, result in ordered]
        medians = [speed.median for speed in speeds]
        below = [speed.median - speed.low for speed in speeds]
        above = [speed.high - speed.median for speed in speeds]
        colours = [
            PEER if result.variant.peer else OURS if group.startswith("triton_sdk") else FLOOR
            for group, result in ordered
        ]
        names = [group for group, _ in ordered]
        panel.barh(names, medians, xerr=[below, above], color=colours, error_kw={"elinewidth": 0.8})
        for place, speed in enumerate(speeds):
            panel.text(speed.high, place, f"  {speed.median:.0f}", va="center", ha="left", fontsize=7)
        panel.set_title(workload.title, fontsize=9, loc="left")
        panel.set_xlabel("images/s", fontsize=7)
        panel.set_xlim(0, 1.15 * max(speed.high for speed in speeds))
        panel.tick_params(labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    kinds = ((OURS, "triton_sdk"), (PEER, "another client"), (FLOOR, "floor, which no client beats"))
    key: list[Artist] = [Patch(color=colour, label=label) for colour, label in kinds]
    key.append(Line2D([], [], color="black", linewidth=0.8, label="slowest to fastest round"))
    figure.legend(handles=key, loc="outside lower center", ncols=len(key), fontsize=7, frameon=False)
    figure.savefig(path, metadata={"Date": None})
