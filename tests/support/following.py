"""Following something that goes on: items are collected by a thread, and a test takes them with a deadline."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

TAKE_SECONDS = 30.0  # bounds a hang; what is awaited on loopback comes within a second
_JOIN_SECONDS = 10.0


class Follower(Generic[T]):
    """Everything `source` yields, in `items` as soon as it comes. An exception ends it and is `failure`."""

    def __init__(self, source: Iterator[T]) -> None:
        self.items: list[T] = []
        self.failure: Exception | None = None
        self.ended = False
        self._taken = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._collect, args=(source,), daemon=True)
        self._thread.start()

    def take_until(self, predicate: Callable[[T], bool], *, timeout: float = TAKE_SECONDS) -> list[T]:
        """The items not taken yet, up to and with the first for which `predicate` is true.

        Raises TimeoutError, or EOFError if the source ended before that item; then nothing is taken.
        """
        deadline = time.monotonic() + timeout
        start = position = self._taken
        with self._changed:
            while True:
                while position < len(self.items):
                    position += 1
                    if predicate(self.items[position - 1]):
                        self._taken = position
                        return self.items[start:position]
                if self.ended:
                    raise EOFError(f"ended ({self.failure!r}) before the awaited item, after {self.items[start:]!r}")
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"not within {timeout:g} s; since the last one awaited: {self.items[start:]!r}")

    def wait_ended(self, *, timeout: float = TAKE_SECONDS) -> None:
        """Return when the source has ended; raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.ended, timeout):
                raise TimeoutError(f"did not end within {timeout:g} s")

    def join(self) -> None:
        """Wait for the thread once the source has been made to end."""
        self._thread.join(_JOIN_SECONDS)

    def _collect(self, source: Iterator[T]) -> None:
        try:
            for item in source:
                with self._changed:
                    self.items.append(item)
                    self._changed.notify_all()
        except Exception as failure:
            self.failure = failure
        with self._changed:
            self.ended = True
            self._changed.notify_all()
