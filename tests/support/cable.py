"""A cable between a client and a proxy that can be pulled out. It passes bytes on and looks at none of them.

Both sides' TLS goes through it, so a client certificate proves what it proves without it. It runs on a loop in a thread
of its own; the methods may be called from any thread.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from tests.support.ports import LOOPBACK, ReservedPort

_CHUNK_BYTES = 64 * 1024
_CONTROL_SECONDS = 10.0  # bounds a call into the loop of the cable, which takes microseconds


class Cable:
    """From `url` to the port that `port` says; used as a context manager."""

    def __init__(self, port: Callable[[], int]) -> None:
        self._far_end = port
        self._near_end = ReservedPort()
        self.url = f"https://{LOOPBACK}:{self._near_end.number}"
        self._loop = asyncio.new_event_loop()
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cable", daemon=True)

    def pull(self) -> None:
        """Break all connections and refuse new ones until `plug`."""
        self._control(self._stop())

    def plug(self) -> None:
        """Accept connections again."""
        self._control(self._listen())

    def __enter__(self) -> Self:
        self._thread.start()
        self.plug()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._control(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CONTROL_SECONDS)
        self._loop.close()
        self._near_end.release()

    def _control(self, action: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(action, self._loop).result(_CONTROL_SECONDS)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, LOOPBACK, self._near_end.number, reuse_port=True)

    async def _stop(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in self._writers:
            writer.transport.abort()

    async def _end(self) -> None:
        await self._stop()
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._far_end())
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._writers |= ends
        passing = [
            asyncio.ensure_future(_pass(reader, far_writer)),
            asyncio.ensure_future(_pass(far_reader, writer)),
        ]
        try:
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._writers -= ends
            for task in passing:
                task.cancel()
            for end in ends:
                end.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
