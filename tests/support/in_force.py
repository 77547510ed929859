"""What is in force in a proxy, found out from outside: a canary may get a path, a watch tells of a namespace."""

import time
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Self

import httpx

from tests.support.identities import ADMIN
from tests.support.polling import poll
from tests.support.processes import log_tail
from tests.support.proxy_process import ProxyProcess
from tests.support.theorem_policies import CANARY
from tests.support.watching import WatchStream

IN_FORCE_SECONDS = 40.0  # bounds a hang; a policy is read within a second

_NAMESPACES = "/api/v1/namespaces"


class InForce:
    """Asks one proxy, as the canary and as admin; a context manager.

    All must be so on each of so many `connections`: several, where several workers share the port.
    """

    def __init__(self, proxy: ProxyProcess, *, connections: int = 1) -> None:
        self._proxy = proxy
        self._canaries = [proxy.client(CANARY) for _ in range(connections)]
        self._admins = [proxy.client(ADMIN) for _ in range(connections)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for client in [*self._canaries, *self._admins]:
            client.close()

    def await_policy(self, epoch_path: str, expires: float | None) -> None:
        """Returns when the policy that lets the canary get this path is in force, and what expires has expired."""
        if expires is not None:
            poll(lambda: time.time() > expires, timeout_seconds=IN_FORCE_SECONDS, failure=lambda: "time stands still")
        poll(
            lambda: all(each.get(epoch_path).status_code == HTTPStatus.NOT_FOUND for each in self._canaries),
            timeout_seconds=IN_FORCE_SECONDS,
            failure=lambda: f"the policy does not come into force\n{log_tail(self._proxy.log)}",
        )

    def await_namespaces(self, write: Callable[[], int]) -> int:
        """Returns when all that was written to namespaces before is in force.

        `write` is one write more, that changes no label, and returns its resourceVersion. The proxy follows namespaces
        by the very watch that its clients share, so what it tells a client it knows itself.
        """
        while True:
            start = self._admins[0].get(_NAMESPACES).raise_for_status().json()["metadata"]["resourceVersion"]
            rv = write()
            if all(_is_told_of(admin, rv, start) for admin in self._admins):
                return rv


def _is_told_of(admin: httpx.Client, rv: int, start: str) -> bool:
    """Waits for the event of the write at `rv`; False when the watch ends before."""
    with WatchStream(admin, _NAMESPACES, {"resourceVersion": start}) as watch:
        try:
            watch.take_until(lambda event: int(event["object"]["metadata"].get("resourceVersion", 0)) >= rv)
        except EOFError:
            return False
    return True
