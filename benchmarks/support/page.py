"""The generated part of docs/performance.md, and its plots: from the results file, between two markers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from benchmarks.support.plot import draw_checks, draw_curve
from benchmarks.support.report import Check, RowResult

BEGIN = "<!-- begin of what `make bench` writes -->"
END = "<!-- end of what `make bench` writes -->"

_LINE_WIDTH = 120


def write_page(page: Path, results: Sequence[RowResult]) -> None:
    """Replaces what is between the markers, and the plots in the folder beside the page that is named as it.

    Raises ValueError where the page has no markers.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page}: the markers are missing")
    plots = page.with_suffix("")
    plots.mkdir(exist_ok=True)
    for old in plots.glob("*.svg"):
        old.unlink()
    for name, svg in _plots(results):
        (plots / name).write_text(svg)
    images = "\n".join(f"![{name.removesuffix('.svg')}]({plots.name}/{name})" for name, _ in _plots(results))
    page.write_text(f"{before}{BEGIN}\n\n{table(results)}\n\n{images}\n\n{END}{after}")


def table(results: Sequence[RowResult]) -> str:
    """Every check beside its bar, then under what each row was measured."""
    lines = ["| row | what | median (min – max) | bar | reached |", "| - | - | - | - | - |"]
    for row in results:
        lines += [f"| `{row.row}` | {_what(each)} | {_spread(each)} | ≤ {_bar(each)} |" for each in row.checks]
        if row.void:
            lines.append(f"| `{row.row}` | void: {row.void.splitlines()[0]} | | | no |")
    lines.append("")
    for row in results:
        at = row.stamp
        told = (
            f"- `{row.row}`: commit {at.commit}, {at.date}, load average {at.load_average:g} before it, "
            f"{row.seconds:.0f} s; {row.parameters}"
        )
        lines += textwrap.wrap(told, _LINE_WIDTH, subsequent_indent="  ")
    machines = sorted({f"{row.stamp.machine}; Python {row.stamp.python}" for row in results})
    lines += ["", f"Machine: {' / '.join(machines)}."]
    return "\n".join(lines)


def _plots(results: Sequence[RowResult]) -> list[tuple[str, str]]:
    checks = [(f"{row.row}: {check.name}", check) for row in results for check in row.checks]
    plots = [("bars.svg", draw_checks("What was measured against its bar", checks))] if checks else []
    for row in results:
        plots += [(f"{row.row}-{number}.svg", draw_curve(curve)) for number, curve in enumerate(row.curves, start=1)]
    return plots


def _what(check: Check) -> str:
    return check.name.replace("|", "\\|")


def _spread(check: Check) -> str:
    spread = "" if check.low == check.high else f" ({check.low:.3g} – {check.high:.3g})"
    return f"{check.value:.3g}{spread} {check.unit}"


def _bar(check: Check) -> str:
    return f"{check.bar:g} | {'yes' if check.is_kept else '**no**'}"
