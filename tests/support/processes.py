"""Child processes that do not outlive the test run.

Each is the leader of its own process group, so that Ctrl-C reaches only the tests, and on Linux the kernel kills it
when the test run dies, however it dies.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1  # Source: linux/prctl.h
_LOG_TAIL_LINES = 30  # enough to show why a Go program gave up, short enough for an error message

# The kernel sends the parent-death signal when the *thread* that forked ends, so one that lives as long as the run does
# the forking: a test may start a process from a worker thread of its own.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


def spawn(
    argv: Sequence[str | Path],
    *,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    forker: ThreadPoolExecutor | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child with no stdin; `env` None inherits the environment of the run.

    `forker` is the one thread that forks, and what a thread is in (a network namespace) the child is in; it must live
    as long as the child.
    """

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env=env,
            start_new_session=True,
            preexec_fn=_die_with_parent(),
        )

    return (forker or _spawner).submit(start).result()


def stop(process: subprocess.Popen[bytes], *, signum: signal.Signals, timeout_seconds: float) -> int:
    """Signal the process group, kill it when the time is over; returns the exit status. Stopping twice is harmless."""
    _signal_group(process, signum)
    try:
        return process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        _signal_group(process, signal.SIGKILL)
        return process.wait()


def log_tail(path: Path) -> str:
    """The last lines of a log file, for an error message."""
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])


def _signal_group(process: subprocess.Popen[bytes], signum: signal.Signals) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signum)


def _die_with_parent() -> Callable[[], None] | None:
    """What the child runs between fork and exec; nothing is imported or allocated there but the call itself."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def set_parent_death_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call
            os.kill(os.getpid(), signal.SIGKILL)

    return set_parent_death_signal
