"""The demo's screen: aligned by change, never wider or taller than it was told."""

import re

import pytest

from proxy.api.watch_event import EventType
from proxy.cli.demo_observer import IDENTITIES, Observer
from proxy.cli.demo_view import LiveView, screen, summary
from tests.unit.cli.test_demo_observer import pod

ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def observers(changes: int) -> list[Observer]:
    """The admin sees every change, alice every pod in team-a."""
    seen = [Observer(identity) for identity in IDENTITIES]
    for number in range(changes):
        namespace = "team-a" if number % 2 == 0 else "team-b-with-a-very-long-name"
        body = pod(namespace, f"p{number}", 10 + number)
        seen[0].received(EventType.ADDED, body)
        if namespace == "team-a":
            seen[1].received(EventType.ADDED, body)
    return seen


@pytest.mark.parametrize("width", [60, 80, 133])
@pytest.mark.parametrize("height", [1, 4, 5, 24])
@pytest.mark.parametrize("changes", [0, 3, 50])
def test_it_fits(width: int, height: int, changes: int) -> None:
    lines = [ESCAPES.sub("", line) for line in screen(observers(changes), width=width, height=height)]
    assert all(len(line) <= width for line in lines)
    assert len(lines) <= height


def test_a_row_is_one_change_and_what_is_hidden_is_a_dot() -> None:
    rows = [ESCAPES.sub("", line).split(" │ ") for line in screen(observers(3), width=133, height=24)][-3:]
    assert [[cell.strip() for cell in row][:3] for row in rows] == [
        ["+ team-a/p0 Pending", "+ team-a/p0 Pending", "·"],
        ["+ team-b-with-a-very-long-name…", "·", "·"],
        ["+ team-a/p2 Pending", "+ team-a/p2 Pending", "·"],
    ]


def test_the_view_is_drawn_over_itself() -> None:
    view = LiveView(80, 10)
    first, second = view.frame(observers(1)), view.frame(observers(1))
    assert not first.startswith("\x1b[5A")
    assert second.startswith("\x1b[5A")
    assert second.count("\n") == 5


def test_the_summary_counts() -> None:
    lines = [re.split(r"  +", line) for line in summary(observers(5)).splitlines()]
    assert lines[1:3] == [["admin", "everything", "5", "0", "5"], ["alice", "team-a, team-c", "3", "2", "3"]]
