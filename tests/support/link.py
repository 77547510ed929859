"""A bad link between a proxy and its upstream: watches lag behind reads, streams freeze, break or are refused.

Which connection carries a watch can only be seen inside TLS, so the link ends the client's TLS with a certificate of
the test PKI, reads one request head, and opens its own TLS to the upstream with the client certificate it was given.
After the head it is blind: bytes pass as they are. Each connection carries one request, which the link tells both sides
by `Connection: close`, so that no response has to be parsed to find its end.

It runs on a loop in a thread of its own; the methods may be called from any thread.
"""

import asyncio
import contextlib
import re
import ssl
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.support.pki import Certificate, Pki
from tests.support.ports import LOOPBACK, ReservedPort

_HEAD_BYTES = 64 * 1024  # more than the 32 KiB of headers and 8 KiB of target a proxy accepts
_CHUNK_BYTES = 64 * 1024
_QUEUE_CHUNKS = 1024  # bounds what one delayed connection holds back to 64 MiB
_CONTROL_SECONDS = 10.0  # bounds a call into the loop of the link, which takes microseconds

_CONNECTION_HEADER = re.compile(rb"\r\nconnection:[^\r\n]*", re.IGNORECASE)


class Link:
    """A forwarding link in front of `upstream` (an https URL), used as a context manager; clients connect to `url`.

    `watch_delay_ms` is how late the bytes that answer a request with `watch=` in its target are passed on; it may be
    changed at any time and holds for bytes that arrive from then on. All else passes at once.
    """

    def __init__(self, upstream: str, pki: Pki, client_certificate: Certificate, *, watch_delay_ms: int = 0) -> None:
        self.watch_delay_ms = watch_delay_ms
        self.answered = 0
        """Requests that `answer` answered since it was told to."""
        self._answer: bytes | None = None
        self._answers_reads = False
        parts = urlsplit(upstream)
        assert parts.hostname is not None
        self._upstream = (parts.hostname, parts.port or 443)
        self._upstream_context = pki.client_context(client_certificate)
        self._server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own = pki.server()
        self._server_context.load_cert_chain(own.cert_file, own.key_file)
        self._port = ReservedPort()
        self.url = f"https://{LOOPBACK}:{self._port.number}"
        self._exchanges: dict[_Exchange, asyncio.Task[None]] = {}
        self._listener: asyncio.Server | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="link", daemon=True)
        self._listening = threading.Event()

    def freeze(self, *, watches_only: bool = False) -> None:
        """Pass nothing on, in either direction, and keep all connections; or only nothing that answers a watch."""
        self._control(lambda: self._set_gates(reads=watches_only, watches=False))

    def thaw(self) -> None:
        """Pass on what was held back, and everything after it."""
        self._control(lambda: self._set_gates(reads=True, watches=True))

    def cut(self) -> None:
        """Break all connections now; what was delayed is lost. New ones are accepted."""
        self._control(self._abort_all)

    def cut_mid_frame(self) -> None:
        """Break each watch that is open now in the middle of the next bytes it would have passed on."""
        self._control(self._mark_watches)

    def freeze_mid_frame(self) -> None:
        """Hold each watch that is open now in the middle of the next bytes it would have passed on, until `thaw`."""
        self._control(self._halt_watches)

    def answer(self, response: bytes | None, *, watches_only: bool = False) -> None:
        """Answer every request with these bytes and end its connection, until told None; open ones are broken off."""
        self.answered = 0
        self._answer = response
        self._answers_reads = not watches_only
        self.cut()

    def refuse(self) -> None:
        """Break all connections and refuse new ones until `accept`."""
        self._run_in_loop(self._stop_listening())

    def accept(self) -> None:
        """Accept connections again."""
        self._run_in_loop(self._listen())

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._listening.wait(_CONTROL_SECONDS):
            raise TimeoutError("the link does not listen")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(_CONTROL_SECONDS)
        self._port.release()
        if self._thread.is_alive():
            raise TimeoutError("the link does not end")

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._reads, self._watches = asyncio.Event(), asyncio.Event()
        self._set_gates(reads=True, watches=True)
        await self._listen()
        self._listening.set()
        await self._ended.wait()
        await self._stop_listening()
        for task in self._exchanges.values():
            task.cancel()
        if self._exchanges:
            await asyncio.wait(self._exchanges.values())

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(
                self._serve,
                LOOPBACK,
                self._port.number,
                reuse_port=True,
                ssl=self._server_context,
                limit=_HEAD_BYTES,
            )

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            # Closing the server between `accept` and the task that makes the transport leaks the socket (a failed
            # assertion of CPython 3.11, gh-109564): accept no more, and let those tasks run first.
            for listening in self._listener.sockets:
                self._loop.remove_reader(listening.fileno())
            await asyncio.sleep(0)
            self._listener.close()
            self._listener = None
        self._abort_all()

    def _set_gates(self, *, reads: bool, watches: bool) -> None:
        for gate, is_open in ((self._reads, reads), (self._watches, watches)):
            if is_open:
                gate.set()
            else:
                gate.clear()

    def _abort_all(self) -> None:
        for exchange in self._exchanges:
            exchange.abort()

    def _mark_watches(self) -> None:
        for exchange in self._exchanges:
            exchange.breaks_next_chunk = exchange.is_watch

    def _halt_watches(self) -> None:
        self._watches.clear()
        for exchange in self._exchanges:
            exchange.halts_next_chunk = exchange.is_watch

    def _control(self, action: Callable[[], None]) -> None:
        async def act() -> None:
            action()

        self._run_in_loop(act())

    def _run_in_loop(self, coroutine: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CONTROL_SECONDS)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one request and its response. A side that breaks off breaks the other."""
        if self._listener is None:  # its handshake was under way when this stopped listening
            writer.transport.abort()
            return
        exchange = _Exchange(self, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._exchanges[exchange] = task
        try:
            await exchange.run()
        except* (OSError, EOFError):
            pass
        finally:
            exchange.abort()
            del self._exchanges[exchange]

    async def gate(self, *, is_watch: bool) -> None:
        """Wait while frozen."""
        await (self._watches if is_watch else self._reads).wait()

    def answer_to(self, *, is_watch: bool) -> bytes | None:
        """What is answered instead of the upstream; None for its own answer."""
        if self._answer is None or not (is_watch or self._answers_reads):
            return None
        self.answered += 1
        return self._answer

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection to the upstream."""
        host, port = self._upstream
        return await asyncio.open_connection(host, port, ssl=self._upstream_context, server_hostname=host)


