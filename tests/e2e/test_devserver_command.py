"""`watchkeeper devserver`: the development API server by itself, as `watchkeeper certs dev` expects it."""

import re
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx

from tests.support import processes

COMMAND = Path(sys.executable).parent / "watchkeeper"
TIMEOUT_SECONDS = 60.0  # bounds a hang


def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    arguments = ["devserver", "--port", "0", "--rate", "0", "--certs", str(tmp_path / "dev")]
    process = processes.spawn([COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    with process:
        assert process.stdout is not None
        said = process.stdout.readline().decode()
        match = re.match(r"API server (https://127\.0\.0\.1:\d+);", said)
        assert match, said
        assert b"watchkeeper serve --policies policies" in process.stdout.readline()
        assert match[1] in (tmp_path / "dev" / "watchkeeper.kubeconfig").read_text()
        context = ssl.create_default_context(cafile=tmp_path / "dev" / "ca.crt")
        context.load_cert_chain(tmp_path / "dev" / "watchkeeper.crt", tmp_path / "dev" / "watchkeeper.key")
        with httpx.Client(verify=context, trust_env=False) as client:
            assert client.get(f"{match[1]}/api/v1/pods").json()["items"]
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, errors) == (0, b"")


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [COMMAND, "devserver", "--port", str(port), "--certs", str(tmp_path / "dev")],
            capture_output=True, timeout=TIMEOUT_SECONDS, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"Error: 127.0.0.1:{port}: Address already in use\n")
