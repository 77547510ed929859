"""A watch over HTTP as a test follows it: one JSON WatchEvent a line, as Kubernetes frames them."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.following import TAKE_SECONDS, Follower

WatchEvent = dict[str, Any]


class WatchStream:
    """One open watch; used as a context manager. `events` are those that have come so far.

    `path` is a collection's, `watch=true` is added to the parameters. Raises httpx.HTTPStatusError unless the answer
    is 200. The client is the caller's.
    """

    def __init__(
        self, client: httpx.Client, path: str, parameters: Mapping[str, str], *, accept: str = "application/json"
    ) -> None:
        request = client.build_request(
            "GET",
            path,
            params={**parameters, "watch": "true"},
            headers={"accept": accept, "accept-encoding": "identity"},
            timeout=httpx.Timeout(TAKE_SECONDS, read=None),
        )
        self.response = client.send(request, stream=True)
        if self.response.is_error:
            self.response.read()
            self.response.raise_for_status()
        self._follower = Follower(_events(self.response))
        self.events: list[WatchEvent] = self._follower.items

    def take_until(self, predicate: Callable[[WatchEvent], bool], *, timeout: float = TAKE_SECONDS) -> list[WatchEvent]:
        """The events not taken yet, up to and with the first for which `predicate` is true; raises as a Follower."""
        return self._follower.take_until(predicate, timeout=timeout)

    def wait_ended(self, *, timeout: float = TAKE_SECONDS) -> Exception | None:
        """Wait for the end of the stream; None for a clean one, else what broke it."""
        self._follower.wait_ended(timeout=timeout)
        return self._follower.failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection = self.response.extensions["network_stream"].get_extra_info("socket")
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)  # closing alone would not wake the thread that reads
        self._follower.join()
        self.response.close()


def _events(response: httpx.Response) -> Iterator[WatchEvent]:
    rest = b""
    for chunk in response.iter_raw():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)
    if rest:
        raise EOFError(f"the stream ended inside an event: {rest!r}")
