"""Kubernetes' own components as processes, each speaking to the API server its kubeconfig names."""

import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import processes
from tests.support.binaries import find_binary
from tests.support.network_namespace import NetworkNamespace
from tests.support.ports import LOOPBACK, ReservedPort
from tests.support.realkube import RealCluster

_STOP_SECONDS = 10.0

# As by default, but for a test that starts them one after the other: a lease that a killed one held is free soon.
_LEADER_ELECTION = (
    "--leader-elect-lease-duration=6s",
    "--leader-elect-renew-deadline=4s",
    "--leader-elect-retry-period=1s",
)


class Component:
    """One process, in a folder of its own with its log; used as a context manager.

    `port` is where it serves HTTPS, `forker` that of `processes.spawn`.
    """

    def __init__(
        self,
        binary: str,
        flags: Sequence[str],
        directory: Path,
        *,
        port: ReservedPort | None = None,
        forker: ThreadPoolExecutor | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = port
        self._forker = forker
        self.log = directory / f"{binary}.log"
        self._argv: list[str | Path] = [find_binary(binary), *flags]
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            # Some keep scratch files where TMPDIR says.
            env = {
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": str(self._directory),
                "TMPDIR": str(self._directory),
            }
            self._process = processes.spawn(
                self._argv, stdout=log, stderr=log, cwd=self._directory, env=env, forker=self._forker
            )
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it; what it holds, such as a leader's lease, it may give back first."""
        assert self._process is not None
        processes.stop(self._process, signum=signal.SIGTERM, timeout_seconds=_STOP_SECONDS)
        if self.port is not None:
            self.port.release()

    def log_tail(self) -> str:
        """The last lines of its log, for an error message."""
        return f"--- {self.log}\n{processes.log_tail(self.log)}"


def kube_controller_manager(cluster: RealCluster, kubeconfig: Path, directory: Path, *flags: str) -> Component:
    """All controllers that are on by default, in the name of the kubeconfig's user; `flags` come last."""
    port = ReservedPort()
    return Component(
        "kube-controller-manager",
        [
            *_delegating(kubeconfig, port),
            *_LEADER_ELECTION,
            f"--service-account-private-key-file={cluster.service_account_key}",
            f"--root-ca-file={cluster.ca_file}",
            *flags,
        ],
        directory,
        port=port,
    )


def kube_scheduler(kubeconfig: Path, directory: Path) -> Component:
    """The default scheduler."""
    port = ReservedPort()
    return Component("kube-scheduler", [*_delegating(kubeconfig, port), *_LEADER_ELECTION], directory, port=port)


def hollow_kubelet(node: str, kubeconfig: Path, directory: Path) -> Component:
    """A kubelet whose containers exist in name only: all else is the real one's code. It serves nothing."""
    return Component(
        "kubemark",
        [
            "--morph=kubelet",
            f"--name={node}",
            f"--kubeconfig={kubeconfig}",
            "--kubelet-port=0",
            "--kubelet-read-only-port=0",
            "--use-host-image-service=false",
        ],
        directory,
    )


def kube_proxy(node: str, kubeconfig: Path, directory: Path, *, network: NetworkNamespace) -> Component:
    """In nftables mode, with the rules of its network namespace to itself. It serves nothing and sets no sysctl."""
    return Component(
        "kube-proxy",
        [
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={node}",
            "--proxy-mode=nftables",
            "--healthz-bind-address=",
            "--metrics-bind-address=",
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        ],
        directory,
        forker=network.thread,
    )


def _delegating(kubeconfig: Path, port: ReservedPort) -> tuple[str, ...]:
    """Who may ask at its own port is decided by the API server, too."""
    return (
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port.number}",
        "--permit-port-sharing",
    )
