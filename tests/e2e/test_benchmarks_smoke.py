"""Each benchmark runs to its end with tiny numbers; what it measures then says nothing, and is not looked at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import ORDER
from benchmarks.support.nginx import HOW_TO_GET_IT, is_nginx_there
from benchmarks.support.results import read_results
from tests.support.binaries import Binaries

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300, func_only=True)
@pytest.mark.parametrize("row", ORDER)
def test_a_row_ends_with_figures_and_no_fault(row: str, real_binaries: Binaries, tmp_path: Path) -> None:
    if row == "get_token" and not is_nginx_there():
        pytest.skip(HOW_TO_GET_IT)
    results = tmp_path / "results.json"
    argv = [sys.executable, "-m", "benchmarks", "--quick", "--results", results, row]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = read_results(results)
    assert result.row == row
    assert not result.void
    assert result.checks or result.curves
    assert result.figures
    assert done.stderr == ""
