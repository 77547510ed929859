"""A LocalIssuer that runs on a loop in a thread of its own, for tests that talk to a proxy in another process."""

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.credentials import TokenSigner
from tests.support.issuer import LocalIssuer, local_issuer

_CONTROL_SECONDS = 10.0  # bounds a start and an end, which take milliseconds


class RunningIssuer:
    """Used as a context manager; `url` and `certificate_authority` (PEM) are what a configuration names."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="issuer", daemon=True)

    @property
    def url(self) -> str:
        """Where it is found."""
        return self._issuer.url

    @property
    def certificate_authority(self) -> str:
        """Who signed its certificate."""
        return self._issuer.certificate_authority

    def publish(self, *signers: TokenSigner) -> None:
        """Serves these keys from now on."""
        self._issuer.publish(*signers)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._listening.wait(_CONTROL_SECONDS):
            raise TimeoutError("the issuer does not listen")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(_CONTROL_SECONDS)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        async with local_issuer(self._directory) as issuer:
            self._issuer: LocalIssuer = issuer
            self._listening.set()
            await self._ended.wait()
