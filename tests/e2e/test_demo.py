"""`watchkeeper demo` as a user runs it: the real command, the real proxy, from the start to a clean end."""

import os
import pty
import re
import select
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support import processes
from tests.support.ports import LOOPBACK, ReservedPort

COMMAND = Path(sys.executable).parent / "watchkeeper"
TIMEOUT_SECONDS = 60.0  # bounds a hang; the demo starts within a few seconds
IDENTITIES = ("admin", "alice", "bob", "node1")


@contextmanager
def running(*args: str, stdout: int = subprocess.PIPE, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = processes.spawn([COMMAND, "demo", *args], stdout=stdout, stderr=subprocess.PIPE, cwd=cwd)
    with process:
        try:
            yield process
        finally:
            processes.stop(process, signum=signal.SIGTERM, timeout_seconds=TIMEOUT_SECONDS)


def free_port() -> int:
    port = ReservedPort()
    port.release()
    return port.number


def is_served(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def summary_of(output: str) -> dict[str, list[str]]:
    """The cells of the summary's rows by identity."""
    table = output[output.index("\nidentity ") :].strip().splitlines()
    return {cells[0]: cells for cells in (re.split(r"  +", line) for line in table)}


def test_it_ends_by_itself_with_a_summary_of_what_each_identity_saw(tmp_path: Path) -> None:
    with running("--for", "2", "--port", "0", "--rate", "20", cwd=tmp_path) as process:
        stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    output = stdout.decode()
    assert (process.returncode, stderr) == (0, b"")
    assert output.endswith("every identity saw exactly what it may see\n")
    rows = summary_of(output)
    delivered = {name: int(rows[name][2]) for name in IDENTITIES}
    hidden = {name: int(rows[name][3]) for name in IDENTITIES}
    assert hidden["admin"] == 0
    assert all(delivered[name] + hidden[name] == delivered["admin"] for name in IDENTITIES)
    assert all(0 < delivered[name] < delivered["admin"] for name in IDENTITIES[1:])


def test_it_shows_nobody_a_line_about_a_pod_of_others(tmp_path: Path) -> None:
    with running("--for", "2", "--port", "0", "--rate", "20", cwd=tmp_path) as process:
        output = process.communicate(timeout=TIMEOUT_SECONDS)[0].decode()
    events = [line.split() for line in output.splitlines() if "(resourceVersion" in line]
    namespaces = {name: {event[2].partition("/")[0] for event in events if event[0] == name} for name in IDENTITIES}
    assert namespaces["admin"] == {"team-a", "team-b", "team-c", "kube-system"}
    assert namespaces["alice"] == {"team-a", "team-c"}
    assert namespaces["bob"] == {"team-b"}
    assert {event[4] for event in events if event[0] == "node1"} == {"node1"}


def test_ctrl_c_ends_it_cleanly_and_the_proxy_with_it(tmp_path: Path) -> None:
    port = free_port()
    with running("--port", str(port), cwd=tmp_path) as process:
        assert process.stdout is not None
        seen: list[str] = []
        while "(resourceVersion" not in (seen or [""])[-1]:
            seen.append(process.stdout.readline().decode())
            assert seen[-1], "it ended by itself"
        assert is_served(port)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, stderr) == (0, b"")
    assert b"identity" in stdout
    assert not is_served(port)


def test_it_writes_private_kubeconfigs_for_the_port_it_serves_on(tmp_path: Path) -> None:
    port = free_port()
    with running("--for", "0.1", "--port", str(port), "--certs", "pki", cwd=tmp_path) as process:
        output = process.communicate(timeout=TIMEOUT_SECONDS)[0].decode()
    for name in IDENTITIES:
        kubeconfig = tmp_path / "pki" / f"{name}.kubeconfig"
        assert f"https://127.0.0.1:{port}" in kubeconfig.read_text()
        assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
        assert f"kubectl --kubeconfig pki/{name}.kubeconfig get pods -A --watch" in output
    assert "curl -N --cacert pki/ca.crt" in output


def test_a_taken_port_is_one_clear_error(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with running("--for", "1", "--port", str(port), cwd=tmp_path) as process:
            _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 1
    message = stderr.decode()
    assert message.startswith("Error: the proxy ended with exit status")
    assert "Traceback" not in message


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with running("--for", "1", "--certs", "file/pki", cwd=tmp_path) as process:
        _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 1
    assert stderr.decode().startswith("Error: ")
    assert stderr.count(b"\n") == 1


def test_on_a_terminal_the_identities_stand_side_by_side(tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    with running("--for", "1", "--port", "0", "--rate", "20", stdout=terminal, cwd=tmp_path) as process:
        os.close(terminal)
        screen = _read_terminal(controller)
        assert process.wait(TIMEOUT_SECONDS) == 0
    os.close(controller)
    assert re.search(r"admin.*│.*alice.*│.*bob.*│.*node1", screen)
    assert re.search(r"\x1b\[\d+A", screen), "it is drawn over itself"
    assert "·" in screen
    assert "every identity saw exactly what it may see" in screen


def test_a_reader_that_leaves_ends_it_without_a_traceback(tmp_path: Path) -> None:
    with running("--port", "0", cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"API server")
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(TIMEOUT_SECONDS) == 0


def test_its_kubeconfigs_and_certificates_open_the_same_doors_from_another_program(tmp_path: Path) -> None:
    port = free_port()
    with running("--port", str(port), cwd=tmp_path) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith(b"node1 "):
            assert process.poll() is None
        context = ssl.create_default_context(cafile=tmp_path / "certs/dev/ca.crt")
        context.load_cert_chain(tmp_path / "certs/dev/bob.crt", tmp_path / "certs/dev/bob.key")
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=context, trust_env=False) as bob:
            items = bob.get("/api/v1/pods").json()["items"]
            assert {item["metadata"]["namespace"] for item in items} == {"team-b"}
            assert bob.get("/api/v1/namespaces/team-a/pods").status_code == 403
            assert bob.get("/api/v1/secrets").status_code == 403


def _read_terminal(controller: int) -> str:
    """Everything written to the terminal until the last program on it has ended."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    shown = bytearray()
    while True:
        ready, _, _ = select.select([controller], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(shown.decode())
        try:
            shown += os.read(controller, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            return shown.decode()
