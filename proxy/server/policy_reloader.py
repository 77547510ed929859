"""Follows the policy folder: a good set of files is put in force at once, a bad one leaves the last good one serving.

The folder is watched, looked at again now and then (not every file system tells), and on request. Kubernetes swaps a
mounted ConfigMap by a symbolic link: what counts is what the files say, not which of them changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from watchfiles import awatch

from proxy.policy.compile import compile_policy
from proxy.policy.findings import Severity
from proxy.policy.folder import PolicyFolderError, read_policy_folder
from proxy.policy.load import Loaded, load_policies
from proxy.policy.remembered_files import RememberedFiles
from proxy.policy.snapshot import PolicySnapshot

log = logging.getLogger(__name__)

_DEBOUNCE_MILLISECONDS = 100
"""An editor or a ConfigMap swap makes several changes at once: no longer than this is waited for the last."""

_LOOK_AGAIN_MILLISECONDS = 10_000

_MISSING_SECONDS = 1.0
"""Between two looks for a folder that is not there."""

_Identity: TypeAlias = tuple[int, int]


class InvalidPolicy(Exception):
    """The folder holds no policy that could be put in force; one line for each thing wrong with it."""


def read_policy(folder: Path, remembered: RememberedFiles) -> tuple[PolicySnapshot, bytes]:
    """The policy of a folder, compiled, and a digest of its files. Warnings are logged. Raises InvalidPolicy."""
    files, digest = _read_files(folder)
    return _compile(files, remembered), digest


class PolicyReloader:
    """Reads `folder` whenever it may have changed; `use` puts a snapshot in force.

    `digest` is of what is in force, `remembered` what it was read with.
    """

    def __init__(
        self, folder: Path, digest: bytes, use: Callable[[PolicySnapshot], None], remembered: RememberedFiles
    ) -> None:
        self._remembered = remembered
        self._folder = folder
        self._digest = digest
        self._use = use
        self._observers: list[Callable[[bool], None]] = []
        self._asked = asyncio.Event()
        self._is_failing = False

    def ask(self) -> None:
        """Has the folder read again soon, whether or not a change was seen."""
        self._asked.set()

    def observe(self, observer: Callable[[bool], None]) -> None:
        """`observer` is told after each time `run` has read the folder whether what it says is in force."""
        self._observers.append(observer)

    async def run(self) -> None:
        """Follows the folder until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            while True:
                await self._asked.wait()
                self._asked.clear()
                in_force = await self.reload()
                for observer in self._observers:
                    observer(in_force)

    async def reload(self) -> bool:
        """Reads the folder now. True when what it says is in force afterwards."""
        try:
            files, digest = await asyncio.to_thread(_read_files, self._folder)
            if digest == self._digest:
                if self._is_failing:
                    log.info("the policy in force is again what the folder says")
                self._is_failing = False
                return True
            snapshot = await asyncio.to_thread(_compile, files, self._remembered)
        except InvalidPolicy as error:
            self._failed(str(error))
            return False
        self._digest = digest
        self._is_failing = False
        self._use(snapshot)
        log.info("policy %s is in force", snapshot.revision)
        return True

    def _failed(self, problems: str) -> None:
        self._is_failing = True
        for line in problems.splitlines():
            log.error("the last good policy stays in force: %s", line)

    async def _watch(self) -> None:
        while True:
            self._asked.set()
            watched = _identity(self._folder)
            if watched is not None:
                with contextlib.suppress(FileNotFoundError):  # taken away in between
                    await self._watch_until_replaced(watched)
            while _identity(self._folder) is None:  # noqa: ASYNC110 (nothing tells when it is back)
                await asyncio.sleep(_MISSING_SECONDS)

    async def _watch_until_replaced(self, watched: _Identity) -> None:
        """Returns when the folder is gone or another one: what is watched is a folder, not a path."""
        async for _ in awatch(
            self._folder,
            debounce=_DEBOUNCE_MILLISECONDS,
            rust_timeout=_LOOK_AGAIN_MILLISECONDS,
            yield_on_timeout=True,
            watch_filter=None,
        ):
            self._asked.set()
            if _identity(self._folder) != watched:
                return


def _read_files(folder: Path) -> tuple[dict[str, bytes], bytes]:
    """The files of the folder, and their digest. Raises InvalidPolicy."""
    try:
        files = read_policy_folder(folder)
    except PolicyFolderError as error:
        raise InvalidPolicy(str(error)) from error
    return files, _digest(files)


def _compile(files: dict[str, bytes], remembered: RememberedFiles) -> PolicySnapshot:
    """What they say. Warnings are logged. Raises InvalidPolicy."""
    remembered.keep_only(files)
    loaded = load_policies(files, remembered.read)
    _log_warnings(loaded)
    if loaded.has_errors:
        errors = [str(finding) for finding in loaded.findings if finding.severity is Severity.ERROR]
        raise InvalidPolicy("\n".join(errors))
    return compile_policy(loaded.policy)


def _log_warnings(loaded: Loaded) -> None:
    for finding in loaded.findings:
        if finding.severity is Severity.WARNING:
            log.warning("%s", finding)


def _identity(folder: Path) -> _Identity | None:
    """Which folder is there; None for none."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _digest(files: dict[str, bytes]) -> bytes:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(repr((name, len(content))).encode())
        digest.update(content)
    return digest.digest()
