"""Charts as SVG, written by hand: grouped bars and lines. They read on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Final

WIDTH: Final = 860
HEIGHT: Final = 360
LEFT: Final = 64
RIGHT: Final = 20
TOP: Final = 72
BOTTOM: Final = 48
TICKS: Final = 5
GAP: Final = 0.25
"""Of a group's width, between it and the next."""

COLOURS: Final = ("#3584e4", "#e66100", "#2ea36b", "#a05fc0", "#c9a100", "#8a8f98", "#d4556f")
STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#33383f}.title{font-weight:600;font-size:15px}.grid{stroke:#8888;"
    "stroke-width:.6}@media(prefers-color-scheme:dark){text{fill:#d6dae0}}"
)

Series = Mapping[str, Sequence[tuple[float, float]]]


def bars(title: str, groups: Mapping[str, Mapping[str, float]], order: Sequence[str]) -> str:
    """A group of bars for each key, a bar for each series in it; every bar has its value above.

    Args:
        title: of the chart.
        groups: group → series → value.
        order: of all series that any chart of the page has, so that each has one colour in all of them.
    """
    names = [name for name in order if any(name in values for values in groups.values())]
    top, step = _scale(max((value for values in groups.values() for value in values.values()), default=1.0))
    parts = [*_frame(title, names, order), *_grid(top, step)]
    group_width = (WIDTH - LEFT - RIGHT) / max(1, len(groups))
    bar_width = group_width * (1 - GAP) / max(1, len(names))
    for index, (group, values) in enumerate(groups.items()):
        start = LEFT + index * group_width
        parts.append(_text(start + group_width / 2, HEIGHT - BOTTOM + 20, group, anchor="middle"))
        for place, name in enumerate(names):
            if name not in values:
                continue
            x, y = start + group_width * GAP / 2 + place * bar_width, _y(values[name], top)
            height = HEIGHT - BOTTOM - y
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar_width * 0.9:.1f}" height="{height:.1f}" '
                f'fill="{_colour(order, name)}"/>'
            )
            parts.append(_text(x + bar_width * 0.45, y - 4, number(values[name]), anchor="middle", size=10))
    return _svg(parts, title)


def lines(title: str, series: Series, label: Callable[[float], str], order: Sequence[str]) -> str:
    """A line for each series over a logarithmic axis; `label` names a place on that axis, `order` as for `bars`."""
    xs = sorted({x for points in series.values() for x, _ in points})
    top, step = _scale(max((y for points in series.values() for _, y in points), default=1.0))
    names = [name for name in order if name in series]
    parts = [*_frame(title, names, order), *_grid(top, step)]
    least, most = (math.log(xs[0]), math.log(xs[-1])) if xs else (0.0, 1.0)

    def place(x: float) -> float:
        return LEFT + 20 + (math.log(x) - least) / ((most - least) or 1.0) * (WIDTH - LEFT - RIGHT - 60)

    parts += [_text(place(x), HEIGHT - BOTTOM + 20, label(x), anchor="middle") for x in xs]
    for name, points in series.items():
        colour = _colour(order, name)
        path = " ".join(f"{place(x):.1f},{_y(y, top):.1f}" for x, y in sorted(points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{place(x):.1f}" cy="{_y(y, top):.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
    return _svg(parts, title)


def number(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _scale(most: float) -> tuple[float, float]:
    """A round top that is not below `most`, and the step between lines."""
    raw = (most or 1.0) / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    return step * TICKS, step


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)


def _colour(order: Sequence[str], name: str) -> str:
    return COLOURS[order.index(name) % len(COLOURS)]


def _frame(title: str, names: Sequence[str], order: Sequence[str]) -> list[str]:
    parts = [f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>']
    x = float(LEFT)
    for name in names:
        parts.append(f'<rect x="{x:.0f}" y="38" width="12" height="12" rx="2" fill="{_colour(order, name)}"/>')
        parts.append(_text(x + 17, 48, name))
        x += 34 + 7 * len(name)
    return parts


def _grid(top: float, step: float) -> list[str]:
    parts = []
    for tick in range(TICKS + 1):
        y = _y(tick * step, top)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            _text(LEFT - 8, y + 4, f"{tick * step:,.4g}" if top < 1000 else f"{tick * step:,.0f}", anchor="end")
        )
    return parts


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    style = "" if size == 12 else f' style="font-size:{size}px"'
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(text)}</text>'


def _svg(parts: Sequence[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">'
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )
