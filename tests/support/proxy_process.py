"""The proxy as users run it: `watchkeeper serve` as a process, in front of a cluster or a link to one."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import httpx
import yaml

from tests.support.identities import Identity
from tests.support.pki import Pki
from tests.support.polling import poll
from tests.support.processes import log_tail, spawn, stop

START_SECONDS = 30.0
STOP_SECONDS = 15.0
RELOAD_SECONDS = 15.0
_SERVING = re.compile(r"serving on https://[^:]+:(\d+)")
_IN_FORCE = re.compile(r"policy (\w+) is in force")


class Cluster(Protocol):
    """What stands behind the proxy: a RealCluster or a DevCluster."""

    pki: Pki
    ca_file: Path
    proxy_identity: Identity

    def client(self, identity: Identity | None) -> httpx.Client: ...
    def kubeconfig(self, identity: Identity, *, server: str | None = None, namespace: str = "default") -> Path: ...


class ProxyProcess:
    """One proxy. `policies` are its policy objects by file name; `write_policies` edits them as an admin would.

    `upstream` None is the cluster itself, else for example the URL of a link. `environment` is added to the run's own.
    `command` is what takes the arguments of `watchkeeper`; none is that itself.
    """

    def __init__(
        self,
        cluster: Cluster,
        directory: Path,
        policies: Mapping[str, Sequence[Mapping[str, Any]]],
        *,
        upstream: str | None = None,
        flags: Sequence[str] = (),
        tokens: Sequence[Identity] = (),
        environment: Mapping[str, str] | None = None,
        command: Sequence[str | Path] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.cluster = cluster
        self.log = directory / "proxy.log"
        self.policies = directory / "policies"
        self.policies.mkdir(exist_ok=True)
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.certificate = cluster.pki.server(["127.0.0.1", "localhost"])
        self._upstream = cluster.kubeconfig(cluster.proxy_identity, server=upstream)
        self._flags = list(flags)
        self._environment = {**os.environ, **(environment or {})}
        self._command = list(command) or [Path(sys.executable).parent / "watchkeeper"]
        if tokens:
            token_file = directory / "tokens.csv"
            token_file.write_text("".join(f'{each.token},{each.name},,"{",".join(each.groups)}"\n' for each in tokens))
            self._flags += ["--token-auth-file", str(token_file)]
        self.write_policies(policies, wait=False)

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"https://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it, on the port it had before, and returns when it serves."""
        started_at = self.log.stat().st_size if self.log.exists() else 0
        argv = [
            *self._command,
            "serve",
            *("--policies", self.policies, "--upstream-kubeconfig", self._upstream),
            *("--bind-address", "127.0.0.1", "--secure-port", str(self.port)),
            *("--tls-cert-file", self.certificate.cert_file, "--tls-private-key-file", self.certificate.key_file),
            *("--client-ca-file", self.cluster.ca_file),
            *self._flags,
        ]
        with self.log.open("ab") as log:
            self._process = spawn([str(each) for each in argv], stdout=log, stderr=log, env=self._environment)
        poll(
            lambda: self._serves(started_at),
            timeout_seconds=START_SECONDS,
            failure=lambda: f"the proxy does not serve\n{log_tail(self.log)}",
        )

    def stop(self, *, signum: signal.Signals = signal.SIGTERM) -> int:
        """Stops it and returns its exit status."""
        assert self._process is not None
        return stop(self._process, signum=signum, timeout_seconds=STOP_SECONDS)

    def signal(self, signum: signal.Signals) -> None:
        """Sends it a signal and does not wait."""
        assert self._process is not None
        self._process.send_signal(signum)

    def wait_ended(self) -> int:
        """Waits until it has ended by itself and returns its exit status."""
        assert self._process is not None
        return self._process.wait(STOP_SECONDS)

    def client(self, identity: Identity | None, **options: Any) -> httpx.Client:
        """A client of this proxy that the caller closes."""
        client = self.cluster.client(identity)
        client.base_url = httpx.URL(self.url)
        for name, value in options.items():
            setattr(client, name, value)
        return client

    def kubeconfig(self, identity: Identity, *, namespace: str = "default") -> Path:
        """A kubeconfig for this proxy."""
        return self.cluster.kubeconfig(identity, server=self.url, namespace=namespace)

    def write_policies(self, policies: Mapping[str, Sequence[Mapping[str, Any]]], *, wait: bool = True) -> None:
        """Replaces the policy files, and with `wait` returns when what they say is in force."""
        read_before = self._reloads()
        for old in self.policies.iterdir():
            if old.name not in policies:
                old.unlink()
        for name, objects in policies.items():
            staged = self.policies.parent / f"{name}.new"
            staged.write_text(yaml.safe_dump_all([dict(each) for each in objects], sort_keys=False))
            staged.replace(self.policies / name)
        if wait:
            poll(
                lambda: self._reloads() > read_before,
                timeout_seconds=RELOAD_SECONDS,
                failure=lambda: f"the proxy does not reload its policy\n{log_tail(self.log)}",
            )

    def _reloads(self) -> int:
        return len(_IN_FORCE.findall(self.log.read_text())) if self.log.exists() else 0

    def _serves(self, started_at: int) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the proxy ended with {self._process.returncode}\n{log_tail(self.log)}")
        text = self.log.read_bytes()[started_at:].decode()
        match = _SERVING.search(text)
        if match:
            self.port = int(match[1])
        return match is not None
