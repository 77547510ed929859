"""The soak: a proxy on a real cluster, watched, disturbed and visited 1,000 times a minute, and what is left of it.

    python -m tests.soak.soak --seconds 600

The stage of the theorem plays all the time: fifteen clients list, watch and resume under changing policies, and each
must have exactly what it may see. Now and then the way to the API server is cut. Beside it visitors come and go. What
the process holds is looked at before, during and after.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from tests.realkube.test_theorem import everybody
from tests.soak.gauges import Gauges, look
from tests.soak.visits import Visitors
from tests.support.binaries import find_binaries
from tests.support.polling import poll
from tests.support.realkube import RealCluster
from tests.support.telemetry import ADMIN_FLAGS
from tests.support.theorem_policies import ADMIN, ALICE, MIA, NADIA, NOBODY, NODE1
from tests.support.theorem_stage import Stage

WARM_UP_SECONDS = 5.0
LOOK_SECONDS = 2.0
SETTLE_SECONDS = 60.0
SPARE_FILES, SPARE_TASKS, SPARE_UPSTREAM = 6, 6, 4
"""What may be more at the end than at the beginning: a connection or two that is kept, each with its task."""

_OPERATIONS = 3  # of the play, between two breaths
_BREATH_SECONDS = 0.5
_CUT_EVERY_SECONDS = 7.0


@dataclass(slots=True)
class Soaked:
    """What came of it. `looks`: (seconds since the beginning, what the process held).

    `let_in`: how many of the clients that stay have a watch at the end; the others are refused by the last policy.
    """

    seconds: float
    before: Gauges
    after: Gauges
    let_in: int
    looks: list[tuple[float, Gauges]]
    visits: Counter[str]
    findings: list[str]
    cuts: int
    operations: int
    judged: int
    settled_after_seconds: float

    @property
    def most(self) -> Gauges:
        """The most that was held of each."""
        return Gauges(*(max(values) for values in zip(*(gauges for _, gauges in self.looks), strict=True)))

    def memory_in(self, first: float, last: float) -> float:
        """The median of memory between two parts of the time, in MiB: 0 is the beginning, 1 the end."""
        values = sorted(g.memory for at, g in self.looks if first * self.seconds <= at <= last * self.seconds)
        return values[len(values) // 2]

    def leaks(self) -> list[str]:
        """What is more afterwards than before, and should not be. Each watch that a policy lets in has its task."""
        before, after = self.before, self.after
        bounds = (
            ("open files", before.open_files, after.open_files, SPARE_FILES),
            ("tasks beside those of watches", before.tasks - before.watches, after.tasks - after.watches, SPARE_TASKS),
            ("connections to the API server", before.upstream, after.upstream, SPARE_UPSTREAM),
            ("watches", self.let_in, after.watches, 0),
        )
        return [f"{what}: {before} before, {after} after" for what, before, after, spare in bounds
                if after > before + spare]  # fmt: skip

    def table(self) -> str:
        """For docs/reliability.md."""
        rows = (("before", self.before), ("most", self.most), ("after", self.after))
        lines = [
            "| | memory (MiB) | open files | tasks | open watches | connections to the API server |",
            "| - | - | - | - | - | - |",
            *(f"| {name} | {g.memory:.0f} | {g.open_files} | {g.tasks} | {g.watches} | {g.upstream} |"
              for name, g in rows),
        ]  # fmt: skip
        parts = [(part / 5, (part + 1) / 5) for part in range(5)]
        memory = ", ".join(f"{self.memory_in(first, last):.0f}" for first, last in parts)
        return "\n".join(
            [
                *lines,
                "",
                f"{self.seconds:.0f} s, {self.visits.total()} visits ({self.visits.total() / self.seconds * 60:.0f} a "
                f"minute), {self.cuts} cuts, {self.operations} operations of the play, {self.judged} states judged.",
                f"Memory by fifths of the time (median): {memory} MiB.",
                f"All clients as far as the cluster {self.settled_after_seconds:.1f} s after the last disturbance.",
                f"Visits: {dict(sorted(self.visits.items()))}",
            ]
        )


@dataclass(slots=True)
class _Looking:
    """Looks every few seconds, in a thread."""

    stage: Stage
    looks: list[tuple[float, Gauges]] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        began = time.monotonic()

        def run() -> None:
            while not self._ended.wait(LOOK_SECONDS):
                self.looks.append((time.monotonic() - began, held(self.stage)))

        self._thread = threading.Thread(target=run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        assert self._thread is not None
        self._thread.join()


def held(stage: Stage) -> Gauges:
    """What the proxy of a stage holds."""
    port = urlsplit(stage.link.url).port
    assert port is not None
    return look(stage.proxy, port)


def soak(cluster: RealCluster, directory: Path, *, seconds: float, seed: int = 11) -> Soaked:
    """Runs it; raises AssertionError when a client has what it should not have, or misses something."""
    flags = (*ADMIN_FLAGS, "--audit-log-path", str(directory / "audit.log"))
    with Stage(cluster, directory, everybody, seed=seed, watch_delay_ms=0, flags=flags) as stage:
        play(stage, WARM_UP_SECONDS)
        with Visitors(stage.proxy, CALLERS, seed=seed):
            play(stage, WARM_UP_SECONDS)
        at_rest(stage)
        before = held(stage)
        operations, cuts = stage.counts.total(), 0
        with _Looking(stage) as looking, Visitors(stage.proxy, CALLERS, seed=seed + 1) as visitors:
            cuts = play(stage, seconds, with_cuts=True)
        settled = at_rest(stage)
        poll(
            lambda: held(stage).open_files <= before.open_files + SPARE_FILES,
            timeout_seconds=SETTLE_SECONDS,
            failure=lambda: f"before: {before}, now: {held(stage)}",
        )
        return Soaked(
            seconds=seconds,
            before=before,
            after=held(stage),
            let_in=sum(replica.copy.is_let_in for replica in stage.replicas),
            looks=looking.looks,
            visits=visitors.counts,
            findings=visitors.findings,
            cuts=cuts,
            operations=stage.counts.total() - operations,
            judged=stage.judged,
            settled_after_seconds=settled,
        )


CALLERS = (ADMIN, ALICE, NODE1, NADIA, MIA, NOBODY)


def play(stage: Stage, seconds: float, *, with_cuts: bool = False) -> int:
    """Plays for so long; returns how often the way to the API server was cut."""
    began = time.monotonic()
    faults = itertools.cycle((stage.link.cut_mid_frame, stage.link.cut))
    cuts = 0
    while (passed := time.monotonic() - began) < seconds:
        if with_cuts and passed > (cuts + 1) * _CUT_EVERY_SECONDS:
            next(faults)()
            cuts += 1
        stage.play(_OPERATIONS)
        time.sleep(_BREATH_SECONDS)
    return cuts


def at_rest(stage: Stage) -> float:
    """Returns when everybody watches and is as far as the cluster; how many seconds it took."""
    stage.resume_all()
    return stage.recover()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=600.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, RealCluster(Path(name) / "cluster", find_binaries()) as cluster:
        soaked = soak(cluster, Path(name) / "play", seconds=arguments.seconds)
    print(soaked.table())
    problems = soaked.leaks() + soaked.findings
    raise SystemExit("\n".join(problems) if problems else 0)


if __name__ == "__main__":
    main()
