"""Revisions: when the API server has gone back, and when it only seems so."""

from __future__ import annotations

import pytest

from proxy.api.groups import GroupVersionResource
from proxy.upstream.revisions import Revisions

PODS = GroupVersionResource("", "v1", "pods")
NODES = GroupVersionResource("", "v1", "nodes")


@pytest.fixture
def revisions() -> Revisions:
    return Revisions()


@pytest.fixture
def gone_back(revisions: Revisions) -> list[GroupVersionResource]:
    told: list[GroupVersionResource] = []
    revisions.observe(told.append)
    return told


def test_a_read_older_than_what_was_seen_before_it_is_the_past_come_back(
    revisions: Revisions, gone_back: list[GroupVersionResource]
) -> None:
    revisions.see(PODS, "100")
    revisions.read(PODS, "50", seen_before=revisions.seen(PODS))
    assert gone_back == [PODS]
    assert revisions.seen(PODS) == 50


def test_a_read_that_was_overtaken_is_nothing_new(revisions: Revisions, gone_back: list[GroupVersionResource]) -> None:
    sent_at = revisions.seen(PODS)
    revisions.see(PODS, "100")
    revisions.read(PODS, "50", seen_before=sent_at)
    assert not gone_back
    assert revisions.seen(PODS) == 100


def test_reads_under_way_together_notice_it_once(revisions: Revisions, gone_back: list[GroupVersionResource]) -> None:
    revisions.read(PODS, "100", seen_before=0)
    revisions.read(PODS, "50", seen_before=100)
    revisions.read(PODS, "60", seen_before=100)
    assert gone_back == [PODS]
    assert revisions.seen(PODS) == 60


def test_resources_are_apart(revisions: Revisions, gone_back: list[GroupVersionResource]) -> None:
    """Events may have an etcd of their own."""
    revisions.see(PODS, "100")
    revisions.read(NODES, "50", seen_before=revisions.seen(NODES))
    assert not gone_back


def test_what_is_no_number_says_nothing(revisions: Revisions, gone_back: list[GroupVersionResource]) -> None:
    revisions.see(PODS, "100")
    revisions.see(PODS, "opaque")
    revisions.read(PODS, "opaque", seen_before=100)
    assert not gone_back
    assert revisions.seen(PODS) == 100
