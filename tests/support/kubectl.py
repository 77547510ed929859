"""The real kubectl: once to its end, or as a stream of lines that a test follows."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.support import processes
from tests.support.binaries import find_binaries
from tests.support.following import Follower

TIMEOUT_SECONDS = 30.0  # bounds a hang; kubectl against loopback answers within a second
_STOP_SECONDS = 5.0


def kubectl(kubeconfig: Path, *args: str, timeout: float = TIMEOUT_SECONDS) -> subprocess.CompletedProcess[str]:
    """Run kubectl to its end; the exit status is the caller's to look at. Raises subprocess.TimeoutExpired."""
    process = processes.spawn(
        _command(kubeconfig, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(kubeconfig)
    )
    with process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except BaseException:
            processes.stop(process, signum=signal.SIGKILL, timeout_seconds=_STOP_SECONDS)
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout.decode(), stderr.decode())


class KubectlStream:
    """kubectl that goes on until it is stopped, such as `kubectl get -w`; used as a context manager.

    `lines` and `errors` are what stdout and stderr have shown so far.
    """

    def __init__(self, kubeconfig: Path, *args: str) -> None:
        self._process = processes.spawn(
            _command(kubeconfig, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(kubeconfig)
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._stdout = Follower(_lines(self._process.stdout))
        self._stderr = Follower(_lines(self._process.stderr))
        self.lines: list[str] = self._stdout.items
        self.errors: list[str] = self._stderr.items

    def take_until(self, predicate: Callable[[str], bool], *, timeout: float = TIMEOUT_SECONDS) -> list[str]:
        """The lines not taken yet, up to and with the first for which `predicate` is true.

        Raises TimeoutError, or EOFError if kubectl ended before that line.
        """
        try:
            return self._stdout.take_until(predicate, timeout=timeout)
        except (TimeoutError, EOFError) as error:
            error.add_note(f"kubectl's stderr: {self.errors!r}")
            raise

    def wait(self, *, timeout: float = TIMEOUT_SECONDS) -> int:
        """Wait until kubectl ends by itself, and all it wrote is in `lines` and `errors`; returns its exit status."""
        status = self._process.wait(timeout)
        self._join()
        return status

    def stop(self) -> int:
        """Interrupt kubectl as Ctrl-C does; returns its exit status."""
        status = processes.stop(self._process, signum=signal.SIGINT, timeout_seconds=_STOP_SECONDS)
        self._join()
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _join(self) -> None:
        self._stdout.join()
        self._stderr.join()


def _lines(pipe: IO[bytes]) -> Iterator[str]:
    with pipe:
        for line in pipe:
            yield line.decode().rstrip("\n")


def _command(kubeconfig: Path, *args: str) -> list[str]:
    return [str(find_binaries().kubectl), f"--kubeconfig={kubeconfig}", *args]


def _environment(kubeconfig: Path) -> dict[str, str]:
    """Nothing of the developer's own configuration, and a discovery cache per kubeconfig: it outlives a test's CRDs."""
    home = kubeconfig.with_suffix(".home")
    home.mkdir(exist_ok=True)
    return {"HOME": str(home), "PATH": os.environ.get("PATH", ""), "KUBECACHEDIR": str(home / "cache")}
