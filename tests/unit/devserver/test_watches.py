"""Watches: the theorem, and each rule of how one starts, goes on and ends."""

from random import Random
from typing import Any

import pytest

from proxy.api.status import StatusError
from proxy.devserver.handlers import Api
from proxy.devserver.traffic import Traffic
from proxy.devserver.watches import next_bookmark_at
from tests.unit.devserver.calling import MERGE, NOW, TABLE, call, events, new_api, pod, watch

PODS = "/api/v1/pods"
IN_A = "/api/v1/namespaces/a/pods"
END = {"k8s.io/initial-events-end": "true"}


@pytest.fixture
def api() -> Api:
    return new_api()


def label(api: Api, name: str, value: str) -> None:
    body = {"metadata": {"labels": {"k": value}}}
    assert call(api, "PATCH", f"{IN_A}/{name}", body, content_type=MERGE)[0] == 200


def described(frames: list[bytes]) -> list[tuple[str, str]]:
    return [(kind, body["metadata"].get("name", "")) for kind, body in events(frames)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "query",
    [
        "",
        "fieldSelector=spec.nodeName%3Dnode1",
        "fieldSelector=status.phase!%3DSucceeded",
        "labelSelector=tier+in+(blue,green)",
        "fieldSelector=metadata.namespace%3Dteam-a&labelSelector=tier%3Dblue",
    ],
)
def test_replaying_a_watch_yields_what_a_list_shows(seed: int, query: str) -> None:
    """The theorem, at every step of random traffic."""
    api = new_api(namespaces=())
    traffic = Traffic(api.writer, Random(seed), lambda: NOW)
    traffic.seed()
    watcher = watch(api, f"{PODS}?watch=1&{query}")
    state: dict[tuple[str, str], Any] = {}
    frames = watcher.start()
    for _ in range(60):
        for kind, body in events(frames):
            key = (body["metadata"]["namespace"], body["metadata"]["name"])
            assert (kind == "ADDED") is (key not in state)
            if kind == "DELETED":
                del state[key]
            else:
                state[key] = body["metadata"]["resourceVersion"]
        listed = call(api, "GET", f"{PODS}?{query}")[1]["items"]
        assert state == {
            (item["metadata"]["namespace"], item["metadata"]["name"]): item["metadata"]["resourceVersion"]
            for item in listed
        }
        traffic.step()
        frames = watcher.advance()


def test_an_object_that_leaves_the_selection_is_deleted_as_it_last_was(api: Api) -> None:
    call(api, "POST", IN_A, pod("p", labels={"k": "in"}))
    watcher = watch(api, f"{PODS}?watch=1&labelSelector=k%3Din")
    watcher.start()
    label(api, "p", "out")
    [(kind, departed)] = events(watcher.advance())
    assert (kind, departed["metadata"]["labels"]) == ("DELETED", {"k": "in"})
    assert departed["metadata"]["resourceVersion"] == str(api.storage.rv)
    label(api, "p", "still out")
    assert watcher.advance() == []
    label(api, "p", "in")
    assert described(watcher.advance()) == [("ADDED", "p")]


def test_a_deleted_object_is_shown_at_the_version_of_its_deletion(api: Api) -> None:
    call(api, "POST", IN_A, pod("p"))
    watcher = watch(api, f"{PODS}?watch=1")
    watcher.start()
    call(api, "DELETE", f"{IN_A}/p")
    [(kind, departed)] = events(watcher.advance())
    assert (kind, departed["metadata"]["resourceVersion"]) == ("DELETED", str(api.storage.rv))


@pytest.mark.parametrize("start", ["", "resourceVersion=0", "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"])
def test_these_starts_begin_with_the_state_in_order(api: Api, start: str) -> None:
    for name in ("q", "p"):
        call(api, "POST", IN_A, pod(name))
    assert described(watch(api, f"{PODS}?watch=1&{start}").start()) == [("ADDED", "p"), ("ADDED", "q")]
    with_bookmarks = events(watch(api, f"{PODS}?watch=1&allowWatchBookmarks=1&{start}").start())
    assert with_bookmarks[-1] == (
        "BOOKMARK",
        {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": str(api.storage.rv), "annotations": END},
            "spec": {"containers": None},
            "status": {},
        },
    )


def test_a_watch_without_initial_events_begins_now(api: Api) -> None:
    call(api, "POST", IN_A, pod("p"))
    watcher = watch(
        api, f"{PODS}?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1"
    )
    assert watcher.start() == []
    call(api, "POST", IN_A, pod("q"))
    assert described(watcher.advance()) == [("ADDED", "q")]


