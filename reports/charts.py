"""Static SVG charts, drawn by hand: no script, printable, readable without colour.

Every chart has a title and a description for screen readers. Ink is ``currentColor``, so a chart takes the page's theme.
Labels are escaped; a chart holds no text of a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reports.markup import text
from reports.record import GateRow, Interval, Reliability
from reports.wording import amount, size

__all__ = ["Point", "interval_chart", "on_paper", "reliability_diagram", "scatter"]

_FONT = "font-family=\"ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\""


def reliability_diagram(table: Reliability, *, ident: str) -> str:
    """Accuracy against confidence, one bar a bin, with the diagonal of perfect calibration and the count of each bin.

    Args:
        table: the bins; their order is that of confidence.
        ident: unique on the page, for the ids of title and description.
    """
    width, height, left, top, side = 380, 366, 44, 48, 280
    title = f"Reliability of {table.subject} on {table.field}{' before its temperature' if table.raw else ''}"
    words = "; ".join(
        f"{b.n} cases with mean confidence {amount(b.confidence, 'share')} are right {amount(b.accuracy, 'share')} of the time"
        for b in table.bins
    )

    def x(value: float) -> float:
        return left + side * value

    def y(value: float) -> float:
        return top + side * (1 - value)

    parts = [
        f'<rect x="{left}" y="{top}" width="{side}" height="{side}" fill="none" stroke="currentColor" stroke-opacity=".25"/>'
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts += [
            _line(left, y(tick), left + side, y(tick), opacity=0.1),
            _words(left - 6, y(tick) + 3.5, f"{tick:.0%}", anchor="end", opacity=0.7),
            _words(x(tick), top + side + 15, f"{tick:.0%}", anchor="middle", opacity=0.7),
        ]
    labels = _apart([x((one.low + one.high) / 2) for one in table.bins], 40, left, left + side)
    for label, one in zip(labels, table.bins, strict=True):
        # Bins of equal mass can be very narrow; a bar is never thinner than can be seen.
        wide = max(x(one.high) - x(one.low), 4.0)
        start = min(x(one.low), left + side - wide)
        middle = start + wide / 2
        parts += [
            f'<rect x="{start:.1f}" y="{y(one.accuracy):.1f}" width="{wide:.1f}" height="{side * one.accuracy:.1f}" '
            'fill="currentColor" fill-opacity=".16" stroke="currentColor" stroke-opacity=".45" stroke-width=".75"/>',
            _line(label, top - 14, middle, top, opacity=0.35),
            _line(middle, top, middle, y(one.accuracy), opacity=0.18),
            _words(label, top - 17, f"n={one.n:,}", anchor="middle", opacity=0.85),
        ]
    parts.append(_line(x(0), y(0), x(1), y(1), opacity=0.6, dash="4 3"))
    for one in table.bins:
        at = x(one.confidence)
        parts += [_line(at, y(one.confidence), at, y(one.accuracy), opacity=0.9, width=1.5), _dot(at, y(one.accuracy))]
    parts += [
        _words(left + side / 2, height - 6, "mean confidence of a bin", anchor="middle"),
        f'<g transform="translate(10 {top + side / 2}) rotate(-90)">{_words(0, 0, "share that is right", anchor="middle")}</g>',
    ]
    return _svg(width, height, title, f"{words}. The dashed diagonal is perfect calibration.", ident, parts)


@dataclass(frozen=True, slots=True)
class Point:
    """A subject in two directions; each value with the bounds of its interval, None where there is none."""

    name: str
    along: tuple[float, float | None, float | None]
    up: tuple[float, float | None, float | None]


def scatter(points: Sequence[Point], *, title: str, along: str, unit: str, difference: bool, limit: float, ident: str) -> str:
    """Quality upwards against a cost to the right, on a logarithmic scale, with intervals in both directions.

    Args:
        points: at least one; what lies along is positive.
        along: what that is.
        unit: the quality's.
        difference: whether the quality is a difference.
        limit: what the quality is held against.
        ident: unique on the page.
    """
    width, height, left, top, wide, tall = 380, 310, 64, 36, 296, 214
    shown = [v for p in points for v in p.along if v is not None and v > 0]
    x = _scale(shown, left, left + wide, logarithmic=True)
    heights = [v for p in points for v in p.up if v is not None]
    y = _scale([*heights, limit], top + tall, top, logarithmic=False)
    parts = [
        f'<rect x="{left}" y="{top}" width="{wide}" height="{tall}" fill="none" stroke="currentColor" stroke-opacity=".25"/>',
        _line(left, y(limit), left + wide, y(limit), opacity=0.7, dash="4 3"),
    ]
    labels = sorted({min(heights), max(heights)})
    places = _apart([-y(v) for v in labels], 12, -(top + tall), -top)
    parts += [
        _words(left - 6, 3.5 - at, amount(v, unit, difference=difference), anchor="end", opacity=0.7)
        for v, at in zip(labels, places, strict=True)
    ]
    parts.append(_words(left + wide, y(limit) - 4, "limit", anchor="end", opacity=0.8))
    ordered = sorted(points, key=lambda p: p.along[0])
    names = _apart([x(p.along[0]) for p in ordered], 62, left, left + wide)
    for label, point in zip(names, ordered, strict=True):
        at, level = x(point.along[0]), y(point.up[0])
        low, high = (point.up[0] if bound is None else bound for bound in point.up[1:])
        parts += [
            _words(label, top - 17, point.name, anchor="middle", weight=600),
            _line(label, top - 14, at, top, opacity=0.35),
            _line(at, top, at, y(high), opacity=0.18),
            _line(at, y(low), at, y(high), opacity=0.85, width=2),
        ]
        if point.along[1] is not None and point.along[2] is not None:
            ends = [x(max(bound, min(shown))) for bound in point.along[1:] if bound is not None]
            parts.append(_line(ends[0], level, ends[1], level, opacity=0.6, width=1.5))
        parts.append(_dot(at, level))
    for place, point in zip(_apart([x(p.along[0]) for p in ordered], 46, left, left + wide), ordered, strict=True):
        parts.append(_words(place, top + tall + 15, size(point.along[0]), anchor="middle", opacity=0.7))
    parts.append(_words(left + wide / 2, height - 8, f"{along}, logarithmic", anchor="middle"))
    words = "; ".join(f"{p.name}: {size(p.along[0])} {along}, {amount(p.up[0], unit, difference=difference)}" for p in ordered)
    return _svg(width, height, title, words, ident, parts)


def _scale(values: Sequence[float], start: float, end: float, *, logarithmic: bool) -> Callable[[float], float]:
    """From values to places between two ends, with some room beside the outermost."""
    shown = [math.log(v) for v in values] if logarithmic else list(values)
    low, high = min(shown), max(shown)
    room = 0.12 * (high - low) or 0.5

    def place(value: float) -> float:
        v = math.log(value) if logarithmic else value
        return start + (end - start) * (v - low + room) / (high - low + 2 * room)

    return place


def on_paper(chart: str) -> str:
    """A chart with its own ink and ground, for places that show it as an image, where no page lends it a theme."""
    return chart.replace("<svg ", '<svg style="background:#fff;color:#1c1e22" ', 1)


def _apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near those wanted, in order and at least ``gap`` apart, inside ``low`` to ``high`` where they fit."""
    placed: list[float] = []
    for position in wanted:
        placed.append(max(position, low if not placed else placed[-1] + gap))
    ceiling = high
    for place in reversed(range(len(placed))):
        placed[place] = min(placed[place], ceiling)
        ceiling = placed[place] - gap
    return placed


