"""A process of the load generator (benchmarks/load, in Go): takes and answers JSON lines, and ends when its input does.

It is built when it is first asked for, into the user's cache. A build that has nothing to do takes a moment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any, cast

HOW_TO_GET_GO = "the load generator needs the Go toolchain, version 1.26 or later, on the PATH"

_SOURCE = Path(__file__).parents[1] / "load"


class VoidRun(Exception):
    """What was measured is not what was meant to be: nothing may be concluded from the run."""


class LoadProcess:
    """Runs `load COMMAND`, whose first line is `spec`."""

    def __init__(self, command: str, url: str, ca_file: Path, spec: Mapping[str, Any]) -> None:
        host, _, port = url.removeprefix("https://").partition(":")
        self._process = subprocess.Popen(
            [load_generator(), command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.send({"host": host, "port": int(port), "ca_file": str(ca_file), **spec})

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
            raise VoidRun(f"the load generator ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Ends it, whatever it waits for, and returns when it has ended."""
        cast("IO[str]", self._process.stdin).close()
        self._process.kill()
        self._process.wait()
        cast("IO[str]", self._process.stdout).close()


@cache
def load_generator() -> Path:
    """The executable. Raises SystemExit where there is no Go."""
    go = shutil.which("go")
    if go is None:
        raise SystemExit(HOW_TO_GET_GO)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built = caches / "watchkeeper" / "benchmarks" / "load"
    built.parent.mkdir(parents=True, exist_ok=True)
    partial = built.with_name(f".load.{os.getpid()}")
    subprocess.run([go, "build", "-C", _SOURCE, "-buildvcs=false", "-o", partial, "."], check=True)
    return partial.replace(built)
