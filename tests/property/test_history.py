"""The history against a list that forgets nothing by itself."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.watch.history import MIN_CHANGES, Change, History, TooOld
from tests.support.versions import version

BODY = version("a", "x", 1)

steps = st.tuples(
    st.integers(1, 3),  # how far the resourceVersion moves
    st.sampled_from((0.0, 0.0, 0.0, 0.5, 5.0)),  # seconds that pass
    st.integers(1, 200),  # how often
)


class NaiveHistory:
    """All changes with their times; what may be forgotten is worked out anew for each question."""

    def __init__(self, start: int, retention_seconds: float, max_changes: int) -> None:
        self.start = start
        self.retention_seconds = retention_seconds
        self.max_changes = max_changes
        self.held: list[tuple[int, float]] = []

    def append(self, rv: int, now: float) -> None:
        self.held.append((rv, now))
        while len(self.held) > MIN_CHANGES and (
            len(self.held) > self.max_changes or self.held[0][1] < now - self.retention_seconds
        ):
            self.start = self.held.pop(0)[0]

    def after(self, rv: int) -> list[int] | None:
        return None if rv < self.start else [each for each, _ in self.held if each > rv]


def all_after(history: History, rv: int | str, batch: int) -> list[str] | None:
    """Reads in batches, as a stream that catches up does."""
    position = history.locate(str(rv))
    if isinstance(position, TooOld):
        return None
    read: list[Change] = []
    while changes := history.after(position, batch):
        assert [change.sequence for change in changes] == list(range(position + 1, position + 1 + len(changes)))
        read.extend(changes)
        position = changes[-1].sequence
    assert position == history.last_sequence
    return [change.rv for change in read]


@settings(max_examples=60, deadline=None)
@example([(2, 0.0, 120), (1, 0.5, 900), (3, 5.0, 300)], 10.0, 150, 7).via("past several compactions")
@given(
    st.lists(steps, max_size=12),
    st.sampled_from((1.0, 10.0)),
    st.sampled_from((MIN_CHANGES - 50, 150, 10_000)),
    st.integers(1, 300),
)
def test_history_is_a_list_that_forgets_its_beginning(
    script: list[tuple[int, float, int]], retention_seconds: float, max_changes: int, batch: int
) -> None:
    history = History(start_rv="5", retention_seconds=retention_seconds, max_changes=max_changes)
    naive = NaiveHistory(5, retention_seconds, max_changes)
    unordered = History(start_rv="r5", retention_seconds=retention_seconds, max_changes=max_changes)
    rv, now = 5, 0.0
    for distance, seconds, times in script:
        for _ in range(times):
            rv, now = rv + distance, now + seconds
            history.append(rv=str(rv), previous=BODY, current=None, now=now)
            unordered.append(rv=f"r{rv}", previous=BODY, current=None, now=now)
            naive.append(rv, now)
            assert history.locate(str(naive.start - 1)) == TooOld(naive.start), "right after a compaction too"
        for asked in {1, 4, 5, naive.start - 1, naive.start, naive.start + 1, (naive.start + rv) // 2, rv, rv + 1}:
            expected = naive.after(asked)
            assert all_after(history, asked, batch) == (None if expected is None else [str(each) for each in expected])
            if asked in (each for each, _ in naive.held):
                assert all_after(unordered, f"r{asked}", batch) == [f"r{each}" for each in expected or ()]
