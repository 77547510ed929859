"""`watchkeeper certs dev`: a development PKI in one folder, and a kubeconfig for each identity."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import click
import yaml

from proxy.devserver.pki import CALLERS, PRIVATE_MODE, UPSTREAM_CLIENT, KeyPair, Pki, ensure_pki, write_atomically


@click.group()
def certs() -> None:
    """Certificates for development."""


@certs.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("certs/dev"),
    show_default=True,
    help="The folder for keys, certificates and kubeconfigs; nothing is written outside it.",
)
@click.option(
    "--server", default="https://127.0.0.1:8443", show_default=True, help="The proxy, for the callers' kubeconfigs."
)
@click.option(
    "--upstream",
    default="https://127.0.0.1:6443",
    show_default=True,
    help="The development API server, for the proxy's own kubeconfig.",
)
@click.option("--force", is_flag=True, help="Issue everything anew, the CA included.")
def dev(out: Path, server: str, upstream: str, force: bool) -> None:
    """Create or renew a CA, a server certificate, client certificates and kubeconfigs.

    What is good for another 7 days stays as it is.
    """
    try:
        pki = ensure_pki(out, now=datetime.now(UTC), force=force)
        for profile in (*CALLERS, UPSTREAM_CLIENT):
            url = upstream if profile is UPSTREAM_CLIENT else server
            content = kubeconfig(profile.stem, url, pki)
            write_atomically(out / f"{profile.stem}.kubeconfig", content, PRIVATE_MODE)
    except OSError as error:
        raise click.ClickException(f"{error.filename or out}: {error.strerror}") from error
    for stem in ("ca", *pki.pairs):
        click.echo(f"{out / stem}.crt: {'issued' if stem in pki.renewed else 'kept'}")


def kubeconfig(stem: str, server: str, pki: Pki) -> bytes:
    """A kubeconfig for the identity `stem` that needs no other file."""
    pair: KeyPair = pki.pairs[stem]
    cluster = {"server": server, "certificate-authority-data": _base64(pki.authority.certificate_pem())}
    user = {
        "client-certificate-data": _base64(pair.certificate_pem()),
        "client-key-data": _base64(pair.key_pem()),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "watchkeeper", "cluster": cluster}],
        "users": [{"name": stem, "user": user}],
        "contexts": [{"name": stem, "context": {"cluster": "watchkeeper", "user": stem}}],
        "current-context": stem,
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
