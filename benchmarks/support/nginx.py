"""nginx as a peer: relays every request to the API server over kept connections, with no authorization of its own.

It authenticates to the API server by a client certificate, as the proxy does.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.identities import ADMIN
from tests.support.polling import poll
from tests.support.ports import LOOPBACK, ReservedPort
from tests.support.processes import log_tail, spawn, stop
from tests.support.realkube import RealCluster

HOW_TO_GET_IT = "needs nginx on the PATH: run `apt-get install nginx-light`"

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0

_CONFIGURATION = """
daemon off;
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream api {{
        server {upstream};
        keepalive 64;
        keepalive_requests 1000000;
    }}
    server {{
        listen {listen} ssl reuseport;
        ssl_certificate {server_certificate};
        ssl_certificate_key {server_key};
        ssl_protocols TLSv1.3;
        location / {{
            proxy_pass https://api;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "";
            proxy_ssl_certificate {client_certificate};
            proxy_ssl_certificate_key {client_key};
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx:
    """A running nginx. `pid` is its master's; the worker is its child."""

    url: str
    pid: int


def is_nginx_there() -> bool:
    """True where it can be started."""
    return _command() is not None


@contextmanager
def nginx(cluster: RealCluster, directory: Path) -> Iterator[Nginx]:
    """One worker in front of the cluster."""
    command = _command()
    if command is None:
        raise SystemExit(HOW_TO_GET_IT)
    directory.mkdir()
    port = ReservedPort()
    server = cluster.pki.server([LOOPBACK])
    client = cluster.client_certificate(ADMIN.name, ADMIN.groups)
    configuration = directory / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            directory=directory,
            upstream=cluster.url.removeprefix("https://"),
            listen=f"{LOOPBACK}:{port.number}",
            server_certificate=server.cert_file,
            server_key=server.key_file,
            client_certificate=client.cert_file,
            client_key=client.key_file,
        )
    )
    log = directory / "output.log"
    with log.open("ab") as output:
        process = spawn([command, "-c", str(configuration), "-e", str(log)], stdout=output, stderr=output)
    try:
        url = f"https://{LOOPBACK}:{port.number}"
        poll(
            lambda: _answers(process, url, cluster),
            timeout_seconds=_START_SECONDS,
            failure=lambda: f"nginx does not serve\n{log_tail(log)}",
        )
        yield Nginx(url=url, pid=process.pid)
    finally:
        stop(process, signum=signal.SIGTERM, timeout_seconds=_STOP_SECONDS)
        port.release()


def _answers(process: subprocess.Popen[bytes], url: str, cluster: RealCluster) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"nginx ended with status {process.returncode}")
    try:
        return httpx.get(f"{url}/version", verify=cluster.pki.client_context(None), trust_env=False).is_success
    except httpx.TransportError:
        return False


def _command() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")
