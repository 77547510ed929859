"""Several processes on one port: starts the workers, passes signals on, and starts anew what died.

Workers are forked, so what they share is simply there: the key of continue tokens, and the board on which they see
each other. Each is the leader of a process group, so that Ctrl-C reaches them once, from here. When this process dies,
they read the end of a pipe and drain.

Signals are not handled but waited for: between two of them nothing happens here.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from proxy.server.peers import Board, Peers

log = logging.getLogger(__name__)

EXIT_CANNOT_START = 1
EXIT_MUST_END = 3
"""A worker ends with this when nothing may go on without what it lacks: all of them end then."""

MIN_BACK_OFF_SECONDS = 1.0
MAX_BACK_OFF_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A worker that lived this long starts at once again, and its back-off begins anew."""

_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})
_AWAITED = _ENDING | {signal.SIGHUP, signal.SIGCHLD}


@dataclass(slots=True)
class _Place:
    """Where one worker after the other runs. `pid` 0: none does, and the next is due at `due`."""

    number: int
    pid: int = 0
    started: float = 0.0
    due: float = 0.0
    back_off_seconds: float = 0.0
    has_served: bool = False


class Supervisor:
    """Runs `workers` processes; `run` is the whole life of one, given its number, and returns its exit status."""

    def __init__(self, workers: int, run: Callable[[int, Peers], int]) -> None:
        self._run_worker = run
        self._board = Board(workers)
        self._places = [_Place(number) for number in range(workers)]
        self._life, self._our_life = os.pipe()
        self._ending = False
        self._status = 0

    def run(self) -> int:
        """Returns the exit status, once every worker has ended."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        while True:
            now = time.monotonic()
            for place in self._places:
                if not self._ending and not place.pid and place.due <= now:
                    self._start(place)
            if not any(place.pid for place in self._places) and self._ending:
                return self._status
            due = [place.due - now for place in self._places if not place.pid and not self._ending]
            received = signal.sigtimedwait(_AWAITED, max(min(due, default=MAX_BACK_OFF_SECONDS), 0))
            if received is not None:
                self._receive(signal.Signals(received.si_signo))

    def _receive(self, signum: signal.Signals) -> None:
        if signum is signal.SIGCHLD:
            self._reap()
        else:
            self._ending |= signum in _ENDING
            self._send(signum)

    def _send(self, signum: signal.Signals) -> None:
        for place in self._places:
            if place.pid:
                os.kill(place.pid, signum)

    def _reap(self) -> None:
        """One SIGCHLD may stand for several."""
        for place in self._places:
            if place.pid and (ended := os.waitpid(place.pid, os.WNOHANG))[0]:
                place.has_served |= self._board.read(place.number)[1]
                self._board.bury(place.number)
                self._ended(place, os.waitstatus_to_exitcode(ended[1]))

    def _ended(self, place: _Place, status: int) -> None:
        lived = time.monotonic() - place.started
        place.pid = 0
        if self._ending:
            return
        if status == EXIT_MUST_END or (status == EXIT_CANNOT_START and not place.has_served):
            self._status = EXIT_CANNOT_START
            self._ending = True
            self._send(signal.SIGTERM)
            return
        if lived >= STEADY_SECONDS:
            place.back_off_seconds = 0.0
        place.due = time.monotonic() + place.back_off_seconds
        log.error("worker %d ended with %d, started anew in %g s", place.number, status, place.back_off_seconds)
        place.back_off_seconds = min(max(2 * place.back_off_seconds, MIN_BACK_OFF_SECONDS), MAX_BACK_OFF_SECONDS)

    def _start(self, place: _Place) -> None:
        place.started = time.monotonic()
        place.pid = os.fork()
        if not place.pid:
            self._live(place.number)

    def _live(self, number: int) -> None:
        """The life of a worker. Does not return."""
        status = EXIT_CANNOT_START
        try:
            os.setpgid(0, 0)
            os.close(self._our_life)
            threading.Thread(target=_end_with, args=(self._life,), name="supervisor's life", daemon=True).start()
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it can: what it reads at its start is the newest
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
            status = self._run_worker(number, Peers(self._board, number))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


def _end_with(life: int) -> None:
    os.read(life, 1)
    os.kill(os.getpid(), signal.SIGTERM)
