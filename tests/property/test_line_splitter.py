"""Lines come out whole however the stream was cut."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from proxy.api.watch_event import EventType, LineSplitter, MalformedEvent, decode_event, frame

lines = st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line))


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(data)))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@given(st.data(), lines, st.binary(max_size=5).filter(lambda rest: b"\n" not in rest))
def test_the_lines_of_a_stream_do_not_depend_on_its_chunks(data: st.DataObject, sent: list[bytes], rest: bytes) -> None:
    stream = b"".join(line + b"\n" for line in sent) + rest
    splitter = LineSplitter(20)
    received = [line for piece in data.draw(pieces(stream)) for line in splitter.feed(piece)]
    assert received == [line for line in sent if line]
    assert splitter.feed(b"\n") == ([rest] if rest else [])


@given(st.data(), st.integers(1, 30), st.booleans())
def test_a_line_over_the_bound_is_refused_wherever_it_is_cut(data: st.DataObject, over: int, ended: bool) -> None:
    stream = b"ok\n" + b"x" * (20 + over) + (b"\n" if ended else b"")
    splitter = LineSplitter(20)
    try:
        for piece in data.draw(pieces(stream)):
            splitter.feed(piece)
    except MalformedEvent:
        return
    raise AssertionError("a line that is too long was taken")


@given(st.sampled_from(EventType), st.dictionaries(st.text(), st.integers() | st.text()))
def test_a_frame_is_one_line_that_reads_back(kind: EventType, body: dict[str, object]) -> None:
    raw = msgspec.json.encode(body)
    framed = frame(kind, raw)
    assert framed.count(b"\n") == 1
    (line,) = LineSplitter(10_000).feed(framed)
    event = decode_event(line)
    assert (event.type, bytes(event.object)) == (kind, raw)