def interval_chart(rows: Sequence[GateRow], *, ident: str) -> str:
    """Each gate's interval against its limit: a bound wholly right of the line holds.

    All rows share one scale, the distance from the limit in the metric's unit; what lies beyond it ends in an arrow. Rows
    without a value say so.

    Args:
        rows: gates of one unit.
        ident: unique on the page.
    """
    drawn = [row for row in rows if row.interval is not None]
    width, left, right, head, step = 380, 12, 12, 30, 46
    height = head + step * len(rows) + 20
    half = (width - left - right) / 2
    middle = left + half
    reach = _reach([row.interval for row in drawn if row.interval is not None])
    parts = [
        _line(middle, head - 6, middle, height - 18, opacity=0.75, width=1.25),
        _words(middle, 10, "limit", anchor="middle"),
        _words(left, 10, "◀ misses", anchor="start", opacity=0.7),
        _words(width - right, 10, "holds ▶", anchor="end", opacity=0.7),
    ]
    tick, unit = _tick(reach), rows[0].unit if rows else ""
    for sign in (-1, 1):
        at = middle + sign * half * tick / reach
        parts += [
            _line(at, head - 6, at, height - 18, opacity=0.12),
            _words(at, height - 5, amount(sign * tick, unit, difference=True), anchor="middle", opacity=0.7),
        ]
    for place, row in enumerate(rows):
        base = head + step * place
        label = f"{row.mark.icon} {row.gate}"
        parts += [
            _line(left, base + step - 5, width - right, base + step - 5, opacity=0.08),
            _words(left, base + 10, label, anchor="start", weight=600 if row.blocks else 400),
            _words(width - right, base + 10, row.must_be, anchor="end", opacity=0.75),
        ]
        if row.interval:
            parts += _row(row.interval, middle, half, reach, base + 26)
        else:
            parts.append(_words(middle + 6, base + 29, "no value", anchor="start", opacity=0.7))
    words = "; ".join(f"{row.gate}: {row.mark.word}, must be {row.must_be}, bound {row.bound}" for row in rows)
    return _svg(width, height, "Intervals of the gates against their limits", words, ident, parts)


