"""Follows files that are replaced while the proxy runs: certificates, CAs, tokens.

Kubernetes swaps a mounted Secret by a symbolic link, tools rename a new file over the old one: what a path leads to is
looked at now and then, which needs nothing of the file system.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

CHECK_INTERVAL_SECONDS = 2.0
"""A new certificate is in use within this."""


class FileFollower:
    """Calls `reload` when any of `paths` has changed; what it raises is logged, and what was loaded stays in use.

    A set of files that is being replaced (a certificate and its key) may be seen half done: a reload that failed is
    tried again until it works.
    """

    def __init__(self, paths: Sequence[Path], reload: Callable[[], None]) -> None:
        self._paths = paths
        self._reload = reload
        self._loaded = self._look()

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_SECONDS)
            self.check()

    def check(self) -> None:
        """Reloads when there is something new."""
        seen = self._look()
        if seen == self._loaded:
            return
        try:
            self._reload()
        except Exception as error:  # whatever is wrong with the new files, the old ones go on serving
            log.error("what was loaded before stays in use: %s", error)
            return
        self._loaded = seen
        log.info("loaded again: %s", ", ".join(map(str, self._paths)))

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_identity(path) for path in self._paths]


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
