"""The demo's own check: it must be able to fail."""

from typing import Any

import pytest

from proxy.api.watch_event import EventType
from proxy.cli.demo_observer import IDENTITIES, Identity, Observer

ADMIN, ALICE, BOB, NODE1 = IDENTITIES


def pod(namespace: str, name: str, rv: int, *, node: str | None = None) -> dict[str, Any]:
    spec = {} if node is None else {"nodeName": node}
    metadata = {"namespace": namespace, "name": name, "resourceVersion": str(rv)}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}}


@pytest.mark.parametrize(
    ("identity", "body"),
    [
        (ALICE, pod("team-b", "p", 5)),
        (ALICE, pod("team-abc", "p", 5)),
        (BOB, pod("kube-system", "p", 5)),
        (NODE1, pod("team-a", "p", 5)),
        (NODE1, pod("team-a", "p", 5, node="node10")),
    ],
)
@pytest.mark.parametrize("kind", [EventType.ADDED, EventType.DELETED])
def test_an_object_outside_is_a_violation_even_when_it_is_deleted(
    identity: Identity, body: dict[str, Any], kind: EventType
) -> None:
    observer = Observer(identity)
    observer.received(kind, body)
    assert "outside" in observer.violations[0]


def test_events_that_do_not_follow_from_each_other_are_violations() -> None:
    observer = Observer(ADMIN)
    observer.received(EventType.MODIFIED, pod("a", "p", 5))
    observer.received(EventType.ADDED, pod("a", "p", 6))
    observer.received(EventType.DELETED, pod("a", "q", 7))
    assert len(observer.violations) == 3


def test_a_stream_that_starts_anew_brings_the_state_again() -> None:
    observer = Observer(ADMIN)
    observer.received(EventType.ADDED, pod("a", "p", 5))
    observer.restarted()
    observer.received(EventType.ADDED, pod("a", "p", 5))
    assert observer.violations == []


def test_the_replayed_state_is_compared_by_version_and_within_the_scope() -> None:
    alice = Observer(ALICE)
    alice.received(EventType.ADDED, pod("team-a", "p", 5))
    alice.received(EventType.ADDED, pod("team-c", "q", 6))
    alice.received(EventType.DELETED, pod("team-c", "q", 7))
    assert alice.has_exactly([pod("team-a", "p", 5), pod("team-b", "x", 9)])
    assert not alice.has_exactly([pod("team-a", "p", 8)])
    assert not alice.has_exactly([pod("team-a", "p", 5), pod("team-c", "q", 6)])
    assert not alice.has_exactly([])


def test_hidden_is_what_the_admin_was_sent_and_they_were_not() -> None:
    """A pod bound to the node is MODIFIED to the admin and ADDED to the node: one event each, nothing hidden."""
    admin, node = Observer(ADMIN), Observer(NODE1)
    admin.received(EventType.ADDED, pod("team-a", "p", 5))
    admin.received(EventType.MODIFIED, pod("team-a", "p", 6, node="node1"))
    node.received(EventType.ADDED, pod("team-a", "p", 6, node="node1"))
    assert (node.hidden_from(admin), admin.hidden_from(admin)) == (1, 0)
    assert node.violations == []
