"""`watchkeeper devserver`: the development API server by itself, to run a proxy, clients or a test suite against."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import click

from proxy.cli.certs import kubeconfig
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
@click.option(
    "--certs",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("certs/dev"),
    show_default=True,
    help="The folder of the development PKI, created where it is missing.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, max=1000),
    default=5.0,
    show_default=True,
    help="Changes a second in the cluster; 0: none but what clients make.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed makes the same traffic.")
def devserver(*, port: int, folder: Path, rate: float, seed: int) -> None:
    """Run the demo's in-memory API server until Ctrl-C.

    It authorizes every client with a certificate of its CA for everything, and is meant for this machine only.
    """
    try:
        pki = ensure_pki(folder, now=datetime.now(UTC), force=False)
        tls = ServingTls(
            cert_file=folder / "server.crt", key_file=folder / "server.key", client_ca_file=folder / "ca.crt"
        )
        server = DevelopmentServer(tls, port=port, seed=seed)
        content = kubeconfig(UPSTREAM_CLIENT.stem, server.url, pki)
        write_atomically(folder / f"{UPSTREAM_CLIENT.stem}.kubeconfig", content, PRIVATE_MODE)
    except OSError as error:
        raise click.ClickException(f"{error.filename or f'127.0.0.1:{port}'}: {error.strerror}") from error
    stop = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stop.set())
    with server:
        server.seed_traffic()
        server.set_traffic_rate(rate)
        click.echo(f"API server {server.url}; a proxy in front of it, from another terminal:\n{_serve_command(folder)}")
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
