"""The demo from its start to its end: the API server, the proxy, four watches of the same pods, and the verdict.

It ends at its time, at a signal, or when the proxy ends. The traffic then stops, and every client must come to hold
exactly the pods it may see.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, TextIO

from proxy.cli.demo_observer import IDENTITIES, Observer, SeenEvent
from proxy.cli.demo_proxy import ServeArguments, log_tail, running_proxy
from proxy.cli.demo_view import LiveView, event_line, summary
from proxy.cli.demo_watch import WATCH_TARGET, WatchClient, follow, wait_until_served
from proxy.devserver.kinds import PODS
from proxy.devserver.server import DevelopmentServer, ServingTls

_START_SECONDS = 30.0
_SETTLE_SECONDS = 10.0  # from the last change until every client has it; on loopback it takes milliseconds
_FRAME_SECONDS = 0.2
_TALLEST_VIEW_LINES = 30
_LINES_BELOW_VIEW = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """`certificates` is a folder of the development PKI. `seconds` None goes on until a signal. `rate` is in changes
    a second.
    """

    certificates: Path
    port: int
    seconds: float | None
    rate: float
    seed: int

    @property
    def url(self) -> str:
        """Where the proxy listens."""
        return f"https://127.0.0.1:{self.port}"


@dataclass(slots=True)
class Demo:
    """One run. `live` draws the view over itself; otherwise each event is a line.

    `problems` is what went wrong; `verified` tells that every client was seen to hold exactly what it may see.
    """

    settings: DemoSettings
    output: TextIO
    live: bool
    problems: list[str] = field(default_factory=list)
    verified: bool = False
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _progress: asyncio.Event = field(default_factory=asyncio.Event)
    _observers: Sequence[Observer] = field(default_factory=lambda: [Observer(identity) for identity in IDENTITIES])

    async def run(self) -> None:
        """Shows the demo. It went well when there are no `problems` after it."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, self._stop.set)
        folder = self.settings.certificates
        tls = ServingTls(
            cert_file=folder / "server.crt", key_file=folder / "server.key", client_ca_file=folder / "ca.crt"
        )
        with (
            tempfile.TemporaryDirectory(prefix="watchkeeper-demo-") as scratch,
            DevelopmentServer(tls, seed=self.settings.seed) as server,
        ):
            server.seed_traffic()
            await self._run_proxy(server, Path(scratch))
        for observer in self._observers:
            self.problems += observer.violations
        if any(observer.events for observer in self._observers):
            self._print(f"\n{summary(self._observers)}\n")

    async def _run_proxy(self, server: DevelopmentServer, scratch: Path) -> None:
        log = scratch / "proxy.log"
        arguments = ServeArguments(
            policies=_write_policies(scratch / "policies"),
            certificates=self.settings.certificates,
            upstream=server.url,
            port=self.settings.port,
        )
        async with running_proxy(arguments.argv(), log) as process, asyncio.TaskGroup() as tasks:
            supervisor = tasks.create_task(self._stop_with(process, log))
            await self._show(server)
            supervisor.cancel()

    async def _stop_with(self, process: asyncio.subprocess.Process, log: Path) -> None:
        status = await process.wait()
        self.problems.append(f"the proxy ended with exit status {status}:\n{log_tail(log)}")
        self._stop.set()

    async def _show(self, server: DevelopmentServer) -> None:
        served = wait_until_served(self._access("admin"))
        if not await self._reached(served, seconds=_START_SECONDS, failure="the proxy did not become ready"):
            return
        self._print(f"API server {server.url}, proxy {self.settings.url}\n\n{self._commands()}\n")
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(follow(self._access(observer.identity.name), observer, self._show_event))
                for observer in self._observers
            ]
            # Every client starts from the same state, so that what it is not sent from then on is hidden from it.
            if await self._settle(server):
                if self.live:
                    background.append(tasks.create_task(self._draw()))
                await self._show_traffic(server)
            for task in background:
                task.cancel()

    async def _show_traffic(self, server: DevelopmentServer) -> None:
        server.set_traffic_rate(self.settings.rate)
        await self._reached(_pass(self.settings.seconds), seconds=None, failure="")
        server.set_traffic_rate(0)
        if not self.problems:  # without a proxy nothing settles
            self.verified = await self._settle(server)

    async def _settle(self, server: DevelopmentServer) -> bool:
        """Waits until every client holds exactly the pods it may see; it is a problem when that takes too long."""
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                while self._unsettled(server):
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            self.problems += [f"{name} does not hold exactly the pods it may see" for name in self._unsettled(server)]
        return not self.problems

    def _unsettled(self, server: DevelopmentServer) -> list[str]:
        pods = server.objects(PODS)
        return [observer.identity.name for observer in self._observers if not observer.has_exactly(pods)]

    async def _reached(self, goal: Coroutine[Any, Any, None], *, seconds: float | None, failure: str) -> bool:
        """True when `goal` is reached; False when the demo is stopped before, or has to end because time is over."""
        async with asyncio.TaskGroup() as tasks:
            reaching, stopping = tasks.create_task(goal), tasks.create_task(self._stop.wait())
            done, pending = await asyncio.wait(
                [reaching, stopping], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            for task in pending:
                task.cancel()
        if not done:
            self.problems.append(failure)
        return reaching in done

    async def _draw(self) -> None:
        size = get_terminal_size()
        view = LiveView(size.columns, min(size.lines - _LINES_BELOW_VIEW, _TALLEST_VIEW_LINES))
        while True:
            self._write(view.frame(self._observers))
            await asyncio.sleep(_FRAME_SECONDS)

    def _show_event(self, observer: Observer, event: SeenEvent) -> None:
        self._progress.set()
        if not self.live:
            self._print(event_line(observer, event))

    def _access(self, name: str) -> WatchClient:
        return WatchClient(url=self.settings.url, certificates=self.settings.certificates, stem=name)

    def _commands(self) -> str:
        """Commands to paste into another terminal."""
        folder = os.path.relpath(self.settings.certificates)
        lines = [f"The same watch, `{WATCH_TARGET}`, from another terminal:"]
        for observer in self._observers:
            stem = f"{folder}/{observer.identity.name}"
            lines.append(f"  kubectl --kubeconfig {stem}.kubeconfig get pods -A --watch")
        alice = f"{folder}/alice"
        lines.append(
            f"  curl -N --cacert {folder}/ca.crt --cert {alice}.crt --key {alice}.key "
            f"'{self.settings.url}{WATCH_TARGET}'"
        )
        return "\n".join(lines)

    def _print(self, text: str) -> None:
        self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        try:
            self.output.write(text)
            self.output.flush()
        except BrokenPipeError:  # the reader has seen enough; nothing can be written any more, at exit neither
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.output.fileno())
            self._stop.set()


async def _pass(seconds: float | None) -> None:
    if seconds is None:
        await asyncio.Event().wait()
    else:
        await asyncio.sleep(seconds)


def _write_policies(folder: Path) -> Path:
    folder.mkdir()
    policy = resources.files("proxy.devserver") / "demo_policy.yaml"
    (folder / "demo.yaml").write_text(policy.read_text())
    return folder
