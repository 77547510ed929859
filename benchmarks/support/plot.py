"""Plots as SVG, written by hand: small, readable on a light and on a dark page, in black and white too.

A curve has logarithmic axes, as what is plotted spans decades: where cost grows in proportion, the line is straight at
45 degrees; where it does not grow, flat. A point is a median, its whisker the range of the repetitions.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from html import escape
from itertools import takewhile

from benchmarks.support.report import Check, Curve

_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 40, 84
_BAR_HEIGHT = 26
_LABEL_WIDTH = 330
_MOST_BARS = 2.0  # of the bar; what is beyond is drawn to the edge, and written

_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 14px; font-weight: 600 }
.number { text-anchor: end } .middle { text-anchor: middle }
.axis { stroke: #59636e } .grid { stroke: #d1d9e0 }
.s0 { stroke: #0969da; fill: #0969da } .s1 { stroke: #bc4c00; fill: #bc4c00 } .s2 { stroke: #1a7f37; fill: #1a7f37 }
.line { fill: none; stroke-width: 2 } .s1.line { stroke-dasharray: 7 3 } .s2.line { stroke-dasharray: 2 3 }
.kept { fill: #1a7f37; stroke: #1a7f37 } .missed { fill: #cf222e; stroke: #cf222e }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .axis { stroke: #9198a1 } .grid { stroke: #3d444d }
  .s0 { stroke: #4493f8; fill: #4493f8 } .s1 { stroke: #f0883e; fill: #f0883e } .s2 { stroke: #3fb950; fill: #3fb950 }
  .line { fill: none } .kept { fill: #3fb950; stroke: #3fb950 } .missed { fill: #f85149; stroke: #f85149 }
}
"""


class _Scale:
    """Maps logarithms of values between powers of ten (or twos and fives of them) to pixels."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low, self._high = _round_down(min(values)), _round_up(max(values))
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        share = (math.log(value) - math.log(self._low)) / (math.log(self._high) - math.log(self._low))
        return self._start + share * (self._end - self._start)

    def ticks(self) -> Iterator[float]:
        yield from takewhile(lambda each: each <= self._high * 1.001, _round_numbers(self._low))


def draw_curve(curve: Curve) -> str:
    """An SVG document. Points that are not positive have no logarithm, and are left out."""
    series = {
        name: [(x, [value for value in values if value > 0]) for x, values in points if any(v > 0 for v in values)]
        for name, points in curve.series.items()
    }
    points = [point for each in series.values() for point in each]
    if not points:
        return _document(_HEIGHT, [_text(_LEFT, 24, f"{curve.title}: no values", "title")])
    across = _Scale([x for x, _ in points], _LEFT, _WIDTH - _RIGHT)
    up = _Scale([value for _, values in points for value in values], _HEIGHT - _BOTTOM, _TOP)
    floor = _HEIGHT - _BOTTOM
    parts = [_text(_LEFT, 24, f"{curve.title}, {curve.y}", "title")]
    for tick in across.ticks():
        parts += [_line(across(tick), _TOP, across(tick), floor, "grid")]
        parts += [_text(across(tick), floor + 18, _number(tick), "middle")]
    for tick in up.ticks():
        parts += [_line(_LEFT, up(tick), _WIDTH - _RIGHT, up(tick), "grid")]
        parts += [_text(_LEFT - 8, up(tick) + 4, _number(tick), "number")]
    parts += [_line(_LEFT, floor, _WIDTH - _RIGHT, floor, "axis"), _line(_LEFT, _TOP, _LEFT, floor, "axis")]
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, floor + 38, curve.x, "middle"))
    for index, (name, drawn) in enumerate(series.items()):
        parts += _series(index, drawn, across, up)
        left = _LEFT + index * (_WIDTH - _LEFT - _RIGHT) / len(series)
        parts.append(_line(left, _HEIGHT - 18, left + 28, _HEIGHT - 18, f"s{index} line"))
        parts.append(_text(left + 34, _HEIGHT - 14, name, ""))
    return _document(_HEIGHT, parts)


def draw_checks(title: str, checks: Sequence[tuple[str, Check]]) -> str:
    """Every check as a bar against its own limit: the line in the middle is what may not be passed."""
    height = _TOP + len(checks) * _BAR_HEIGHT + 44
    width = _WIDTH - _LABEL_WIDTH - _RIGHT

    def x(share: float) -> float:
        return _LABEL_WIDTH + min(share / _MOST_BARS, 1.0) * width

    parts = [_text(10, 24, title, "title")]
    for index, (name, check) in enumerate(checks):
        y = _TOP + index * _BAR_HEIGHT
        kept = "kept" if check.is_kept else "missed"
        share = check.value / check.bar
        parts.append(_text(_LABEL_WIDTH - 8, y + 15, name if len(name) <= 52 else f"{name[:51]}…", "number"))
        parts.append(
            f'<rect class="{kept}" x="{_LABEL_WIDTH}" y="{y + 5}" width="{x(share) - _LABEL_WIDTH:.1f}" height="12"/>'
        )
        parts.append(_line(x(check.low / check.bar), y + 11, x(check.high / check.bar), y + 11, "axis"))
        if share > _MOST_BARS:
            parts.append(_text(_WIDTH - _RIGHT - 4, y + 3, f"{share:.1f} times the bar", "number"))
    floor = _TOP + len(checks) * _BAR_HEIGHT
    parts.append(_line(x(1), _TOP, x(1), floor, "axis"))
    for share in (0.0, 0.5, 1.0, 1.5, 2.0):
        parts.append(_text(x(share), floor + 16, f"{share:g}", "middle"))
    parts.append(_text(x(1), floor + 34, "measured, as a share of its bar", "middle"))
    return _document(height, parts)


def _series(index: int, points: Sequence[tuple[float, Sequence[float]]], across: _Scale, up: _Scale) -> Iterator[str]:
    middle = [(across(x), up(statistics.median(values))) for x, values in points]
    yield f'<polyline class="s{index} line" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in middle)}"/>'
    for (x, values), (left, top) in zip(points, middle, strict=True):
        yield _line(across(x), up(min(values)), across(x), up(max(values)), f"s{index}")
        yield f'<circle class="s{index}" cx="{left:.1f}" cy="{top:.1f}" r="3"/>'


def _document(height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">'
    )
    return "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _round_numbers(start: float) -> Iterator[float]:
    """1, 2, 5, 10, 20, … from `start`, which is one of them."""
    exponent = math.floor(math.log10(start) + 1e-9)
    while True:
        for digit in (1, 2, 5):
            if (number := digit * 10.0**exponent) >= start * 0.999:
                yield number
        exponent += 1


def _round_down(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value) + 1e-9)
    return max(digit * power for digit in (1, 2, 5) if digit * power <= value * 1.001)


def _round_up(value: float) -> float:
    low = _round_down(value)
    return next(each for each in _round_numbers(low) if each >= value and each > low)
