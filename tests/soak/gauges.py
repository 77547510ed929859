"""What a proxy process holds: memory, open files, tasks, watches, connections to the API server."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from tests.support.proxy_process import ProxyProcess
from tests.support.telemetry import admin_get

MIB = 1024 * 1024
_ESTABLISHED = "01"  # Source: linux/tcp_states.h


class Gauges(NamedTuple):
    """One look. Memory in MiB."""

    memory: float
    open_files: int
    tasks: int
    watches: int
    upstream: int


def look(proxy: ProxyProcess, upstream_port: int) -> Gauges:
    """What it holds now; its own connection for this look included."""
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(admin_get(proxy, "/metrics").text):
        for sample in family.samples:
            values[sample.name] = values.get(sample.name, 0.0) + sample.value
    return Gauges(
        memory=values["process_resident_memory_bytes"] / MIB,
        open_files=int(values["process_open_fds"]),
        tasks=int(values["watchkeeper_tasks"]),
        watches=int(values.get("watchkeeper_open_watches", 0)),
        upstream=_connections_to(upstream_port),
    )


def _connections_to(port: int) -> int:
    """Established connections to a port of this machine, seen from their clients' side. Source: proc(5), net/tcp."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return sum(each[2].endswith(f":{port:04X}") and each[3] == _ESTABLISHED for each in fields)
