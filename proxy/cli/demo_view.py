"""The demo's screen: the same changes side by side, one column for each identity, one row for each change.

Pure: observers in, text out. A change that an identity was not sent is a dot in its column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.api.watch_event import EventType
from proxy.cli.demo_observer import Observer, SeenEvent

_RESET = "\x1b[0m"
_BOLD = "\x1b[1m"
_DIM = "\x1b[2m"
_COLOURS = {EventType.ADDED: "\x1b[32m", EventType.MODIFIED: "\x1b[33m", EventType.DELETED: "\x1b[31m"}
_SIGNS = {EventType.ADDED: "+", EventType.MODIFIED: "~", EventType.DELETED: "-"}
_CLEAR_TO_END_OF_LINE = "\x1b[K"
_HEADER_LINES = 4
_SEPARATOR = " │ "
_NARROWEST_COLUMN = 8


@dataclass(slots=True)
class LiveView:
    """A region of the terminal that is drawn over itself; what was printed before it stays."""

    width: int
    height: int
    _drawn_lines: int = 0

    def frame(self, observers: Sequence[Observer]) -> str:
        """What to write to the terminal to show the current state."""
        lines = screen(observers, width=self.width, height=self.height)
        up = f"\x1b[{self._drawn_lines}A" if self._drawn_lines else ""
        self._drawn_lines = len(lines)
        return up + "".join(f"\r{line}{_CLEAR_TO_END_OF_LINE}\n" for line in lines)


def screen(observers: Sequence[Observer], *, width: int, height: int) -> list[str]:
    """The header and the newest changes, oldest first: at most `height` lines of at most `width` columns."""
    column = max(_NARROWEST_COLUMN, (width - len(_SEPARATOR) * (len(observers) - 1)) // len(observers))
    everything = observers[0]
    header = [
        _row([_styled(_BOLD, observer.identity.name, column) for observer in observers]),
        _row([_styled(_DIM, f"sees {observer.identity.sees}", column) for observer in observers]),
        _row([_styled("", counts(observer, everything), column) for observer in observers]),
        "─" * width,
    ]
    shown = max(0, height - _HEADER_LINES)
    newest = sorted(everything.events)[-shown:] if shown else []
    rows = [_row([_cell(observer.events.get(rv), column) for observer in observers]) for rv in newest]
    return (header + rows)[:height]


def counts(observer: Observer, everything: Observer) -> str:
    """Delivered and hidden events, and the objects it holds now."""
    delivered, hidden = len(observer.events), observer.hidden_from(everything)
    return f"{delivered} delivered, {hidden} hidden, {len(observer.objects)} pods"


def event_line(observer: Observer, event: SeenEvent) -> str:
    """One event as a line of plain text."""
    return f"{observer.identity.name:6} {event.type.value:9} {event.pod:24} {event.state} (resourceVersion {event.rv})"


def summary(observers: Sequence[Observer]) -> str:
    """The table that ends the demo."""
    rows = [("identity", "sees", "delivered", "hidden", "pods now")]
    for observer in observers:
        rows.append(
            (
                observer.identity.name,
                observer.identity.sees,
                str(len(observer.events)),
                str(observer.hidden_from(observers[0])),
                str(len(observer.objects)),
            )
        )
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cell(event: SeenEvent | None, width: int) -> str:
    if event is None:
        return _styled(_DIM, "·", width)
    return _styled(_COLOURS[event.type], f"{_SIGNS[event.type]} {event.pod} {event.state}", width)


def _row(cells: Sequence[str]) -> str:
    return _SEPARATOR.join(cells)


def _styled(style: str, text: str, width: int) -> str:
    """`text` cut and padded to `width`; the style takes no width."""
    fitted = (text[: width - 1] + "…" if len(text) > width else text).ljust(width)
    return f"{style}{fitted}{_RESET}" if style else fitted
