"""The report as one HTML file that needs nothing else: no script, no font and no picture from elsewhere."""

import base64
import io
from collections import Counter
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scripts.compare import plots
from scripts.compare.answers import Pair
from scripts.compare.comparison import MOST_DIFFERENT, Comparison
from scripts.compare.figures import SURE
from scripts.compare.timing import callers_of
from scripts.compare.verdict import Ruling, points, signed
from triton_sdk.predictions import ClassScore

_STYLE = Path(__file__).with_name("page.css")
# The browser fetches nothing and runs nothing, whatever the names of classes and files say.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# Rows of the confusion, and of the list beside it.
_CLASSES, _CHANGES = 10, 15
# Answers of each version beside a picture.
_ANSWERS = 3
_THUMBNAIL = 224
_REST = "other classes"
_FOOT = (
    "Intervals are of 95%: exact for shares (Clopper and Pearson) and for medians, of scores for the difference of "
    "accuracies (Tango). They hold for other pictures that are chosen like these."
)
_WORDS = {
    "ok": ("ok", "Within the limit."),
    "failed": ("failed", "Beyond the limit."),
    "too few": ("few", "Too few pictures."),
}


def page(found: Comparison, *, look: Callable[[Path], NDArray[np.uint8]]) -> str:
    """Return the report.

    Args:
        found: What to report.
        look: Gives a picture as the baseline sees it, uint8 ``(height, width, 3)``.
    """
    parts = [
        f"<h1>{escape(found.title)}</h1>",
        f'<p class="soft">{found.figures.pictures:,} pictures of {escape(found.source)}, '
        f"asked of {escape(found.server)}</p>",
        *(_ruling(one) for one in found.rulings),
        *(f'<p class="card ruling note"><b>Note.</b>{escape(note)}</p>' for note in found.notes),
        _tiles(found),
        "<h2>Plots</h2>",
        _plots(found),
        "<h2>Figures</h2>",
        _table(found),
        "<h2>What changed</h2>",
        _changes(found),
        "<h2>The most different pictures</h2>",
        _pictures(found, look),
        f"<footer>{_FOOT}</footer>",
    ]
    style = _STYLE.read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(found.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _ruling(ruling: Ruling) -> str:
    open_ = ruling.state == "ok" and not ruling.limited
    kind, head = ("plain", "Measured.") if open_ else _WORDS[ruling.state]
    return f'<p class="card ruling {kind}"><b>{head}</b>{escape(ruling.words)}</p>'


def _tiles(found: Comparison) -> str:
    figures, timing = found.figures, found.timing
    low, high = figures.agreement.interval
    tiles = [(points(figures.agreement.value), f"same best class ({points(low)} to {points(high)})")]
    if figures.accuracy is not None:
        least, most = figures.accuracy.loss_interval
        now = points(figures.accuracy.candidate.value)
        change = f"of accuracy, now {now} ({signed(-most)} to {signed(-least)})"
        tiles.append((f"{signed(-figures.accuracy.loss)} points", change))
    shift = f"largest change of a probability, in the median (p95 {figures.shifts[1]:.2g})"
    tiles.append((f"{figures.shifts[0]:.2g}", shift))
    ratios = [("latency", timing.slower, timing.slower_interval)]
    if timing.callers:
        ratios.append((f"throughput, {callers_of(timing.callers)}", timing.more, timing.more_interval))
    for name, ratio, (low, high) in ratios:
        tiles.append((f"x{ratio:.2f}", f"the baseline's {name} ({low:.2f} to {high:.2f})"))
    listed = (
        f'<div class="card tile"><strong>{escape(big)}</strong><span>{escape(small)}</span></div>'
        for big, small in tiles
    )
    return f'<div class="tiles">{"".join(listed)}</div>'


def _plots(found: Comparison) -> str:
    one, two = (f"version {number}" for number in found.versions)
    key = f'<span class="key">{one}</span> &ensp;<span class="key two">{two}</span>'
    drawn = [
        (
            "The baseline's best class",
            'Its probability with each version. <span class="key same">same best class</span> &ensp;'
            '<span class="key other">another</span>',
            plots.probabilities(found.pairs, found.versions),
        ),
        (
            "How far probabilities moved",
            "The largest change of any class's probability, for each picture.",
            plots.shifts(found.pairs),
        ),
        (
            "Latency of a lone caller",
            f"{key}, one call of each in turn.",
            plots.latencies(found.timing.latencies_ms, found.versions),
        ),
        (
            "Shares",
            f"Sure: where {one} gives at least {SURE:.0%}.",
            plots.intervals(found.figures, found.versions),
        ),
    ]
    figures = (
        f'<figure class="card"><h3>{escape(title)}</h3><figcaption>{said}</figcaption>{plot}</figure>'
        for title, said, plot in drawn
    )
    return f'<div class="plots">{"".join(figures)}</div>'


def _table(found: Comparison) -> str:
    heads = "".join(f"<th>{escape(head)}</th>" for head in found.columns)
    rows = []
    for name, *cells in found.rows:
        listed = zip(("data-of", "data-of", "class"), found.columns[1:], cells, strict=True)
        rows.append(
            f"<tr><th>{escape(name)}</th>"
            + "".join(f'<td {key}="{escape(head)}">{escape(cell)}</td>' for key, head, cell in listed)
            + "</tr>"
        )
    return (
        f'<div class="card scroll"><table class="figures"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _changes(found: Comparison) -> str:
    changes = found.figures.changes
    if not changes:
        return '<p class="card">No picture got another best class.</p>'
    labelled = found.figures.accuracy is not None
    one, two = found.versions
    heads = '<th class="number">pictures</th>' + f"<th>version {one} said</th><th>version {two} says</th>"
    if labelled:
        heads += '<th class="number">was right</th><th class="number">is right</th>'
    rows = []
    for change in changes[:_CHANGES]:
        numbers = (change.lost, change.won) if labelled else ()
        rows.append(
            f'<tr><td class="number">{change.pictures}</td>'
            f"<td>{escape(change.was)}</td><td>{escape(change.became)}</td>"
            + "".join(f'<td class="number">{number}</td>' for number in numbers)
            + "</tr>"
        )
    more = len(changes) - _CHANGES
    rest = f'<p class="soft">And {more:,} more kinds of change: --json has all of them.</p>' if more > 0 else ""
    listed = (
        f'<div class="card scroll"><table class="changes"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>{rest}</div>"
    )
    return f'<div class="changed">{_confusion(found)}{listed}</div>'


def _confusion(found: Comparison) -> str:
    """Return a table of the pictures with another best class: the baseline's down, the candidate's across."""
    moved = [(pair.baseline[0], pair.candidate[0]) for pair in found.pairs if not pair.same]
    names = {score.index: score.label for both in moved for score in both}
    weight = Counter(score.index for both in moved for score in both)
    shown = sorted(weight, key=lambda index: (-weight[index], index))
    places = dict(enumerate(shown[: _CLASSES if len(shown) > _CLASSES + 1 else _CLASSES + 1]))
    at = {index: place for place, index in places.items()}
    rest = len(places)
    cells = Counter((at.get(was.index, rest), at.get(became.index, rest)) for was, became in moved)
    heads = [names[index] for index in places.values()] + ([_REST] if len(shown) > len(places) else [])
    most = max(cells.values())
    rows = []
    for down, head in enumerate(heads):
        row = [f'<th title="{escape(head)}">{escape(head)}</th>']
        for over in range(len(heads)):
            count = cells[down, over]
            if count:
                row.append(f'<td style="background: rgba(var(--heat), {0.15 + 0.6 * count / most:.2f})">{count}</td>')
            else:
                row.append('<td class="self"></td>' if down == over != rest else "<td></td>")
        rows.append(f"<tr>{''.join(row)}</tr>")
    across = "".join(f'<th title="{escape(head)}"><span>{escape(head)}</span></th>' for head in heads)
    one, two = found.versions
    return (
        f'<div class="card scroll"><p class="soft">Down: what version {one} said. Across: what version {two} says. '
        'Only pictures with another best class.</p><table class="confusion">'
        f"<thead><tr><th></th>{across}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _pictures(found: Comparison, look: Callable[[Path], NDArray[np.uint8]]) -> str:
    shown = [pair for pair in found.most_different if pair.shift > 0]
    if not shown:
        return '<p class="card">No probability differs in any picture.</p>'
    cards = [_picture(pair, found, look(pair.path)) for pair in shown]
    said = "All that differ" if len(shown) < MOST_DIFFERENT else f"{len(shown)} of {found.figures.pictures:,}"
    return (
        f'<p class="soft">{said}: those with another best class first, then by the largest change of a probability.</p>'
        f'<div class="pictures">{"".join(cards)}</div>'
    )


def _picture(pair: Pair, found: Comparison, pixels: NDArray[np.uint8]) -> str:
    name = escape(found.name(pair))
    kind, tag = _tag(pair)
    answers = "".join(
        f'<div class="{side}"><h4 class="{side}">version {number}</h4>{_answers(top, pair.label)}</div>'
        for side, number, top in zip(("one", "two"), found.versions, (pair.baseline, pair.candidate), strict=True)
    )
    return (
        f'<article class="card picture"><header><span title="{name}">{name}</span>'
        f'<span class="tag {kind}">{tag}</span></header>'
        f'<img src="{_thumbnail(pixels)}" alt="" loading="lazy"><div class="answers">{answers}</div>'
        f"<p>Largest change of a probability: {pair.shift:.2g}</p></article>"
    )


def _tag(pair: Pair) -> tuple[str, str]:
    if pair.label is not None and pair.right[0] != pair.right[1]:
        return ("lost", "now wrong") if pair.right[0] else ("won", "now right")
    return ("same", "same class") if pair.same else ("other", "another class")


def _answers(top: Sequence[ClassScore], label: int | None) -> str:
    return "".join(
        f'<div class="answer{" true" if score.index == label else ""}" title="{escape(score.label)}">'
        f'<i style="width: {100 * min(max(score.probability, 0), 1):.1f}%"></i>'
        f"<span>{escape(score.label)}</span><span>{score.probability:.1%}</span></div>"
        for score in top[:_ANSWERS]
    )


def _thumbnail(pixels: NDArray[np.uint8]) -> str:
    """Return a picture as an address that holds all of it."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
