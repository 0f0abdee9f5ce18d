"""Charts as inline SVG: axes, curves, bars. Plain functions from numbers to text; the page's style sheet gives the colours.

Nothing here knows what it draws. Texts are escaped; numbers are rounded to a tenth of a pixel, so that equal runs make
equal pages, byte for byte.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

WIDTH = 960
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 14, 10, 26
_DAY, _HOUR, _MINUTE = 86_400_000, 3_600_000, 60_000
_STEPS_MS = (
    1000, 5000, 15_000, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY,
    30 * _DAY, 90 * _DAY, 365 * _DAY,
)  # fmt: skip

XY = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """The data's range and where it lies on the page."""

    x0: float
    x1: float
    y0: float
    y1: float
    height: int

    def x(self, value: float) -> float:
        return _LEFT + (value - self.x0) / ((self.x1 - self.x0) or 1) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        room = self.height - _TOP - _BOTTOM
        return self.height - _BOTTOM - (value - self.y0) / ((self.y1 - self.y0) or 1) * room

    def point(self, at: XY) -> str:
        return f"{self.x(at[0]):.1f},{self.y(at[1]):.1f}"


def frame_of(x: Sequence[float], low: Sequence[float], high: Sequence[float], height: int) -> Frame:
    """A frame with a little air above and below; *x* ascending."""
    bottom, top = min(low), max(high)
    air = (top - bottom) * 0.05 or abs(top) * 0.01 or 1.0
    return Frame(x[0], x[-1], bottom - air, top + air, height)


def chart(label: str, frame: Frame, shapes: Iterable[str], tick: Callable[[float], str]) -> str:
    """*shapes* inside axes. *label* is what a screen reader says; *tick* writes a value of the vertical axis."""
    body = "".join([*_horizontal(frame, tick), *_vertical(frame), *shapes])
    return (
        f'<svg viewBox="0 0 {WIDTH} {frame.height}" role="img" aria-label="{escape(label, quote=True)}" '
        f'preserveAspectRatio="xMidYMid meet">{body}</svg>'
    )


def _horizontal(frame: Frame, tick: Callable[[float], str]) -> Iterable[str]:
    for value in nice_steps(frame.y0, frame.y1, 5):
        y = frame.y(value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(tick(value))}</text>'


def _vertical(frame: Frame) -> Iterable[str]:
    span = frame.x1 - frame.x0
    step = next((one for one in _STEPS_MS if span / one <= 12), 365 * _DAY)
    at = math.ceil(frame.x0 / step) * step
    while at <= frame.x1 and span > 0:
        x = frame.x(at)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{frame.height - _BOTTOM}"/>'
        yield f'<text class="tick" x="{x:.1f}" y="{frame.height - 8}" text-anchor="middle">{_time(at, step)}</text>'
        at += step


def _time(at_ms: float, step: float) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    if step >= _DAY:
        return moment.strftime("%d %b")
    return moment.strftime("%H:%M:%S" if step < _MINUTE else "%d %b %H:%M" if step >= 3 * _HOUR else "%H:%M")


def nice_steps(low: float, high: float, about: int) -> list[float]:
    """Round values between *low* and *high*, about so many."""
    raw = (high - low) / about
    if not raw > 0:
        return [low]
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(one * magnitude for one in (1, 2, 2.5, 5, 10) if one * magnitude >= raw * 0.999)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]


def line(frame: Frame, points: Sequence[XY], css: str) -> str:
    """A curve."""
    return f'<polyline class="{css}" points="{" ".join(map(frame.point, points))}"/>'


def area(frame: Frame, upper: Sequence[XY], lower: Sequence[XY], css: str) -> str:
    """What lies between two curves."""
    return f'<polygon class="{css}" points="{" ".join(map(frame.point, [*upper, *lower[::-1]]))}"/>'


def segment(frame: Frame, start: XY, end: XY, css: str, title: str) -> str:
    """A line from one point to another that says *title* under the pointer."""
    x1, y1, x2, y2 = frame.x(start[0]), frame.y(start[1]), frame.x(end[0]), frame.y(end[1])
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"><title>{escape(title)}</title></line>'


def marker(frame: Frame, at: XY, css: str, title: str, *, up: bool, size: float) -> str:
    """A triangle that points up or down, its tip at the point."""
    x, y = frame.x(at[0]), frame.y(at[1])
    base, half = y + size * 1.75 if up else y - size * 1.75, size
    return (
        f'<path class="{css}" d="M{x:.1f} {y:.1f}L{x - half:.1f} {base:.1f}L{x + half:.1f} {base:.1f}Z">'
        f"<title>{escape(title)}</title></path>"
    )


def bars(rows: Sequence[tuple[str, float, str, str]], label: str) -> str:
    """Horizontal bars: (name, length, class, what stands behind it)."""
    longest = max((abs(value) for _, value, _, _ in rows), default=0.0) or 1.0
    height, parts = 30 * len(rows) + 6, []
    for number, (name, value, css, text) in enumerate(rows):
        y = 30 * number + 6
        length = abs(value) / longest * (WIDTH - 560)
        parts.append(f'<text class="name" x="170" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="{css}" x="180" y="{y}" width="{max(length, 1):.1f}" height="22" rx="3"/>')
        parts.append(f'<text class="tick" x="{188 + length:.1f}" y="{y + 15}">{escape(text)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label, quote=True)}">{"".join(parts)}</svg>'
