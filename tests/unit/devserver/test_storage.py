"""The storage: one counter, a history without a gap, and the state at every resourceVersion it still knows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.devserver.kinds import CONFIGMAPS, SECRETS
from proxy.devserver.storage import FIRST_RV, Change, Storage

GVR = CONFIGMAPS.gvr

keys = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y", "z"]))
writes = st.lists(st.tuples(st.sampled_from(["put", "delete"]), keys), max_size=30)


def body(key: tuple[str, str], number: int) -> dict[str, object]:
    return {"metadata": {"namespace": key[0], "name": key[1]}, "data": {"number": str(number)}}


@given(writes)
def test_the_state_at_every_version_is_what_a_reader_of_that_moment_saw(
    steps: list[tuple[str, tuple[str, str]]],
) -> None:
    storage = Storage(history_limit=1000)
    seen = {storage.rv: storage.current(GVR)}
    for number, (action, key) in enumerate(steps):
        if action == "put":
            storage.put(GVR, key, body(key, number))
        elif storage.get(GVR, key):
            storage.delete(GVR, key)
        seen[storage.rv] = storage.current(GVR)
    for rv, expected in seen.items():
        assert storage.at(GVR, rv) == expected


@given(writes, st.integers(1, 5))
def test_the_history_never_has_a_gap_and_never_passes_its_limit(
    steps: list[tuple[str, tuple[str, str]]], limit: int
) -> None:
    storage = Storage(history_limit=limit)
    for number, (action, key) in enumerate(steps):
        if action == "put":
            storage.put(GVR, key, body(key, number))
        elif storage.get(GVR, key):
            storage.delete(GVR, key)
    kept = [change.rv for change in storage.changes_after(storage.compacted)]
    assert kept == list(range(storage.compacted + 1, storage.rv + 1))
    assert len(kept) <= limit


def test_every_write_counts_one_counter_for_all_resources() -> None:
    storage = Storage(history_limit=10)
    first = storage.put(GVR, ("a", "x"), body(("a", "x"), 1))
    second = storage.put(SECRETS.gvr, ("a", "x"), body(("a", "x"), 1))
    assert (first.rv, second.rv) == (FIRST_RV + 1, FIRST_RV + 2)
    assert first.body["metadata"]["resourceVersion"] == str(FIRST_RV + 1)


def test_a_deletion_has_a_version_of_its_own_and_the_object_as_it_was() -> None:
    storage = Storage(history_limit=10)
    version = storage.put(GVR, ("a", "x"), body(("a", "x"), 1))
    heard: list[Change] = []
    storage.subscribe(heard.append)
    storage.delete(GVR, ("a", "x"))
    assert heard == [Change(rv=version.rv + 1, gvr=GVR, previous=version, current=None)]


def test_a_compacted_version_is_not_readable() -> None:
    storage = Storage(history_limit=10)
    for number in range(4):
        storage.put(GVR, ("a", "x"), body(("a", "x"), number))
    storage.compact(storage.rv - 1)
    assert storage.at(GVR, storage.rv - 2) is None
    assert storage.at(GVR, storage.rv - 1) is not None
    with pytest.raises(ValueError, match="history starts after"):
        storage.changes_after(storage.rv - 2)


def test_the_order_is_by_namespace_then_name_in_bytes() -> None:
    storage = Storage(history_limit=10)
    for key in [("b", "a"), ("a-b", "x"), ("a", "z"), ("a", "é"), ("a", "Z")]:
        storage.put(GVR, key, body(key, 0))
    assert [version.key for version in storage.current(GVR)] == [
        ("a", "Z"),
        ("a", "z"),
        ("a", "é"),
        ("a-b", "x"),
        ("b", "a"),
    ]
