"""Files that are what they were are not read again: an edit costs one file, however many there are."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256

from proxy.policy.load import FileRead, ReadFile, read_file


class RememberedFiles:
    """Reads files by `read`, and remembers each by its name and a digest of its content."""

    def __init__(self, read: ReadFile = read_file) -> None:
        self._read = read
        self._known: dict[str, tuple[bytes, FileRead]] = {}

    def read(self, file: str, content: bytes) -> FileRead:
        """The file, read now or before."""
        digest = sha256(content).digest()
        known = self._known.get(file)
        if known is not None and known[0] == digest:
            return known[1]
        self._known[file] = (digest, self._read(file, content))
        return self._known[file][1]

    def keep_only(self, files: Collection[str]) -> None:
        """Forgets files that are not there any more."""
        for file in self._known.keys() - set(files):
            del self._known[file]
