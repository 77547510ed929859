"""The policy folder, read into memory: the only part of policy loading that does I/O.

Names that begin with a dot are left out: editors' files, and the `..data` and `..2024_…` folders of a mounted
ConfigMap, whose files are reached through the links beside them. Links are followed. `tests.yaml` holds policy tests.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from proxy.policy.findings import printable

POLICY_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
POLICY_TESTS = "tests.yaml"

MAX_FILE_BYTES = 8 * 1024 * 1024  # all roles of a large cluster, exported with managedFields, are 2 MiB
MAX_TOTAL_BYTES = 64 * 1024 * 1024  # a mistaken path (`/`) must not fill the memory
MAX_FILES = 10_000  # likewise
MAX_READINGS = 5  # of a folder that changes while it is read


class PolicyFolderError(Exception):
    """The folder cannot be read; the text is one line for an operator."""


def read_policy_folder(path: Path) -> dict[str, bytes]:
    """The `*.yaml`, `*.yml` and `*.json` files below a folder, sorted, by their path within it.

    It is read until two readings agree, so that a folder which is being replaced is not seen half old, half new.
    Raises PolicyFolderError when it is missing, holds no policy file, holds one that cannot be read, or is too large.
    """
    reading = _read_once(path)
    for _ in range(MAX_READINGS):
        previous, reading = reading, _read_once(path)
        if reading == previous:
            return reading
    raise PolicyFolderError(f"{path}: keeps changing while it is read")


def _read_once(folder: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    total_bytes = 0
    above = os.path.join(folder, "")  # noqa: PTH118 (with the slash)
    for path in _policy_files(str(folder), frozenset()):
        content = _read_file(path)
        total_bytes += len(content)
        if total_bytes > MAX_TOTAL_BYTES:
            raise PolicyFolderError(f"{folder}: holds more than {MAX_TOTAL_BYTES} bytes of policy files")
        if len(files) == MAX_FILES:
            raise PolicyFolderError(f"{folder}: holds more than {MAX_FILES} policy files")
        name = _printable_name(path.removeprefix(above))
        if name in files:
            raise PolicyFolderError(f"{folder}: holds two files that print as {name}")
        files[name] = content
    if not files:
        raise PolicyFolderError(f"{folder}: holds no policy file (*.yaml, *.yml, *.json)")
    return dict(sorted(files.items()))


def _policy_files(folder: str, parents: frozenset[tuple[int, int]]) -> Iterator[str]:
    """The policy files below a folder. `parents` are the folders above it, which a link must not lead back into.

    Paths are text: pathlib would be the greater part of reading a thousand files.
    """
    try:
        status = os.stat(folder)  # noqa: PTH116
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from error
    identity = (status.st_dev, status.st_ino)
    if identity in parents:
        return
    for entry in entries:
        name = entry.name
        if name.startswith("."):
            continue
        if _is_folder(entry):
            yield from _policy_files(entry.path, parents | {identity})
        elif os.path.splitext(name)[1].lower() in POLICY_SUFFIXES and name != POLICY_TESTS:  # noqa: PTH122
            yield entry.path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Of a link, what it leads to: one that cannot be followed must not pass for a folder that is not there."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a file that cannot be read
            return False
        raise _unreadable(entry.path, error) from error


def _read_file(path: str) -> bytes:
    try:
        # A named pipe would block here for ever without O_NONBLOCK.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise PolicyFolderError(f"{printable(path)}: is not a regular file")
            content = file.read(min(status.st_size, MAX_FILE_BYTES) + 1)
            if len(content) > status.st_size:  # it grows, or its file system does not know its size
                content += file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) > MAX_FILE_BYTES:
        raise PolicyFolderError(f"{printable(path)}: is larger than {MAX_FILE_BYTES} bytes")
    return content


def _unreadable(path: str, error: OSError) -> PolicyFolderError:
    return PolicyFolderError(f"{printable(path)}: {(error.strerror or str(error)).lower()}")


def _printable_name(within: str) -> str:
    """A path for findings, whatever bytes the file system holds."""
    return printable(os.fsencode(within).decode("utf-8", "backslashreplace"))
