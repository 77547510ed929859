"""The real proxy as a child process of the demo: `watchkeeper serve`, with its output in a log file."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_STOP_SECONDS = 10.0  # for a drain; watches end at once, so it takes less than one
_LOG_TAIL_LINES = 15  # enough to show why it did not start


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeArguments:
    """What the proxy is started with; all paths are absolute."""

    policies: Path
    certificates: Path
    upstream: str
    port: int

    def argv(self) -> Sequence[str]:
        """The command line. `-P` keeps the working directory out of the import path."""
        folder = self.certificates
        return [
            sys.executable,
            *("-P", "-m", "proxy", "serve"),
            *("--policies", str(self.policies)),
            *("--upstream", self.upstream),
            *("--upstream-ca-file", str(folder / "ca.crt")),
            *("--upstream-client-cert-file", str(folder / "watchkeeper.crt")),
            *("--upstream-client-key-file", str(folder / "watchkeeper.key")),
            *("--bind-address", "127.0.0.1"),
            *("--secure-port", str(self.port)),
            *("--tls-cert-file", str(folder / "server.crt")),
            *("--tls-private-key-file", str(folder / "server.key")),
            *("--client-ca-file", str(folder / "ca.crt")),
        ]


@asynccontextmanager
async def running_proxy(argv: Sequence[str], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs the proxy and ends it with the block. A session of its own keeps Ctrl-C for the demo, which ends it."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        await _stop(process)


def log_tail(log: Path) -> str:
    """The last lines of the proxy's output."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