def test_a_watch_at_a_version_replays_what_came_after_it(api: Api) -> None:
    call(api, "POST", IN_A, pod("p"))
    before = api.storage.rv
    call(api, "POST", IN_A, pod("q"))
    watcher = watch(api, f"{PODS}?watch=1&resourceVersion={before}")
    assert described(watcher.start()) == [("ADDED", "q")]
    assert watcher.advance() == []


def test_a_version_before_the_history_is_expired_and_the_last_one_in_it_is_not(api: Api) -> None:
    for name in ("p", "q", "r"):
        call(api, "POST", IN_A, pod(name))
    oldest = api.storage.rv - 1
    api.storage.compact(oldest)
    with pytest.raises(StatusError) as refused:
        watch(api, f"{PODS}?watch=1&resourceVersion={oldest - 1}").start()
    assert refused.value.status().code == 410
    assert refused.value.message == f"too old resource version: {oldest - 1} ({oldest})"
    assert described(watch(api, f"{PODS}?watch=1&resourceVersion={oldest}").start()) == [("ADDED", "r")]


def test_a_version_of_the_future_is_waited_for_in_silence_unless_the_state_was_asked_for(api: Api) -> None:
    future = api.storage.rv + 1
    watcher = watch(api, f"{PODS}?watch=1&resourceVersion={future}")
    assert watcher.start() == []
    call(api, "POST", IN_A, pod("p"))
    assert watcher.advance() == []
    call(api, "POST", IN_A, pod("q"))
    assert described(watcher.advance()) == [("ADDED", "q")]
    with pytest.raises(StatusError) as refused:
        initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        watch(api, f"{PODS}?watch=1&resourceVersion=999&{initial}").start()
    assert refused.value.code == 504


def test_a_watcher_that_falls_behind_the_history_knows_it() -> None:
    api = new_api(history_limit=2)
    watcher = watch(api, f"{PODS}?watch=1")
    watcher.start()
    for name in ("p", "q"):
        call(api, "POST", IN_A, pod(name))
    assert not watcher.has_fallen_behind()
    call(api, "POST", IN_A, pod("r"))
    assert watcher.has_fallen_behind()


def test_bookmarks_are_for_those_who_ask_and_never_overtake_an_event(api: Api) -> None:
    silent = watch(api, f"{PODS}?watch=1")
    silent.start()
    assert silent.bookmarks() == []
    watcher = watch(api, f"{PODS}?watch=1&allowWatchBookmarks=true")
    watcher.start()
    position = api.storage.rv
    call(api, "POST", IN_A, pod("p"))
    [(_, early)] = events(watcher.bookmarks())
    assert early["metadata"] == {"resourceVersion": str(position)}
    watcher.advance()
    [(_, late)] = events(watcher.bookmarks())
    assert late["metadata"] == {"resourceVersion": str(api.storage.rv)}


def test_a_table_watch_names_its_columns_once(api: Api) -> None:
    call(api, "POST", IN_A, pod("p"))
    call(api, "POST", IN_A, pod("q"))
    watcher = watch(api, f"{PODS}?watch=1&allowWatchBookmarks=1&includeObject=None", accept=TABLE)
    first, second, end = [body for _, body in events(watcher.start())]
    assert first["kind"] == "Table"
    assert first["columnDefinitions"][0]["name"] == "Name"
    assert [second["columnDefinitions"], end["columnDefinitions"]] == [None, None]
    assert first["rows"][0]["object"] is None
    assert end["rows"][0]["object"]["metadata"]["annotations"] == END


def test_a_watch_at_a_version_that_is_no_number_is_upstreams_500(api: Api) -> None:
    assert call(api, "GET", f"{PODS}?watch=1&resourceVersion=x")[0] == 500


def test_a_watch_parameter_on_an_object_is_a_get(api: Api) -> None:
    call(api, "POST", IN_A, pod("p"))
    assert call(api, "GET", f"{IN_A}/p?watch=1")[1]["kind"] == "Pod"


def test_the_last_bookmark_comes_shortly_before_the_end() -> None:
    assert next_bookmark_at(0.0, interval_seconds=60.0, end=1800.0) == 60.0
    assert next_bookmark_at(1770.0, interval_seconds=60.0, end=1800.0) == 1798.0
    assert next_bookmark_at(1798.0, interval_seconds=60.0, end=1800.0) == 1858.0
