"""The results file: what each row gave when it was last run, as JSON. A run of some rows leaves the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.support.report import RowResult


def read_results(path: Path) -> list[RowResult]:
    """What is there; nothing where there is no file."""
    if not path.exists():
        return []
    return msgspec.convert(json.loads(path.read_text()), list[RowResult])


def merge(earlier: Sequence[RowResult], newer: Sequence[RowResult], order: Sequence[str]) -> list[RowResult]:
    """The newest of each row, in this order of rows; rows that are no more are left out."""
    latest = {each.row: each for each in [*earlier, *newer]}
    return [latest[row] for row in order if row in latest]


def write_results(path: Path, results: Sequence[RowResult]) -> None:
    """Replaces the file. A ratio to a baseline below the kernel's resolution is `Infinity`, as json has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(msgspec.to_builtins(list(results)), indent=1) + "\n")
