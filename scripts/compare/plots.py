"""Plots as SVG, written here: no library, no script, nothing fetched; their colours are the page's."""

import math
from collections.abc import Sequence
from html import escape

import attrs
import numpy as np
from numpy.typing import NDArray

from scripts.compare.answers import Pair
from scripts.compare.figures import Figures

_WIDTH, _HEIGHT = 300, 232
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 42
# More points than these look like fewer, and make a heavy page.
_POINTS = 1500
# Steps of about a half order of magnitude: most changes are tiny, and the few large ones matter.
_EDGES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_SHARES = [(value, f"{value:.0%}") for value in (0, 0.25, 0.5, 0.75, 1)]

# A value, and how it is written.
Tick = tuple[float, str]


@attrs.frozen
class _Axes:
    """Places on the plot for values of two axes that begin at *x0* and 0."""

    x0: float
    x1: float
    y1: float

    def x(self, value: float) -> float:
        return _LEFT + (value - self.x0) / (self.x1 - self.x0) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - value / self.y1 * (_HEIGHT - _TOP - _BOTTOM)


def probabilities(pairs: Sequence[Pair], versions: tuple[int, int]) -> str:
    """Draw what became of the probability of the baseline's best class, a point for each picture."""
    axes = _Axes(0, 1, 1)
    changed = [pair for pair in pairs if not pair.same]
    alike = [pair for pair in pairs if pair.same]
    parts = [_frame(axes, _SHARES, _SHARES, f"version {versions[0]}", f"version {versions[1]}")]
    parts.append(_line(axes, [(0, 0), (1, 1)], "guide"))
    for kind, group in (("same", alike), ("other", changed)):
        for pair in group[:: math.ceil(len(group) / _POINTS) or 1]:
            x, y = axes.x(pair.baseline[0].probability), axes.y(pair.kept)
            parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>')
    said = f"{len(alike)} pictures with the same best class, {len(changed)} with another"
    return _svg(f"Probability of the baseline's best class with each version; {said}", parts)


def shifts(pairs: Sequence[Pair]) -> str:
    """Draw how many pictures had which largest change of a probability."""
    counts, _ = np.histogram([pair.shift for pair in pairs], bins=_EDGES)
    axes = _Axes(0, len(counts), max(int(counts.max()), 1) * 1.12)
    parts = [_frame(axes, (), (), "largest change of a probability", "pictures")]
    for place, count in enumerate(counts.tolist()):
        left, right = axes.x(place + 0.08), axes.x(place + 0.92)
        top = axes.y(count)
        parts.append(
            f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{axes.y(0) - top:.1f}"/>'
        )
        if count:
            parts.append(_text((left + right) / 2, top - 4, f"{count:,}", "value"))
    for place, edge in enumerate(_EDGES):
        parts.append(_text(axes.x(place), _HEIGHT - _BOTTOM + 14, f"{edge:g}".removeprefix("0") or "0"))
    said = ", ".join(f"{n} below {edge:g}" for n, edge in zip(counts.tolist(), _EDGES[1:], strict=True) if n)
    return _svg(f"Pictures by their largest change of a probability: {said}", parts)


def latencies(latencies_ms: NDArray[np.float64], versions: tuple[int, int]) -> str:
    """Draw which share of the calls had ended by when, for each version; float64 ``(2, n)`` in milliseconds."""
    # The slowest calls would press all others against the edge.
    most, least = float(np.percentile(latencies_ms, 97)), float(latencies_ms.min())
    step = _step((most - least * 0.9) / 4)
    first, last = math.floor(least * 0.95 / step) * step, math.ceil(most / step) * step
    axes = _Axes(first, last if last > first else first + step, 1)
    values = [first + step * place for place in range(round((axes.x1 - first) / step) + 1)]
    ticks = [(value, f"{value:g}") for value in values]
    parts = [_frame(axes, ticks, _SHARES, "ms", "calls that have ended")]
    for name, values in zip(("one", "two"), latencies_ms, strict=True):
        ordered = np.sort(values)
        steps = [(first, 0.0)]
        for rank, value in enumerate(ordered.tolist(), 1):
            if value > axes.x1:
                break
            steps += [(value, steps[-1][1]), (value, rank / len(ordered))]
        parts.append(_line(axes, steps, name))
    medians = [
        f"version {number} p50 {np.median(row):.1f} ms" for number, row in zip(versions, latencies_ms, strict=True)
    ]
    return _svg(f"Latency of a lone caller: {', '.join(medians)}", parts)


def intervals(figures: Figures, versions: tuple[int, int]) -> str:
    """Draw shares with their intervals: the accuracies where they are known, and the agreement."""
    rows = [("same best class", "both", figures.agreement)]
    if figures.near is not None:
        rows.append(("among 5 best", "both", figures.near))
    if figures.sure_agreement.of:
        rows.append(("same, where sure", "both", figures.sure_agreement))
    if figures.accuracy is not None:
        rows += [
            (f"accuracy v{versions[0]}", "one", figures.accuracy.baseline),
            (f"accuracy v{versions[1]}", "two", figures.accuracy.candidate),
        ]
    least = min(share.interval[0] for _, _, share in rows)
    step = 0.25 if least < 0.6 else 0.1 if least < 0.85 else 0.05
    first = max(0.0, math.floor(least / step) * step)
    axes = _Axes(first, 1, 1)
    left = 102
    scale = (_WIDTH - left - _RIGHT - 4) / (1 - first)
    parts = []
    for place in range(round((1 - first) / step) + 1):
        value = first + place * step
        x = left + (value - first) * scale
        parts.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
        parts.append(_text(x, _HEIGHT - _BOTTOM + 14, f"{value:.0%}"))
    for place, (name, kind, share) in enumerate(rows):
        y = axes.y(1 - (place + 0.5) / len(rows))
        low, middle, high = (
            left + (value - first) * scale for value in (share.interval[0], share.value, share.interval[1])
        )
        parts.append(_text(left - 8, y + 4, name, "row"))
        parts.append(f'<path class="whisker {kind}" d="M{low:.1f} {y:.1f}H{high:.1f}"/>')
        parts.append(f'<circle class="{kind}" cx="{middle:.1f}" cy="{y:.1f}" r="4.5"/>')
    parts.append(_text((left + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, "share of pictures, with 95% intervals", "axis"))
    said = ", ".join(f"{name} {share.value:.1%}" for name, _, share in rows)
    return _svg(f"Shares with their intervals: {said}", parts)


def _frame(axes: _Axes, across: Sequence[Tick], up: Sequence[Tick], below: str, beside: str) -> str:
    """Return the grid with its numbers, and what the axes mean."""
    parts = [_grid(axes.y(0))]
    parts += [_text(axes.x(value), _HEIGHT - _BOTTOM + 14, text) for value, text in across]
    for value, text in up:
        parts += [_grid(axes.y(value)), _text(_LEFT - 6, axes.y(value) + 4, text, "row")]
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, below, "axis"))
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(f'<text class="axis" transform="translate(11 {middle:.1f}) rotate(-90)">{escape(beside)}</text>')
    return "".join(parts)


def _grid(y: float) -> str:
    return f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'


def _line(axes: _Axes, points: Sequence[tuple[float, float]], kind: str) -> str:
    path = "L".join(f"{axes.x(x):.1f} {axes.y(y):.1f}" for x, y in points)
    return f'<path class="line {kind}" d="M{path}"/>'


def _text(x: float, y: float, text: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(said: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(said)}">{"".join(parts)}</svg>'


def _step(rough: float) -> float:
    """Return the next round step: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(rough, 1e-6)))
    return next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if power * factor >= rough)
