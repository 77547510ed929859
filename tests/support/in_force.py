"""What is in force in a proxy, found out from outside: a canary may get a path, a watch tells of a namespace."""

import time
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Self

from tests.support.identities import ADMIN
from tests.support.polling import poll
from tests.support.processes import log_tail
from tests.support.proxy_process import ProxyProcess
from tests.support.theorem_policies import CANARY
from tests.support.watching import WatchStream

IN_FORCE_SECONDS = 40.0  # bounds a hang; a policy is read within a second

_NAMESPACES = "/api/v1/namespaces"


class InForce:
    """Asks one proxy, as the canary and as admin; a context manager."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self._proxy = proxy
        self._canary = proxy.client(CANARY)
        self._admin = proxy.client(ADMIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._canary.close()
        self._admin.close()

    def await_policy(self, epoch_path: str, expires: float | None) -> None:
        """Returns when the policy that lets the canary get this path is in force, and what expires has expired."""
        if expires is not None:
            poll(lambda: time.time() > expires, timeout_seconds=IN_FORCE_SECONDS, failure=lambda: "time stands still")
        poll(
            lambda: self._canary.get(epoch_path).status_code == HTTPStatus.NOT_FOUND,
            timeout_seconds=IN_FORCE_SECONDS,
            failure=lambda: f"the policy does not come into force\n{log_tail(self._proxy.log)}",
        )

    def await_namespaces(self, write: Callable[[], int]) -> int:
        """Returns when all that was written to namespaces before is in force.

        `write` is one write more, that changes no label, and returns its resourceVersion. The proxy follows namespaces
        by the very watch that its clients share, so what it tells a client it knows itself.
        """
        while True:
            start = self._admin.get(_NAMESPACES).raise_for_status().json()["metadata"]["resourceVersion"]
            rv = write()
            if self._is_told_of(rv, start):
                return rv

    def _is_told_of(self, rv: int, start: str) -> bool:
        """Waits for the event of the write at `rv`; False when the watch ends before."""
        with WatchStream(self._admin, _NAMESPACES, {"resourceVersion": start}) as watch:
            try:
                watch.take_until(lambda event: int(event["object"]["metadata"].get("resourceVersion", 0)) >= rv)
            except EOFError:
                return False
        return True