class _Exchange:
    """One request and its response. `run` returns when the response has been passed on whole or the client is gone."""

    def __init__(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.is_watch = False
        self.breaks_next_chunk = False
        self.halts_next_chunk = False
        self._link = link
        self._client = (reader, writer)
        self._upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._delayed: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUE_CHUNKS)
        # So that `drain` means: the kernel has it. (With `high=0` the TLS transport of asyncio never resumes.)
        writer.transport.set_write_buffer_limits(high=1, low=0)

    async def run(self) -> None:
        head = await self._client[0].readuntil(b"\r\n\r\n")
        self.is_watch = b"watch=" in head.split(b" ", 2)[1]
        await self._link.gate(is_watch=False)
        answer = self._link.answer_to(is_watch=self.is_watch)
        if answer is not None:
            await self._end_with(answer)
            return
        self._upstream = await self._link.connect()
        self._upstream[1].write(_with_connection_close(head))
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(self._receive_response())
            ends = [group.create_task(self._forward_request()), group.create_task(self._send_response())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in (receiving, *ends):
                task.cancel()

    def abort(self) -> None:
        """Break both sides; harmless after the end."""
        for stream in (self._client, self._upstream):
            if stream is not None:
                stream[1].transport.abort()

    async def _forward_request(self) -> None:
        """Returns when the client is gone: TLS has no half-closed connections."""
        assert self._upstream is not None
        while body := await self._client[0].read(_CHUNK_BYTES):
            await self._link.gate(is_watch=False)
            self._upstream[1].write(body)
            await self._upstream[1].drain()

    async def _receive_response(self) -> None:
        """Queue what arrives with the time it is due, and b"" at the end."""
        assert self._upstream is not None
        while chunk := await self._read_upstream(self._upstream[0]):
            await self._delay(chunk)
        await self._delay(b"")

    async def _delay(self, chunk: bytes) -> None:
        delay_ms = self._link.watch_delay_ms if self.is_watch else 0
        await self._delayed.put((asyncio.get_running_loop().time() + delay_ms / 1000, chunk))

    @staticmethod
    async def _read_upstream(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.read(_CHUNK_BYTES)
        except OSError:  # broken is as good as ended: what came before is still passed on
            return b""

    async def _send_response(self) -> None:
        loop = asyncio.get_running_loop()
        writer = self._client[1]
        while True:
            due, chunk = await self._delayed.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            if self.halts_next_chunk and chunk:
                self.halts_next_chunk = False
                half = len(chunk) // 2
                writer.write(chunk[:half])
                await writer.drain()
                chunk = chunk[half:]
            await self._link.gate(is_watch=self.is_watch)
            if not chunk:
                await self._end_with(b"")
                return
            breaks = self.breaks_next_chunk
            writer.write(chunk[: len(chunk) // 2] if breaks else chunk)
            await writer.drain()
            if breaks:
                return

    async def _end_with(self, data: bytes) -> None:
        """Passes this on as the last, and closes the client's side."""
        writer = self._client[1]
        writer.write(data)
        await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _with_connection_close(head: bytes) -> bytes:
    lines = _CONNECTION_HEADER.sub(b"", head)
    return lines.removesuffix(b"\r\n") + b"connection: close\r\n\r\n"
