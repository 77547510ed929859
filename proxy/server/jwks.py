"""The signing keys of one issuer, kept fresh: no request waits for them but one that names a key nobody knows yet.

| state | next fetch |
| - | - |
| never fetched | RETRY_SECONDS after the last attempt |
| fetched | REFRESH_SECONDS after the last success, half of what issuers expect keys to be kept |
| fetched, last attempt failed | RETRY_SECONDS after it; the known keys go on |
| a caller names an unknown key | at once, unless one began within COOLDOWN_SECONDS or the name was looked for in vain |

There is one attempt at a time, in the cache's own task: a caller that goes away does not take it with it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Final, Protocol

from proxy.authn.expiring_cache import ExpiringCache
from proxy.authn.signing_keys import SigningKeys
from proxy.server.issuer_client import IssuerUnavailable

REFRESH_SECONDS: Final = 150.0
RETRY_SECONDS: Final = 10.0
COOLDOWN_SECONDS: Final = 30.0
VAIN_NAMES: Final = 1024  # of at most 256 characters each
VAIN_SECONDS: Final = 300.0

_log = logging.getLogger(__name__)


class Clock(Protocol):
    """Monotonic seconds."""

    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class KeySource(Protocol):
    """Where keys come from: the same object while nothing changed. Raises IssuerUnavailable."""

    async def fetch(self) -> SigningKeys: ...


class JwksCache:
    """The keys of the issuer `url`, which is its name in the log."""

    def __init__(self, url: str, source: KeySource, clock: Clock) -> None:
        self._url = url
        self._source = source
        self._clock = clock
        self._keys: SigningKeys | None = None
        self._wanted = asyncio.Event()
        self._is_running = False
        self._is_fetching = False
        self._attempt_ended: asyncio.Future[bool] | None = None
        self._attempted_at = -math.inf
        self._due_at = -math.inf
        self._vain: ExpiringCache[bool] = ExpiringCache(VAIN_NAMES)

    @property
    def keys(self) -> SigningKeys | None:
        """The newest keys, however old; None until the first fetch succeeds."""
        return self._keys

    async def run(self) -> None:
        """Fetches until cancelled."""
        self._is_running = True
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._fetch_when_wanted())
                tasks.create_task(self._want_when_due())
        finally:
            self._is_running = False
            self._release_callers(succeeded=False)

    async def look_for(self, key_id: str) -> None:
        """Waits for one attempt to learn of a key that `keys` does not hold, if an attempt may help."""
        name = key_id.encode(errors="surrogatepass")
        now = self._clock.monotonic()
        is_cooling_down = not self._is_fetching and now - self._attempted_at < COOLDOWN_SECONDS
        if not self._is_running or is_cooling_down or self._vain.get(name, now):
            return
        if self._attempt_ended is None:
            self._attempt_ended = asyncio.get_running_loop().create_future()
        if not self._is_fetching:
            self._wanted.set()
        succeeded = await asyncio.shield(self._attempt_ended)
        if succeeded and self._keys is not None and not self._keys.has_key_id(key_id):
            self._vain.put(name, True, self._clock.monotonic() + VAIN_SECONDS)

    async def _want_when_due(self) -> None:
        while True:
            if self._clock.monotonic() >= self._due_at:
                self._wanted.set()
            await self._clock.sleep(RETRY_SECONDS)

    async def _fetch_when_wanted(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._is_fetching, self._attempted_at, self._due_at = True, self._clock.monotonic(), math.inf
            succeeded = False
            try:
                self._accept(await self._source.fetch())
                succeeded = True
            except IssuerUnavailable as error:
                _log.warning("keys of issuer %s could not be fetched: %s", self._url, error)
            finally:
                self._is_fetching = False
                self._due_at = self._attempted_at + (REFRESH_SECONDS if succeeded else RETRY_SECONDS)
                self._release_callers(succeeded=succeeded)

    def _accept(self, keys: SigningKeys) -> None:
        if keys is not self._keys:
            self._keys = keys
            self._vain = ExpiringCache(VAIN_NAMES)

    def _release_callers(self, *, succeeded: bool) -> None:
        if self._attempt_ended is not None:
            self._attempt_ended.set_result(succeeded)
            self._attempt_ended = None
