"""The processes of a cluster: etcd and kube-apiserver, their flags, their files and their logs."""

import base64
import csv
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

import httpx

from tests.support import processes
from tests.support.binaries import Binaries
from tests.support.identities import Identity
from tests.support.pki import Pki
from tests.support.ports import LOOPBACK, ReservedPort

SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc.cluster.local"

_STOP_SECONDS = 10.0

# A socket in the working folder of both: no port to race for, and a path that is short wherever the folder is.
_ETCD_URL = "unix://etcd:0"

_DATA = "etcd.data"

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


class Component(Enum):
    """A process of the control plane."""

    KUBE_APISERVER = "kube-apiserver"
    ETCD = "etcd"


class ControlPlane:
    """etcd and kube-apiserver in one folder; `url` stays the same however often they are stopped and started."""

    def __init__(
        self,
        directory: Path,
        binaries: Binaries,
        pki: Pki,
        *,
        token_users: Sequence[Identity],
        extra_flags: Sequence[str],
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.audit_log = directory / "audit.log"
        self.service_account_key = pki.signing_key("service-account")
        self._directory = directory
        self._binaries = binaries
        self._port = ReservedPort()
        self.url = f"https://{LOOPBACK}:{self._port.number}"
        self._flags = [*self._configure(pki, token_users), *extra_flags]
        self._backups = 0
        self._etcd: subprocess.Popen[bytes] | None = None
        self._kube_apiserver: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start what does not run; neither is ready when this returns."""
        if self._etcd is None:
            self._etcd = self._spawn("etcd", [self._binaries.etcd, *_ETCD_FLAGS])
        if self._kube_apiserver is None:
            self._kube_apiserver = self._spawn("kube-apiserver", [self._binaries.kube_apiserver, *self._flags])

    def check(self) -> None:
        """Raises RuntimeError with the end of the logs if one has ended by itself."""
        for name, process in (("etcd", self._etcd), ("kube-apiserver", self._kube_apiserver)):
            if process is not None and process.poll() is not None:
                raise RuntimeError(f"{name} ended with status {process.returncode}\n{self.log_tails()}")

    def stop(self, *, signum: signal.Signals) -> None:
        """Stop kube-apiserver; etcd goes on. Connections are refused until `start`."""
        if self._kube_apiserver is not None:
            processes.stop(self._kube_apiserver, signum=signum, timeout_seconds=_STOP_SECONDS)
            self._kube_apiserver = None

    def stop_etcd(self, *, signum: signal.Signals) -> None:
        """Stop etcd; kube-apiserver goes on without it until `start`."""
        if self._etcd is not None:
            processes.stop(self._etcd, signum=signum, timeout_seconds=_STOP_SECONDS)
            self._etcd = None

    def signal(self, component: Component, signum: signal.Signals) -> None:
        """Send a signal to one of them, SIGSTOP and SIGCONT for example, and do not wait."""
        process = self._kube_apiserver if component is Component.KUBE_APISERVER else self._etcd
        assert process is not None
        process.send_signal(signum)

    def back_up(self) -> Path:
        """A copy of etcd's data as it is now. Both must be stopped."""
        self._backups += 1
        backup = self._directory / f"backup-{self._backups}"
        shutil.copytree(self._directory / _DATA, backup)
        return backup

    def restore(self, backup: Path) -> None:
        """Put the data back: all that was written since is gone, resourceVersions included. Both must be stopped."""
        shutil.rmtree(self._directory / _DATA)
        shutil.copytree(backup, self._directory / _DATA)

    def compact(self) -> None:
        """Have etcd forget all versions but the newest."""
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=os.path.relpath(self._directory / "etcd:0")), base_url="http://etcd"
        ) as etcd:
            read = etcd.post("/v3/kv/range", json={"key": base64.b64encode(b"none").decode()}).raise_for_status()
            newest = read.json()["header"]["revision"]
            etcd.post("/v3/kv/compaction", json={"revision": newest, "physical": True}).raise_for_status()

    def close(self) -> None:
        """Stop both for good."""
        self.stop(signum=signal.SIGKILL)
        self.stop_etcd(signum=signal.SIGKILL)
        self._port.release()

    def log_tails(self) -> str:
        """The last lines of both logs."""
        return "\n".join(
            f"--- {path}\n{processes.log_tail(path)}" for path in (self._log("etcd"), self._log("kube-apiserver"))
        )

    def _spawn(self, name: str, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        with self._log(name).open("ab") as log:
            return processes.spawn(command, stdout=log, stderr=log, cwd=self._directory)

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _configure(self, pki: Pki, token_users: Sequence[Identity]) -> list[str]:
        """Write the files kube-apiserver reads; returns its flags."""
        server = pki.server()
        audit_policy = self._directory / "audit-policy.json"
        audit_policy.write_text(json.dumps(_AUDIT_POLICY))
        tokens = self._directory / "tokens.csv"
        with tokens.open("w", newline="") as file:
            csv.writer(file).writerows(
                [user.token, user.name, "", ",".join(user.groups)] for user in token_users if user.token
            )
        return [
            f"--etcd-servers={_ETCD_URL}",
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={LOOPBACK}",
            f"--secure-port={self._port.number}",
            "--permit-port-sharing",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--tls-cert-file={server.cert_file}",
            f"--tls-private-key-file={server.key_file}",
            f"--client-ca-file={pki.ca_file}",
            f"--token-auth-file={tokens}",
            f"--service-account-issuer={SERVICE_ACCOUNT_ISSUER}",
            f"--service-account-key-file={self.service_account_key}",
            f"--service-account-signing-key-file={self.service_account_key}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged",
            f"--audit-policy-file={audit_policy}",
            f"--audit-log-path={self.audit_log}",
            "--profiling=false",
            "--shutdown-watch-termination-grace-period=2s",  # else a stop waits a minute for open watches
        ]


_ETCD_FLAGS = (
    f"--data-dir={_DATA}",
    f"--listen-client-urls={_ETCD_URL}",
    f"--advertise-client-urls={_ETCD_URL}",
    f"--listen-peer-urls=http://{LOOPBACK}:0",
    "--unsafe-no-fsync",
    "--log-level=warn",
)
