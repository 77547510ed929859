"""Waiting for something outside the test to become true, with a deadline and an error that says what was seen."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_INTERVAL_SECONDS = 0.02  # short against what is waited for (a process start, an informer), long against a poll's cost


def poll(attempt: Callable[[], T | None], *, timeout_seconds: float, failure: Callable[[], str]) -> T:
    """The first result of `attempt` that is true; after the deadline, TimeoutError with what `failure` says then."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        if result := attempt():
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"{failure()} (waited {timeout_seconds:g} s)")
        time.sleep(_INTERVAL_SECONDS)
