"""All rows, or some, one after the other: `python -m benchmarks [ROW …]`; `make bench` and `make bench ROW=…`.

What they gave goes into the results file and the page that is made from it. The exit status is 1 when a row is void,
and 0 whether or not the bars were reached: the last lines tell.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from benchmarks.support.load_process import VoidRun
from benchmarks.support.machine import stamp
from benchmarks.support.page import write_page
from benchmarks.support.report import RowResult
from benchmarks.support.results import merge, read_results, write_results

_ROOT = Path(__file__).parents[1]
_PAGE = _ROOT / "docs" / "performance.md"
_RESULTS = _ROOT / "docs" / "performance" / "results.json"

ORDER = (
    "watch_fanout",
    "watch_index",
    "watch_memory",
    "watch_curves",
    "slow_clients",
    "list_filtered",
    "relist_storm",
    "get_token",
    "decision",
    "policy_load",
    "loop_steps",
)


class Row(Protocol):
    """A module of a row."""

    QUICK: str
    MINUTES: float

    def run(self, arguments: Sequence[str]) -> RowResult: ...


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the rows that are named, and tells which bars were reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"all of them by default: {' '.join(ORDER)}")
    parser.add_argument("--quick", action="store_true", help="the smallest numbers; the page stays as it is")
    parser.add_argument("--results", type=Path, help="write to this file, and leave the page")
    options = parser.parse_args(arguments)
    if unknown := [row for row in options.rows if row not in ORDER]:
        parser.error(f"no such row: {unknown[0]}")
    rows = {row: cast("Row", import_module(f"benchmarks.{row}")) for row in options.rows or ORDER}
    if not options.quick:
        print(f"{len(rows)} rows, about {sum(row.MINUTES for row in rows.values()):.0f} minutes\n", flush=True)
    results = [_run(name, row, quick=options.quick) for name, row in rows.items()]
    if options.results or not options.quick:
        path = options.results or _RESULTS
        merged = merge(read_results(path), results, ORDER)
        write_results(path, merged)
        if not options.results:
            write_page(_PAGE, merged)
    _tell(results)
    if any(result.void for result in results):
        raise SystemExit(1)


def _run(name: str, row: Row, *, quick: bool) -> RowResult:
    started = time.monotonic()
    at = stamp()
    try:
        result = row.run(row.QUICK.split() if quick else [])
    except (Exception, SystemExit) as error:  # the other rows go on
        if not isinstance(error, VoidRun | SystemExit):
            traceback.print_exc()
        result = RowResult(row=name, parameters="", stamp=at, void=str(error) or repr(error))
        print(f"VOID: {result.void}", flush=True)
    result.seconds = time.monotonic() - started
    print(f"\n{name}: {result.seconds:.0f} s\n", flush=True)
    return result


def _tell(results: Sequence[RowResult]) -> None:
    verdicts: Mapping[str, list[str]] = {"reached": [], "NOT REACHED": [], "VOID": []}
    for row in results:
        for check in row.checks:
            text = f"{row.row}: {check.name}: {check.value:.3g} {check.unit} (bar {check.bar:g})"
            verdicts["reached" if check.is_kept else "NOT REACHED"].append(text)
        if row.void:
            verdicts["VOID"].append(f"{row.row}: {row.void.splitlines()[0]}")
    print(f"all rows: {sum(row.seconds for row in results):.0f} s")
    for verdict, texts in verdicts.items():
        print(f"\n{verdict}: {len(texts)}", *texts, sep="\n  ")


if __name__ == "__main__":
    main(sys.argv[1:])
