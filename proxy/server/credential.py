"""How long the caller of a request may go on: until its credential ends, or is found to count no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.authn.user import User


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """Who answered for the credential: a TokenReview, that counts until `asks_again_at` (monotonic seconds)."""

    token: bytes
    user: User
    asks_again_at: float


class Credential:
    """`expires_at` (seconds since the epoch, None for never). `reviewed` None: nothing but time ends it."""

    def __init__(self, expires_at: float | None, reviewed: Reviewed | None = None) -> None:
        self.expires_at = expires_at
        self.reviewed = reviewed
        self.is_revoked = False
        self._observers: dict[object, Callable[[], None]] = {}

    def has_ended(self, now: float) -> bool:
        """True when it does not count any more at `now` (seconds since the epoch)."""
        return self.is_revoked or (self.expires_at is not None and now >= self.expires_at)

    def revoke(self) -> None:
        """It counts no more. Tells those who observe, once."""
        self.is_revoked = True
        observers, self._observers = list(self._observers.values()), {}
        for observer in observers:
            observer()

    def observe(self, key: object, observer: Callable[[], None]) -> None:
        """`observer` is called when it is revoked, which it is not yet."""
        self._observers[key] = observer

    def forget(self, key: object) -> None:
        """The observer of this key is not called any more."""
        self._observers.pop(key, None)
