"""Requests from a process of its own: connected first, then sent when told, then counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.support.load_process import LoadProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """`requests` GETs of one target over so many `connections`, as one caller."""

    target: str
    connections: int = 1
    requests: int = 1
    cert_file: str = ""
    key_file: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """All were answered with 200. `bytes` are those of all bodies; latencies include reading the whole body."""

    seconds: float
    bytes: int
    latencies_ms: Sequence[float]

    def latency_ms(self, share: float) -> float:
        """A quantile."""
        return sorted(self.latencies_ms)[min(int(share * len(self.latencies_ms)), len(self.latencies_ms) - 1)]


class Load:
    """Connections that are open when the `with` block is entered, and ready to send."""

    def __init__(self, url: str, ca_file: Path, requests: Requests) -> None:
        self._process = LoadProcess("get", url, ca_file, asdict(requests))

    def __enter__(self) -> Self:
        try:
            self._process.answer()
        except BaseException:
            self._process.close()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.close()

    def run(self) -> Answered:
        """Sends all, and returns when all are answered."""
        self._process.send({})
        return Answered(**self._process.answer())
