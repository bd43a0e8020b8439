"""Draw docs/gpu.svg from the table of docs/gpu.md, images per second by callers: `python -m benchmarks.gpu_plot`."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
PAGE, PICTURE = ROOT / "docs" / "gpu.md", ROOT / "docs" / "gpu.svg"
MARK = "<!-- drawn by python -m benchmarks.gpu_plot -->\n"
COLOURS = ("#b5483a", "#9aa5b1", "#2f7d4f")


def table(page: str) -> dict[str, list[float]]:
    """Return the columns of the table behind the mark in *page*, by their heads."""
    text = page.partition(MARK)[2].lstrip().partition("\n\n")[0]
    heads, _, *rows = ([cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines())
    return {head: [float(row[place].replace(",", "")) for row in rows] for place, head in enumerate(heads)}


def draw(columns: dict[str, list[float]], path: Path) -> None:
    """Write an SVG with a line for each column after the first, which has the numbers of callers."""
    # The same figures give the same file.
    mpl.rcParams["svg.hashsalt"] = "gpu"
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    panel = figure.subplots()
    (head, callers), *lines = columns.items()
    for (name, rates), colour in zip(lines, COLOURS, strict=True):
        panel.plot(callers, rates, marker="o", markersize=4, color=colour, label=name)
    panel.set_xscale("log", base=2)
    panel.set_xticks(callers, [f"{number:.0f}" for number in callers])
    panel.set_ylim(bottom=0)
    panel.set_xlabel(f"{head} of single images", fontsize=8)
    panel.set_ylabel("images/s", fontsize=8)
    panel.set_title("ResNet50 FP32 on an H100, one instance", fontsize=9, loc="left")
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(fontsize=8, frameon=False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(table(PAGE.read_text(encoding="utf-8")), PICTURE)
