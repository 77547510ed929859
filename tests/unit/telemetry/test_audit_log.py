"""The audit log: every line whole and once, or counted as lost; never a wait, never an end unless it is strict."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.telemetry.audit_log import AuditFile, AuditLog, AuditLogError
from tests.support.polling import poll

FULL = Path("/dev/full")
WAIT_SECONDS = 20.0


def wait_for(log: AuditLog, *, written: int = 0, dropped: int = 0) -> None:
    poll(
        lambda: (log.written, log.dropped) == (written, dropped),
        timeout_seconds=WAIT_SECONDS,
        failure=lambda: f"{log.written} written, {log.dropped} dropped",
    )


def test_lines_are_appended_to_what_is_there_and_all_written_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(b"before\n")

    async def talk() -> None:
        log = AuditLog(path, strict=False)
        for number in range(1000):
            log.write(b"%d\n" % number)
        log.close()
        assert (log.written, log.dropped) == (1000, 0)

    asyncio.run(talk())
    assert path.read_bytes() == b"before\n" + b"".join(b"%d\n" % number for number in range(1000))


def test_others_on_the_machine_cannot_read_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    AuditFile(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("removed", [False, True], ids=["renamed", "removed"])
def test_it_goes_on_in_a_new_file_once_the_old_one_was_taken_away(tmp_path: Path, removed: bool) -> None:
    path, old = tmp_path / "audit.log", tmp_path / "audit.log.1"
    file = AuditFile(path)
    file.write([b"1\n"])
    path.rename(old)
    if removed:
        old.unlink()
    file.write([b"2\n"])
    file.write([b"3\n"])
    file.close()
    assert path.read_bytes() == b"2\n3\n"
    assert removed or old.read_bytes() == b"1\n"


def test_it_goes_on_in_the_file_that_logrotate_made(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = AuditFile(path)
    file.write([b"1\n"])
    path.rename(tmp_path / "audit.log.1")
    path.touch()
    file.write([b"2\n"])
    file.close()
    assert path.read_bytes() == b"2\n"


def test_a_write_that_was_cut_short_does_not_spoil_the_next_event(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = AuditFile(path)
    with room_for(14), pytest.raises(OSError, match="File too large"):
        file.write([b"first\n", b"second, cut\n"])
    with room_for(14), pytest.raises(OSError, match="File too large"):
        file.write([b"third\n"])
    file.write([b"fourth\n"])
    file.write([b"fifth\n"])
    file.close()
    assert path.read_bytes() == b"first\nsecond, \nfourth\nfifth\n"


def test_a_full_disk_is_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async def talk() -> None:
        log = AuditLog(FULL, strict=False)
        ending = asyncio.ensure_future(log.run())
        for lost in range(1, 4):
            log.write(b"line\n")
            await asyncio.to_thread(wait_for, log, dropped=lost)
        assert not ending.done()
        ending.cancel()
        log.close()

    asyncio.run(talk())
    assert [each.levelno for each in caplog.records] == [logging.ERROR]
    assert "No space left on device" in caplog.text


def test_a_strict_log_on_a_full_disk_ends_with_one_line_that_says_why() -> None:
    async def talk() -> None:
        log = AuditLog(FULL, strict=True)
        log.write(b"line\n")
        with pytest.raises(AuditLogError, match="audit log `/dev/full` cannot be written: No space left on device"):
            await log.run()
        log.close()

    asyncio.run(talk())


@pytest.mark.parametrize("strict", [False, True])
def test_a_disk_that_hangs_costs_lines_and_no_time(tmp_path: Path, strict: bool) -> None:
    """A pipe that nobody reads is such a disk; when it moves again, so does the log."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    async def talk() -> None:
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        log = AuditLog(path, strict=strict, max_pending_bytes=1_000_000)
        line = b"x" * 99_999 + b"\n"
        for _ in range(20):
            log.write(line)
        assert log.dropped >= 10
        if strict:
            with pytest.raises(AuditLogError, match="too much waits"):
                await log.run()
        os.set_blocking(reader, True)
        kept = 20 - log.dropped
        received = 0
        while received < kept * len(line):
            received += len(await asyncio.to_thread(os.read, reader, 65536))
        await asyncio.to_thread(wait_for, log, written=kept, dropped=20 - kept)
        log.close()
        os.close(reader)

    asyncio.run(talk())


def test_what_comes_after_the_end_is_counted_as_lost(tmp_path: Path) -> None:
    async def talk() -> None:
        log = AuditLog(tmp_path / "audit.log", strict=False)
        log.close()
        log.write(b"late\n")
        assert log.dropped == 1

    asyncio.run(talk())


def test_a_file_that_cannot_be_opened_is_an_error_at_once(tmp_path: Path) -> None:
    async def talk() -> None:
        with pytest.raises(AuditLogError, match=r"--audit-log-path: cannot open `.*`: No such file or directory"):
            AuditLog(tmp_path / "nowhere" / "audit.log", strict=False)

    asyncio.run(talk())


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size`: the nearest to a full disk without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
