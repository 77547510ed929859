"""The table of the projection, row by row."""

from __future__ import annotations

import json

import pytest

from proxy.api.selectors import parse_label_selector
from proxy.api.watch_event import EventType
from proxy.authz.scope import EVERYTHING
from proxy.authz.visibility import Visibility
from proxy.watch.encoding import ObjectEncoder
from proxy.watch.history import Change
from proxy.watch.projection import Shown, initial_events, project
from tests.support.versions import POD_PREFIX, version

WEB = Visibility(
    scope=EVERYTHING, namespace="", name="", namespace_is_name=False, label_selector=parse_label_selector("app=web")
)
SEEN, HIDDEN = {"app": "web"}, {"app": "secret"}


def change(before: dict[str, str] | None, after: dict[str, str] | None) -> Change:
    return Change(
        sequence=1,
        rv="9",
        previous=None if before is None else version("a", "x", 5, labels=before),
        current=None if after is None else version("a", "x", 9, labels=after),
    )


@pytest.mark.parametrize(("before", "after"), [(None, SEEN), (HIDDEN, SEEN)])
def test_what_becomes_visible_is_added(before: dict[str, str] | None, after: dict[str, str]) -> None:
    happened = change(before, after)
    assert happened.current is not None
    assert project(happened, WEB) == Shown(EventType.ADDED, happened.current, None)


def test_what_stays_visible_is_modified() -> None:
    happened = change(SEEN, SEEN)
    assert happened.current is not None
    assert project(happened, WEB) == Shown(EventType.MODIFIED, happened.current, None)


@pytest.mark.parametrize("after", [None, HIDDEN])
def test_what_leaves_is_deleted_without_showing_its_new_state(after: dict[str, str] | None) -> None:
    happened = change(SEEN, after)
    shown = project(happened, WEB)
    assert happened.previous is not None
    assert shown == Shown(EventType.DELETED, happened.previous, "9")
    assert shown is not None
    event = json.loads(ObjectEncoder(POD_PREFIX).encode(shown))
    assert event["object"]["metadata"]["labels"] == SEEN
    assert event["object"]["metadata"]["resourceVersion"] == "9"


@pytest.mark.parametrize(("before", "after"), [(None, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, None)])
def test_what_is_hidden_stays_hidden(before: dict[str, str] | None, after: dict[str, str] | None) -> None:
    assert project(change(before, after), WEB) is None


def test_initial_events_are_the_visible_objects_in_their_order() -> None:
    versions = [
        version("a", "x", 9, labels=SEEN),
        version("a", "y", 3, labels=HIDDEN),
        version("b", "x", 1, labels=SEEN),
    ]
    assert initial_events(versions, WEB) == [Shown(EventType.ADDED, each, None) for each in (versions[0], versions[2])]
