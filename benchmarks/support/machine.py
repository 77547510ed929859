"""On what a figure was measured: the machine, what else it did, the code."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec

_ROOT = Path(__file__).parents[2]


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """`load_average` is that of the minute before."""

    machine: str
    python: str
    commit: str
    date: str
    load_average: float


def stamp() -> Stamp:
    """Here and now."""
    return Stamp(
        machine=f"{os.cpu_count()} × {_processor()}, Linux {platform.release()}",
        python=platform.python_version(),
        commit=_commit(),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        load_average=round(os.getloadavg()[0], 2),
    )


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
