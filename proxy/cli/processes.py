"""The process of `watchkeeper serve`, or processes: run to the end, with a status and a line for what ended them."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

import click
import uvloop

from proxy.cli.supervisor import EXIT_CANNOT_START, EXIT_MUST_END, Supervisor
from proxy.config import ServeConfig, of_worker
from proxy.runtime import StartError
from proxy.runtime import serve as run_proxy
from proxy.server.listener import bind
from proxy.server.peers import Peers
from proxy.telemetry.audit_log import AuditLogError
from proxy.upstream.errors import ConfigError


def run_one(config: ServeConfig, peers: Peers | None) -> int:
    """The life of one process; returns its exit status."""
    errors: list[Exception] = []
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_proxy(config, peers))
    except* (ConfigError, StartError, AuditLogError) as group:
        errors = _leaves(group)
    for error in errors:
        complain(error)
    if any(isinstance(error, AuditLogError) for error in errors):
        return EXIT_MUST_END
    return EXIT_CANNOT_START if errors else 0


def complain(error: Exception) -> None:
    """Says on stderr why it ends."""
    for line in str(error).splitlines():
        click.echo(f"watchkeeper: {line}", err=True)


def run_workers(config: ServeConfig, workers: int) -> int:
    """Several processes on the port, which is kept from here. Raises ConfigError, ServingError."""
    if sys.platform != "linux":
        raise ConfigError("--workers: only Linux spreads connections over processes")
    if str(config.telemetry.audit_log_path) == "-":
        raise ConfigError("--audit-log-path: with --workers it must be a file, where lines stay whole")
    with bind(config.bind_address, config.secure_port, shared=True) as kept:
        shared = replace(config, secure_port=kept.getsockname()[1])
        return Supervisor(workers, lambda number, peers: run_one(of_worker(shared, number), peers)).run()


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    leaves: list[Exception] = []
    for error in group.exceptions:
        leaves.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return leaves