def _reach(intervals: Sequence[Interval]) -> float:
    """Half the width of the scale: every value and every deciding bound is on it."""
    shown = [x for i in intervals for x in (abs(i.value - i.limit), _distance(i)) if x is not None]
    return max(shown, default=0.0) * 1.05 or 1.0


def _tick(reach: float) -> float:
    """The largest of 1, 2, 5, 10 ... that fits on half the scale twice, or nearly."""
    power = 10.0 ** math.floor(math.log10(reach))
    return max(step * power / 10 for step in (1, 2, 5, 10, 20, 50) if step * power / 10 <= 0.75 * reach)


def _deciding(interval: Interval) -> float | None:
    return interval.low if interval.side == "lower" else interval.high


def _distance(interval: Interval) -> float | None:
    bound = _deciding(interval)
    return None if bound is None else abs(bound - interval.limit)


def _row(interval: Interval, middle: float, half: float, reach: float, y: float) -> list[str]:
    sense = 1.0 if interval.side == "lower" else -1.0

    def x(value: float) -> float:
        return middle + half * max(-1.0, min(1.0, sense * (value - interval.limit) / reach))

    def beyond(value: float | None) -> bool:
        return value is not None and abs(value - interval.limit) > reach

    low = interval.value if interval.low is None else interval.low
    high = interval.value if interval.high is None else interval.high
    deciding = _deciding(interval)
    parts = [_line(x(low), y, x(high), y, opacity=0.85, width=2.5)]
    for end in (interval.low, interval.high):
        if beyond(end) and end is not None:
            tip, back = x(end), 5 if x(end) < middle else -5
            parts.append(f'<path d="M{tip:.1f} {y} l{back} -4 v8 z" fill="currentColor"/>')
    if deciding is not None and not beyond(deciding):
        parts.append(_line(x(deciding), y - 7, x(deciding), y + 7, opacity=1, width=2.5))
    if not beyond(interval.value):
        parts.append(_dot(x(interval.value), y))
    return parts


def _svg(width: float, height: float, title: str, words: str, ident: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {width} {height}" aria-labelledby="{ident}-title {ident}-words" '
        f'{_FONT} font-size="10.5" xmlns="http://www.w3.org/2000/svg">'
        f'<title id="{ident}-title">{text(title)}</title><desc id="{ident}-words">{text(words)}</desc>{"".join(parts)}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, *, opacity: float, width: float = 1, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="currentColor" stroke-opacity="{opacity:g}" '
        f'stroke-width="{width:g}"{dashed}/>'
    )


def _dot(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="var(--accent, #2b6777)" stroke="var(--paper, #fff)"/>'


def _words(x: float, y: float, words: str, *, anchor: str, opacity: float = 1, weight: int = 400) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor" fill-opacity="{opacity:g}" '
        f'font-weight="{weight}">{text(words)}</text>'
    )
