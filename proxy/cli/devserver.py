"""`watchkeeper devserver`: the development API server by itself, to run a proxy, clients or a test suite against."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import click

from proxy.cli.certs import kubeconfig
from proxy.cli.development_options import certificates_option, rate_option, seed_option
from proxy.devserver.pki import PRIVATE_MODE, UPSTREAM_CLIENT, ensure_pki, write_atomically
from proxy.devserver.server import DevelopmentServer, ServingTls


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=6443,
    show_default=True,
    help="The port on 127.0.0.1; 0 takes a free one.",
)
@certificates_option
@rate_option
@seed_option
def devserver(*, port: int, certificates: Path, rate: float, seed: int) -> None:
    """Run the demo's in-memory API server until Ctrl-C.

    It authorizes every client with a certificate of its CA for everything, and is meant for this machine only.
    """
    try:
        pki = ensure_pki(certificates, now=datetime.now(UTC), force=False)
        tls = ServingTls(
            cert_file=certificates / "server.crt",
            key_file=certificates / "server.key",
            client_ca_file=certificates / "ca.crt",
        )
        server = DevelopmentServer(tls, port=port, seed=seed)
        content = kubeconfig(UPSTREAM_CLIENT.stem, server.url, pki)
        write_atomically(certificates / f"{UPSTREAM_CLIENT.stem}.kubeconfig", content, PRIVATE_MODE)
    except OSError as error:
        raise click.ClickException(f"{error.filename or f'127.0.0.1:{port}'}: {error.strerror}") from error
    stop = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stop.set())
    with server:
        server.seed_traffic()
        server.set_traffic_rate(rate)
        click.echo(
            f"API server {server.url}; a proxy in front of it, from another terminal:\n{_serve_command(certificates)}"
        )
        stop.wait()


def _serve_command(folder: Path) -> str:
    return " \\\n    ".join(
        [
            "  watchkeeper serve --policies policies",
            f"--upstream-kubeconfig {folder}/{UPSTREAM_CLIENT.stem}.kubeconfig",
            f"--tls-cert-file {folder}/server.crt --tls-private-key-file {folder}/server.key",
            f"--client-ca-file {folder}/ca.crt",
        ]
    )
