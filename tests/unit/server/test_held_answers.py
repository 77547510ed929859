"""What the answers of a user may hold of memory while they are read."""

from __future__ import annotations

import pytest

from proxy.api.status import TooManyRequests
from proxy.server.held_answers import HeldAnswers

ONE, ANOTHER, THIRD = [object()], [object()], [object()]


def test_different_answers_of_one_user_are_bounded_together() -> None:
    held = HeldAnswers(100)
    with held.reading("alice", ONE, 60), held.reading("bob", ANOTHER, 60):
        with pytest.raises(TooManyRequests, match="100 bytes"), held.reading("alice", ANOTHER, 60):
            pass
        with held.reading("alice", THIRD, 40):
            pass
    with held.reading("alice", ANOTHER, 60):
        pass


def test_readers_of_one_snapshot_count_once() -> None:
    held = HeldAnswers(100)
    with held.reading("alice", ONE, 60), held.reading("alice", ONE, 60), held.reading("alice", ONE, 60):
        pass
    with held.reading("alice", ONE, 60):
        with held.reading("alice", ONE, 60):
            pass
        with pytest.raises(TooManyRequests), held.reading("alice", ANOTHER, 60):
            pass


def test_one_answer_alone_may_be_larger() -> None:
    held = HeldAnswers(100)
    with held.reading("alice", ONE, 1000), pytest.raises(TooManyRequests), held.reading("alice", ANOTHER, 1):
        pass


def test_an_empty_answer_holds_nothing() -> None:
    held = HeldAnswers(0)
    with held.reading("alice", ONE, 1), held.reading("alice", [], 0):
        pass
