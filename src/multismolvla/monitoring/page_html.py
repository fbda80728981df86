"""The page's texts and drawings as HTML and SVG. Text from messages is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from multismolvla.monitoring.health_panel import Light, Line
from multismolvla.monitoring.history import Span
from multismolvla.monitoring.page_state import (
    DEGRADED,
    MASKED,
    SPAN_S,
    USABLE,
    StreamView,
)

_COLOURS = {
    Light.GOOD: "#1b7f3b",
    Light.WARNING: "#b26a00",
    Light.BAD: "#b3261e",
    Light.IDLE: "#3b5f8a",
}
_STRIPES = {USABLE: "#2da44e", DEGRADED: "#f0a020", MASKED: "#d1362b"}
_MUTED = "#8c8f94"
# In units of a drawing, which is stretched to the width of its panel.
_WIDTH = 400
# A row of the timeline: where its strip begins, how high it and its strip are.
_NAME, _ROW, _BAR = 138, 30, 10
# The panels have no margin of their own.
_MARGIN = "margin:4px 10px"


def verdict_html(line: Line) -> str:
    """The verdict as a banner in its colour."""
    return (
        f'<div id="verdict" style="{_MARGIN};background:{_COLOURS[line.light]};color:white;'
        'font-weight:600;font-size:15px;padding:8px 12px;border-radius:4px;overflow-wrap:anywhere">'
        f"{escape(line.text)}</div>"
    )


def note_html(name: str, text: str, light: Light) -> str:
    """A sentence beside a bar in its colour; nothing where there is no text."""
    if not text:
        return f'<div id="{escape(name)}"></div>'
    return (
        f'<div id="{escape(name)}" style="{_MARGIN};border-left:4px solid {_COLOURS[light]};'
        f'padding:2px 8px;font-size:13px;overflow-wrap:anywhere">{escape(text)}</div>'
    )


def timeline_html(streams: Mapping[str, StreamView], timeline: Mapping[str, Sequence[Span]]) -> str:
    """One row a stream: its name, what it was over the last minute, and what it is.

    The height of the strip shows too what is usable: a masked stream is a thin
    line. Every row has the stream's state as `data-state`.
    """
    width = _WIDTH - _NAME
    rows = []
    for index, (name, view) in enumerate(streams.items()):
        top = index * _ROW
        strips = "".join(_strip(span, top + 16, width) for span in timeline.get(name, ()))
        rows.append(
            f'<g data-stream="{escape(name)}" data-state="{view.state}">'
            f'<text x="0" y="{top + 12}" fill="currentColor" font-weight="600">'
            f"{escape(name)}</text>"
            f'<text x="{_NAME}" y="{top + 12}" fill="{_text_colour(view)}">'
            f"{escape(_cut(view.line.text, 42))}</text>{strips}</g>"
        )
    height = _ROW * len(streams)
    foot = "".join(
        f'<text x="{_NAME + width * share:.0f}" y="{height + 12}" text-anchor="{anchor}" '
        f'fill="{_MUTED}">{text}</text>'
        for share, anchor, text in (
            (0.0, "start", f"{SPAN_S:.0f} s ago"),
            (1.0, "end", "now"),
        )
    )
    return _svg("timeline", height + 18, "".join(rows) + foot)


def _text_colour(view: StreamView) -> str:
    return "currentColor" if view.state == USABLE else _STRIPES[view.state]


def _strip(span: Span, top: float, width: float) -> str:
    x = _NAME + width * (1.0 - span.start_s / SPAN_S)
    length = max(width * (span.start_s - span.end_s) / SPAN_S, 0.8)
    height = {USABLE: _BAR, DEGRADED: _BAR * 0.7}.get(span.state, _BAR * 0.35)
    return (
        f'<rect x="{x:.1f}" y="{top + _BAR - height:.1f}" width="{length:.1f}" '
        f'height="{height:.1f}" fill="{_STRIPES.get(span.state, _MUTED)}"/>'
    )


def plot_html(
    name: str, title: str, unit: str, points: Sequence[tuple[float, float]], dots: bool = False
) -> str:
    """A value over the last minute, from zero to its highest.

    Args:
        points: (seconds before now, value), oldest first.
        dots: a dot for each value instead of a line through them.
    """
    height, head, foot = 84, 22, 8
    bottom, right = height - foot, _WIDTH - 4
    left = 34
    top_value = _round_up(max((value for _, value in points), default=0.0))
    marks = []
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (bottom - head)
        marks.append(
            f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_MUTED}" '
            'stroke-opacity="0.35"/>'
            f'<text x="{left - 4}" y="{y + 4:.1f}" text-anchor="end" fill="{_MUTED}">'
            f"{share * top_value:.6g}</text>"
        )
    places = [
        (
            left + (right - left) * (1.0 - min(ago_s, SPAN_S) / SPAN_S),
            bottom - (bottom - head) * min(max(value / top_value, 0.0), 1.0),
        )
        for ago_s, value in points
    ]
    if dots:
        drawn = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>' for x, y in places)
        drawn = f'<g fill="#4c9be8">{drawn}</g>'
    else:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn = f'<polyline points="{path}" fill="none" stroke="#4c9be8" stroke-width="1.5"/>'
    newest = f"{points[-1][1]:.3g} {unit}" if points else "nothing yet"
    return _svg(
        name,
        height,
        f'<text x="0" y="13" fill="currentColor" font-weight="600">{escape(title)}</text>'
        f'<text x="{right}" y="13" text-anchor="end" fill="currentColor">{escape(newest)}</text>'
        f"{''.join(marks)}{drawn}",
    )


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, ... so that the axis stands still while the value moves a little."""
    step = 1e-3
    while True:
        for factor in (1, 2, 5):
            if value <= factor * step:
                return factor * step
        step *= 10


def _cut(text: str, longest: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _svg(name: str, height: float, content: str) -> str:
    return (
        f'<div style="{_MARGIN}"><svg id="{name}" viewBox="0 0 {_WIDTH} {height:.0f}" width="100%" '
        'font-size="12" font-family="sans-serif" style="display:block">'
        f"{content}</svg></div>"
    )
