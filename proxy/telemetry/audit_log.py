"""The audit log: lines are handed over without waiting, and written by a thread of its own.

A disk that is slow or full costs lines, which are counted, and never the service. The thread is a daemon: a write that
hangs does not keep the process from ending.

INVARIANT: no two events share a line, also after a write that was cut short (tests/unit/telemetry/test_audit_log.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from pathlib import Path

log = logging.getLogger(__name__)

MAX_PENDING_BYTES = 16 * 1024 * 1024
"""What may wait for the disk, about 16,000 events: seconds of a busy proxy."""

CLOSE_SECONDS = 5.0
"""How long the end of the process waits for the last lines."""

_MODE = 0o600
_STDOUT = 1


class AuditLogError(Exception):
    """The audit log cannot be written, and nothing may go on without it; one line that says why."""


class AuditFile:
    """The file of an audit log, opened to append; None is the standard output. Raises OSError."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._fd = _STDOUT if path is None else self._open(path)
        self._torn = False

    def write(self, lines: list[bytes]) -> None:
        """Writes all lines, or raises OSError; then what was begun of a line is ended with the next write."""
        self._follow_rename()
        data = memoryview(b"\n" * self._torn + b"".join(lines))
        whole = data
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        finally:
            written = len(whole) - len(data)
            if written:
                self._torn = whole[written - 1] != 0x0A

    def close(self) -> None:
        """Closes the file; the standard output stays."""
        if self._path is not None:
            os.close(self._fd)

    def _follow_rename(self) -> None:
        """Goes on in a new file once the old one was renamed or removed, as logrotate does."""
        if self._path is None:
            return
        try:
            found = self._path.stat()
            current = os.fstat(self._fd)
            if (found.st_dev, found.st_ino) == (current.st_dev, current.st_ino):
                return
        except FileNotFoundError:
            pass
        newest = self._open(self._path)
        os.close(self._fd)
        self._fd, self._torn = newest, False

    @staticmethod
    def _open(path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)


class AuditLog:
    """Made inside a running loop. With `strict` the first line that is lost ends `run`; end it with `close`.

    `path` None is the standard output. Raises AuditLogError when the file cannot be opened.
    """

    def __init__(self, path: Path | None, *, strict: bool, max_pending_bytes: int = MAX_PENDING_BYTES) -> None:
        self._name = "the standard output" if path is None else f"`{path}`"
        self._strict = strict
        self._max_pending_bytes = max_pending_bytes
        self._loop = asyncio.get_running_loop()
        self._failure: asyncio.Future[str] = self._loop.create_future()
        self._changed = threading.Condition()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._closing = False
        self._healthy = True
        self.written = 0
        self.dropped = 0
        try:
            self._file = AuditFile(path)
        except OSError as error:
            raise AuditLogError(f"--audit-log-path: cannot open {self._name}: {error.strerror}") from error
        self._thread = threading.Thread(target=self._write_all, name="audit log", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Hands over one line; it is dropped and counted when too much waits already."""
        with self._changed:
            if self._pending_bytes + len(line) <= self._max_pending_bytes and not self._closing:
                self._pending.append(line)
                self._pending_bytes += len(line)
                self._changed.notify()
                return
            why = "the process is ending" if self._closing else "too much waits to be written"
        self._lost(1, why)

    async def run(self) -> None:
        """Waits; raises AuditLogError when a line was lost and the log is strict."""
        raise AuditLogError(await self._failure)

    def close(self) -> None:
        """Writes what waits, within a bound. Lines that come later are dropped."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS)

    def _write_all(self) -> None:
        while lines := self._next():
            try:
                self._file.write(lines)
            except OSError as error:
                self._lost(len(lines), error.strerror or str(error))
            else:
                self._written(len(lines))
            with self._changed:
                self._pending_bytes -= sum(map(len, lines))
        self._file.close()

    def _next(self) -> list[bytes]:
        """What waits, once something does; nothing at the end."""
        with self._changed:
            while not self._pending and not self._closing:
                self._changed.wait()
            lines, self._pending = self._pending, []
            return lines

    def _written(self, lines: int) -> None:
        with self._changed:
            self.written += lines
            recovered, self._healthy = not self._healthy, True
        if recovered:
            log.warning("the audit log %s is written again; %d events were lost so far", self._name, self.dropped)

    def _lost(self, lines: int, why: str) -> None:
        with self._changed:
            self.dropped += lines
            first, self._healthy = self._healthy, False
        if first:
            log.error("the audit log %s cannot be written, events are lost: %s", self._name, why)
            if self._strict and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(
                    self._fail, f"--audit-log-strict: the audit log {self._name} cannot be written: {why}"
                )

    def _fail(self, message: str) -> None:
        if not self._failure.done():
            self._failure.set_result(message)
