"""What a row reports: figures with their spread, each ratio or limit beside its bar, curves. Printed as they come."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from benchmarks.support.machine import Stamp, stamp

RATIO = "×"
"""The unit of a ratio to a baseline."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity over the repetitions of a run."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """What is compared."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return f"{self.median:.4g}"
        return f"{self.median:.4g} ({min(self.values):.4g} – {max(self.values):.4g})"


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of a report; `note` is a word about it."""

    name: str
    unit: str
    values: list[float]
    note: str = ""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with a bar that it may not exceed. `low` and `high` are the spread over the repetitions."""

    name: str
    unit: str
    value: float
    low: float
    high: float
    bar: float

    @property
    def is_kept(self) -> bool:
        """True when the bar was reached."""
        return self.value <= self.bar


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """How something grows. `series` holds points (x, figures of the repetitions) by name."""

    title: str
    x: str
    y: str
    series: dict[str, list[tuple[float, list[float]]]]


class RowResult(msgspec.Struct, kw_only=True):
    """All that one run of a row gave. `void` tells why it means nothing, "" for a good one."""

    row: str
    parameters: str
    stamp: Stamp
    seconds: float = 0.0
    void: str = ""
    figures: list[Measured] = msgspec.field(default_factory=list)
    checks: list[Check] = msgspec.field(default_factory=list)
    curves: list[Curve] = msgspec.field(default_factory=list)


class Report:
    """Gathers the result of a row."""

    def __init__(self, row: str, parameters: Mapping[str, object]) -> None:
        named = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in parameters.items())
        self.result = RowResult(row=row, parameters=named, stamp=stamp())
        at = self.result.stamp
        print(f"## {row}\n")
        print(f"machine: {at.machine}, load {at.load_average}")
        print(f"commit: {at.commit}, Python {at.python}")
        print(f"parameters: {named}\n", flush=True)

    def figure(self, name: str, figure: Figure, unit: str, note: str = "") -> None:
        """One line: median, and the range where there was more than one repetition."""
        self.result.figures.append(Measured(name=name.strip(), unit=unit, values=list(figure.values), note=note))
        print(f"{name + ':':62} {figure} {unit}  {note}".rstrip(), flush=True)

    def ratio(self, name: str, measured: Figure, baseline: Figure, *, bar: float) -> None:
        """The ratio of the medians, and whether it keeps the bar. Repetition by repetition for the spread."""
        ratio = _divide(measured.median, baseline.median)
        ratios = [ratio]
        if len(measured.values) == len(baseline.values):
            ratios = [_divide(one, other) for one, other in zip(measured.values, baseline.values, strict=True)]
        check = Check(name=name, unit=RATIO, value=ratio, low=min(ratios), high=max(ratios), bar=bar)
        self._check(check, f"{ratio:.2f} ({check.low:.2f} – {check.high:.2f}) × baseline")

    def limit(self, name: str, figure: Figure, unit: str, *, bar: float) -> None:
        """A figure with a bar of its own."""
        low, high = min(figure.values), max(figure.values)
        check = Check(name=name.strip(), unit=unit, value=figure.median, low=low, high=high, bar=bar)
        self._check(check, f"{figure} {unit}")

    def curve(self, curve: Curve) -> None:
        """Kept for the plots; its points are figures that were printed already."""
        self.result.curves.append(curve)

    def _check(self, check: Check, text: str) -> None:
        self.result.checks.append(check)
        print(f"{check.name + ':':62} {text}, bar ≤ {check.bar:g} {'PASS' if check.is_kept else 'FAIL'}", flush=True)


def _divide(one: float, other: float) -> float:
    """Infinite where the baseline is below the kernel's resolution, as in a run that is too small to tell."""
    return one / other if other else float("inf")
