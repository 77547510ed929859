"""Handshakes that fail by the client's certificate: nobody else tells of them, and the client sees an end of file."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable

from proxy.authn.outcome import RefusalKind

log = logging.getLogger(__name__)

QUIET_SECONDS = 10.0
"""Between two lines of the log: clients try again and again."""

_OUTSIDE_VALIDITY = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


class RefusedHandshakes:
    """Counts each with `count`, and tells the log. `monotonic` gives seconds."""

    def __init__(self, count: Callable[[RefusalKind], None], monotonic: Callable[[], float]) -> None:
        self._count = count
        self._monotonic = monotonic
        self._quiet_until = float("-inf")
        self._untold = 0

    def watch(self, context: ssl.SSLContext) -> None:
        """Has the handshakes of this context looked at, once each."""
        refused = self._refused

        class WatchedHandshake(ssl.SSLObject):
            def do_handshake(self) -> None:
                try:
                    super().do_handshake()
                except ssl.SSLCertVerificationError as error:
                    refused(error)
                    raise

        context.sslobject_class = WatchedHandshake

    def _refused(self, error: ssl.SSLCertVerificationError) -> None:
        outside = error.verify_code in _OUTSIDE_VALIDITY
        self._count(RefusalKind.CERTIFICATE_OUTSIDE_VALIDITY if outside else RefusalKind.CERTIFICATE_UNTRUSTED)
        if self._monotonic() < self._quiet_until:
            self._untold += 1
            return
        more = f" (and {self._untold} more since the last of these lines)" if self._untold else ""
        log.warning(
            "a client's certificate does not verify against --client-ca-file, its handshake fails: %s%s",
            error.verify_message,
            more,
        )
        self._untold = 0
        self._quiet_until = self._monotonic() + QUIET_SECONDS
