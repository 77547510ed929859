"""What a proxy process tells of itself, as an operator reads it: audit lines, metrics, health."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.polling import poll
from tests.support.processes import log_tail
from tests.support.proxy_process import ProxyProcess

ADMIN_FLAGS = ("--metrics-bind-address", "127.0.0.1:0", "--health-probe-bind-address", "127.0.0.1:0")
WAIT_SECONDS = 20.0

_LISTENING = re.compile(r"/metrics, /livez, /readyz on (http://[\d.:]+)")

AuditEvent = dict[str, Any]


def admin_get(proxy: ProxyProcess, path: str) -> httpx.Response:
    """An answer of the listener for operators of a proxy started with ADMIN_FLAGS."""
    url = _LISTENING.findall(proxy.log.read_text())[-1]
    return httpx.get(url + path, trust_env=False)


def metric(proxy: ProxyProcess, name: str, **labels: str) -> float:
    """The value of a series; 0 where it is not there (yet). Every answer must be valid for Prometheus' own parser."""
    answer = admin_get(proxy, "/metrics")
    assert answer.status_code == 200
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return 0.0


@contextmanager
def counts(proxy: ProxyProcess, by: float, name: str, **labels: str) -> Iterator[None]:
    """The series grows by so much inside of the context, and not more."""
    before = metric(proxy, name, **labels)
    yield
    assert metric(proxy, name, **labels) == before + by, (name, labels)


def poll_metric(proxy: ProxyProcess, wanted: float, name: str, **labels: str) -> None:
    """Returns once the series has this value."""
    poll(
        lambda: metric(proxy, name, **labels) == wanted,
        timeout_seconds=WAIT_SECONDS,
        failure=lambda: f"{name} {labels} is not {wanted}\n{admin_get(proxy, '/metrics').text}",
    )


def audit_events(path: Path) -> list[AuditEvent]:
    """The whole lines so far."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def audit_event(proxy: ProxyProcess, path: Path, audit_id: str, *, stage: str = "ResponseComplete") -> AuditEvent:
    """The event of one answer, which is written right after it: waited for."""
    found: list[AuditEvent] = []

    def is_there() -> bool:
        found[:] = [each for each in audit_events(path) if (each["auditID"], each["stage"]) == (audit_id, stage)]
        return bool(found)

    poll(
        is_there,
        timeout_seconds=WAIT_SECONDS,
        failure=lambda: f"no audit event {audit_id}\n{path.read_text()[-2000:]}\n{log_tail(proxy.log)}",
    )
    assert len(found) == 1
    return found[0]
