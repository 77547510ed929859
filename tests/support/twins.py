"""One watch, asked twice: straight of the API server and through the proxy. Their events must be the same.

Bookmarks are left out, for when they come is up to each side; but the one that ends the initial events counts, and
comes at the same place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import httpx

from tests.support.oracle.answers import unprint_ages
from tests.support.question import INITIAL_EVENTS_END
from tests.support.watching import WatchEvent, WatchStream


class Twins:
    """Both watches, open until `stack` closes."""

    def __init__(
        self,
        stack: ExitStack,
        sides: tuple[httpx.Client, httpx.Client],
        path: str,
        parameters: Mapping[str, str],
        *,
        accept: str,
        custom: bool,
    ) -> None:
        self._asked = f"{path} {dict(parameters)} {accept}"
        self._ordered = not custom
        self._streams = [stack.enter_context(WatchStream(side, path, parameters, accept=accept)) for side in sides]

    def __str__(self) -> str:
        return self._asked

    def compare(self, rv: str) -> int:
        """Waits until both have shown the change at `rv`; the number of events so far, which are the same."""
        for stream in self._streams:
            stream.take_until(lambda event: _rv(event) == rv and event["type"] != "BOOKMARK")
        direct, through = ([self._comparable(each) for each in _told(stream.events)] for stream in self._streams)
        for number, (one, other) in enumerate(zip(direct, through, strict=False)):
            assert one == other, f"{self}: event {number} of {len(direct)}\n  direct {one}\n  proxy  {other}"
        assert len(direct) == len(through), f"{self}: {direct[len(through) :]} / {through[len(direct) :]}"
        return len(direct)

    def _comparable(self, event: WatchEvent) -> Any:
        """As text the order of the members counts too, but in custom resources."""
        return json.dumps(event) if self._ordered else event


def _told(events: list[WatchEvent]) -> list[WatchEvent]:
    """The events with what both owe."""
    events = json.loads(json.dumps(events))
    unprint_ages([event["object"] for event in events])
    ends = INITIAL_EVENTS_END
    return [{"type": ends} if ends in json.dumps(event) else event for event in events if _counts(event)]


def _counts(event: WatchEvent) -> bool:
    return event["type"] != "BOOKMARK" or INITIAL_EVENTS_END in json.dumps(event)


def _rv(event: WatchEvent) -> str:
    assert event["type"] != "ERROR", event
    rv: str = event["object"]["metadata"].get("resourceVersion", "")
    return rv
