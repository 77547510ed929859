"""Runs `watchkeeper` with a monitor of its event loop: `python -m benchmarks.support.loop_monitor FILE serve …`.

The loop itself runs a probe from a timer of 2 ms, and the probe reads the CPU clock of the loop's thread. What was used
between two probes is one turn of the loop and at most 2 ms more: a turn that is longer than the timer is followed by
the probe, whatever waits. So a step is never longer than what is told here, and other processes on the machine do not
count. The kernel's clock is exact to the microsecond.

A second thread looks at the stack of the loop's thread every few milliseconds, to name what a long turn was doing. It
needs the interpreter for that, so of a step inside one C call it sees where the call was made.

FILE gets a JSON line for each turn of 5 ms or more: {"cpu_ms", "where", "at" (monotonic seconds)}.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from asyncio import AbstractEventLoop
from collections import Counter, deque
from pathlib import Path
from types import FrameType
from typing import TextIO

import uvloop

import proxy
from proxy.cli.main import main

PROBE_SECONDS = 0.002
TOLD_FROM_MS = 5.0

_SAMPLE_SECONDS = 0.003
_SAMPLES = 300  # a second of them: a longer turn is named by its end
_OWN_CODE = str(Path(proxy.__file__).parent)
_SHOWN_FRAMES = 3


class LoopMonitor:
    """Watches one loop; made in the thread that will run it."""

    def __init__(self, loop: AbstractEventLoop, file: TextIO) -> None:
        self._loop = loop
        self._file = file
        self._thread = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread)
        self._samples: deque[tuple[float, str]] = deque(maxlen=_SAMPLES)
        self._last = time.clock_gettime(self._clock)
        loop.call_later(PROBE_SECONDS, self._probe)
        threading.Thread(target=self._sample, name="loop monitor", daemon=True).start()

    def _probe(self) -> None:
        now = time.clock_gettime(self._clock)
        used_ms = (now - self._last) * 1000
        if used_ms >= TOLD_FROM_MS:
            where = Counter(place for at, place in list(self._samples) if self._last <= at <= now)
            named = where.most_common(1)[0][0] if where else "not seen"
            line = {"cpu_ms": used_ms, "where": named, "at": time.monotonic()}
            self._file.write(json.dumps(line) + "\n")
        self._last = time.clock_gettime(self._clock)  # what the monitor itself needed is nobody's step
        self._loop.call_later(PROBE_SECONDS, self._probe)

    def _sample(self) -> None:
        while True:
            time.sleep(_SAMPLE_SECONDS)
            frame = sys._current_frames().get(self._thread)
            self._samples.append((time.clock_gettime(self._clock), _place(frame)))


def _place(frame: FrameType | None) -> str:
    """The innermost frames of the proxy's own code, the called last."""
    places: list[str] = []
    while frame is not None and len(places) < _SHOWN_FRAMES:
        code = frame.f_code
        if code.co_filename.startswith(_OWN_CODE):
            file = Path(code.co_filename).relative_to(Path(_OWN_CODE).parent)
            places.append(f"{file}:{frame.f_lineno} {code.co_qualname}")
        frame = frame.f_back
    return " › ".join(reversed(places)) or "outside of the proxy's code"


def _watched(file: TextIO) -> AbstractEventLoop:
    loop = new_event_loop()
    LoopMonitor(loop, file)
    return loop


if __name__ == "__main__":
    new_event_loop = uvloop.new_event_loop
    with Path(sys.argv.pop(1)).open("a", buffering=1) as lines:
        uvloop.new_event_loop = lambda: _watched(lines)  # type: ignore[assignment, return-value]
        main()
