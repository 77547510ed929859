"""A process that takes and answers JSON lines, and ends when its input does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

_ROOT = Path(__file__).parents[2]


class VoidRun(Exception):
    """What was measured is not what was meant to be: nothing may be concluded from the run."""


class WorkerProcess:
    """Runs `module`, whose first line is `spec`."""

    def __init__(self, module: str, spec: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT
        )
        self.send(spec)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def send(self, line: Mapping[str, Any]) -> None:
        """Does not wait for an answer."""
        stdin = cast("IO[str]", self._process.stdin)
        stdin.write(json.dumps(line) + "\n")
        stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Waits for the next. Raises VoidRun when the process has ended."""
        line = cast("IO[str]", self._process.stdout).readline()
        if not line:
            raise VoidRun(f"a process of the load ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Returns when it has ended."""
        cast("IO[str]", self._process.stdin).close()
        self._process.wait()
