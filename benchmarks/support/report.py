"""How a benchmark reports: the machine, figures with their spread, and each ratio beside its bar."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]


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


def print_heading(title: str, parameters: Mapping[str, object]) -> None:
    """What was measured, on which machine, from which commit."""
    print(f"## {title}\n")
    print(f"machine: {os.cpu_count()} cores, {_processor()}, Linux {platform.release()}, load {os.getloadavg()[0]:.1f}")
    print(f"commit: {_commit()}, Python {platform.python_version()}")
    print(f"parameters: {', '.join(f'{name} {value}' for name, value in parameters.items())}\n", flush=True)


def print_figure(name: str, figure: Figure, unit: str) -> None:
    """One line: median, and the range where there was more than one repetition."""
    print(f"{name + ':':62} {figure} {unit}", flush=True)


def print_ratio(name: str, measured: Figure, baseline: Figure, *, bar: float) -> None:
    """The ratio of the medians, and whether it keeps the bar. Repetition by repetition for the spread."""
    ratio = _divide(measured.median, baseline.median)
    spread = ""
    if len(measured.values) == len(baseline.values) > 1:
        ratios = [_divide(one, other) for one, other in zip(measured.values, baseline.values, strict=True)]
        spread = f" ({min(ratios):.2f} – {max(ratios):.2f})"
    print(f"{name + ':':62} {ratio:.2f}{spread} × baseline, bar ≤ {bar:g} {_verdict(ratio <= bar)}", flush=True)


def print_limit(name: str, figure: Figure, unit: str, *, bar: float) -> None:
    """A figure with a bar of its own."""
    print(f"{name + ':':62} {figure} {unit}, bar ≤ {bar:g} {_verdict(figure.median <= bar)}", flush=True)


def _divide(one: float, other: float) -> float:
    """Infinite where the baseline is below the kernel's resolution, as in a run that is too small to tell."""
    return one / other if other else float("inf")


def _verdict(kept: bool) -> str:
    return "PASS" if kept else "FAIL"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", _ROOT, *arguments], capture_output=True, text=True, check=False).stdout

    changed = git("status", "--porcelain", "--untracked-files=no", "proxy")
    return (git("rev-parse", "--short", "HEAD").strip() or "unknown") + (", with changes" if changed else "")
