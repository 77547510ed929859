"""Each benchmark runs to its end with tiny numbers; what it measures then says nothing, and is not looked at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.support.nginx import HOW_TO_GET_IT, is_nginx_there
from tests.support.binaries import Binaries

ROOT = Path(__file__).parents[2]

TINY = {
    "watch_fanout": "--watchers 40 --scopes 4 --warm-up 2 --updates 10 --repetitions 1 --processes 2",
    "watch_index": "--few 3 --many 20 --busy 2 --warm-up 4 --updates 10 --repetitions 1",
    "watch_memory": "--watchers 10 --updates 4 --repetitions 1",
    "list_filtered": "--pods 60 --namespaces 3 --clients 5 --lists 1 --repetitions 1",
    "get_token": "--connections 2 --requests 20 --repetitions 1",
}


@pytest.mark.timeout(300, func_only=True)
@pytest.mark.parametrize("name", TINY)
def test_a_benchmark_ends_with_a_ratio_to_its_baseline(name: str, real_binaries: Binaries) -> None:
    if name == "get_token" and not is_nginx_there():
        pytest.skip(HOW_TO_GET_IT)
    argv = [sys.executable, "-m", f"benchmarks.{name}", *TINY[name].split()]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "× baseline, bar ≤" in done.stdout
    assert done.stderr == ""
