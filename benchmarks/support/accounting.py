"""What the kernel has booked on a process and its children: CPU time and memory. Linux only.

CPU time includes children that have ended and been waited for, and those still alive.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")

# Source: proc(5), /proc/pid/stat; positions after the command's closing parenthesis
_PARENT = 1
_CPU_FIELDS = slice(11, 15)  # utime, stime, cutime, cstime


def child_named(command: str, *, parent: int | None = None) -> int:
    """The youngest living child of `parent` (this process by default) whose command is `command`."""
    found = [pid for pid in _children(parent or os.getpid()) if _command(pid) == command]
    if not found:
        raise LookupError(f"no child process is a `{command}`")
    return max(found)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all its descendants, to 10 ms."""
    own = sum(map(int, _stat(pid)[_CPU_FIELDS])) / _TICKS_PER_SECOND
    return own + sum(cpu_seconds(child) for child in _children(pid))


def waiting_seconds(pid: int) -> float:
    """How long the threads of a process were ready to run and had no core."""
    waited = (int(path.read_text().split()[1]) for path in (_PROC / str(pid) / "task").glob("*/schedstat"))
    return sum(waited) / 1e9  # Source: kernel Documentation/scheduler/sched-stats.rst


def resident_bytes(pid: int) -> int:
    """RSS of a process and its descendants; what they share counts for each."""
    return _memory(pid, "Rss")


def proportional_bytes(pid: int) -> int:
    """PSS of a process and its descendants: what they share is counted once."""
    return _memory(pid, "Pss")


def reset_peak(pid: int) -> None:
    """Forget the peak of `peak_bytes` so far."""
    (_PROC / str(pid) / "clear_refs").write_text("5")  # Source: proc(5), since Linux 4.0


def peak_bytes(pid: int) -> int:
    """The highest RSS since `reset_peak`."""
    return _sum_of_kilobytes(_PROC / str(pid) / "status", "VmHWM")


def _memory(pid: int, name: str) -> int:
    own = _sum_of_kilobytes(_PROC / str(pid) / "smaps_rollup", name)
    return own + sum(_memory(child, name) for child in _children(pid))


def _sum_of_kilobytes(path: Path, name: str) -> int:
    lines = path.read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _children(pid: int) -> Iterator[int]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                parent = int(_stat(int(entry.name))[_PARENT])
            except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                continue
            if parent == pid:
                yield int(entry.name)


def _stat(pid: int) -> list[str]:
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _command(pid: int) -> str:
    return (_PROC / str(pid) / "comm").read_text().strip()
