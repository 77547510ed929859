"""Telemetry: where the server tells what became of a request."""

from __future__ import annotations

from collections.abc import Callable

from proxy.telemetry.audit import RESPONSE_COMPLETE, RESPONSE_STARTED, audit_line
from proxy.telemetry.audit_log import AuditLog
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.request_record import RequestRecord


class Telemetry:
    """Counts requests, and writes them to the audit log where there is one. `clock`: seconds since the epoch."""

    def __init__(self, metrics: Metrics, audit_log: AuditLog | None, *, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._audit_log = audit_log
        self._clock = clock

    def stream_started(self, record: RequestRecord) -> None:
        """The head of a watch was sent: its end may be far."""
        if self._audit_log is not None:
            self._audit_log.write(audit_line(record, RESPONSE_STARTED, self._clock()))

    def finished(self, record: RequestRecord) -> None:
        """A request has ended, however that came."""
        self._metrics.finished(record)
        if self._audit_log is not None:
            self._audit_log.write(audit_line(record, RESPONSE_COMPLETE, self._clock()))
