"""The policy folder, read into memory: the only part of policy loading that does I/O.

Names that begin with a dot are left out: editors' files, and the `..data` and `..2024_…` folders of a mounted
ConfigMap, whose files are reached through the links beside them. Links are followed. `tests.yaml` holds policy tests.
"""

from __future__ import annotations

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
    for file in _policy_files(folder, frozenset()):
        content = _read_file(file)
        total_bytes += len(content)
        if total_bytes > MAX_TOTAL_BYTES:
            raise PolicyFolderError(f"{folder}: holds more than {MAX_TOTAL_BYTES} bytes of policy files")
        if len(files) == MAX_FILES:
            raise PolicyFolderError(f"{folder}: holds more than {MAX_FILES} policy files")
        files[_name_within(folder, file)] = content
    if not files:
        raise PolicyFolderError(f"{folder}: holds no policy file (*.yaml, *.yml, *.json)")
    return dict(sorted(files.items()))


def _policy_files(folder: Path, parents: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """The policy files below a folder. `parents` are the folders above it, which a link must not lead back into."""
    try:
        status = folder.stat()
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise PolicyFolderError(f"{folder}: {(error.strerror or str(error)).lower()}") from error
    identity = (status.st_dev, status.st_ino)
    if identity in parents:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _policy_files(entry, parents | {identity})
        elif entry.suffix.lower() in POLICY_SUFFIXES and entry.name != POLICY_TESTS:
            yield entry


def _read_file(path: Path) -> bytes:
    try:
        # A named pipe would block here for ever without O_NONBLOCK.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PolicyFolderError(f"{path}: is not a regular file")
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PolicyFolderError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    if len(content) > MAX_FILE_BYTES:
        raise PolicyFolderError(f"{path}: is larger than {MAX_FILE_BYTES} bytes")
    return content


def _name_within(folder: Path, file: Path) -> str:
    """The path for findings: with `/`, and printable whatever bytes the file system holds."""
    return printable(os.fsencode(file.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace"))
