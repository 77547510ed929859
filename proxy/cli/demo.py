"""`watchkeeper demo`: the proxy at work, on this machine alone."""

from __future__ import annotations

import asyncio
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from proxy.cli.certs import kubeconfig
from proxy.cli.demo_run import Demo, DemoSettings
from proxy.cli.development_options import certificates_option, rate_option, seed_option
from proxy.devserver.pki import CALLERS, PRIVATE_MODE, ensure_pki, write_atomically

_PORT = 8443


@click.command()
@click.option(
    "--for",
    "seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End after so many seconds of traffic, with a summary. Without it: until Ctrl-C.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=_PORT,
    show_default=True,
    help="The proxy's port on 127.0.0.1; 0 takes a free one.",
)
@certificates_option
@rate_option
@seed_option
def demo(*, seconds: float | None, port: int, certificates: Path, rate: float, seed: int) -> None:
    """Show live what four identities see of one cluster.

    Starts a development API server and the proxy in front of it, and watches all pods as an admin, as alice (team-a and
    team-c), as bob (team-b) and as node1 (the pods bound to it). Exit status 1 if anyone saw what they may not see, or
    did not see what they may.
    """
    settings = DemoSettings(
        certificates=certificates.absolute(), port=port or _free_port(), seconds=seconds, rate=rate, seed=seed
    )
    _prepare_certificates(settings)
    run = Demo(settings, sys.stdout, live=sys.stdout.isatty())
    asyncio.run(run.run())
    for problem in run.problems:
        click.echo(f"Error: {problem}", err=True)
    if run.problems:
        sys.exit(1)
    if run.verified:
        click.echo("every identity saw exactly what it may see")


def _prepare_certificates(settings: DemoSettings) -> None:
    folder = settings.certificates
    try:
        pki = ensure_pki(folder, now=datetime.now(UTC), force=False)
        for caller in CALLERS:
            content = kubeconfig(caller.stem, settings.url, pki)
            write_atomically(folder / f"{caller.stem}.kubeconfig", content, PRIVATE_MODE)
    except OSError as error:
        raise click.ClickException(f"{error.filename or folder}: {error.strerror}") from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
