"""What one identity of the demo saw of the pods, and whether it should have: replaying the events a client received
yields exactly the part of the state that its scope allows.

Pure: events in, counts and violations out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.api.watch_event import EventType

Pod = Mapping[str, Any]
Key = tuple[str, str]
"""(namespace, name)."""

VIOLATIONS_KEPT = 20  # enough to see what is wrong; one broken rule can repeat for every event


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One of the demo's users. `sees` describes `may_see` for a reader."""

    name: str
    sees: str
    may_see: Callable[[Pod], bool]


IDENTITIES = (
    Identity(name="admin", sees="everything", may_see=lambda pod: True),
    Identity(
        name="alice",
        sees="team-a, team-c",
        may_see=lambda pod: pod["metadata"]["namespace"] in ("team-a", "team-c"),
    ),
    Identity(name="bob", sees="team-b", may_see=lambda pod: pod["metadata"]["namespace"] == "team-b"),
    Identity(
        name="node1",
        sees="spec.nodeName=node1",
        may_see=lambda pod: pod["spec"].get("nodeName") == "node1",
    ),
)
"""The admin is first: what it is sent is everything that happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEvent:
    """One event as a line of the demo shows it."""

    rv: int
    type: EventType
    pod: str
    state: str


@dataclass(slots=True)
class Observer:
    """The events of one identity's watch.

    `events` holds the event of each change by its resourceVersion, those of the initial state included.
    """

    identity: Identity
    events: dict[int, SeenEvent] = field(default_factory=dict)
    objects: dict[Key, Pod] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def restarted(self) -> None:
        """A new stream: its initial events are the whole state again."""
        self.objects.clear()

    def received(self, kind: EventType, pod: Pod) -> SeenEvent:
        """Takes one ADDED, MODIFIED or DELETED."""
        metadata = pod["metadata"]
        key = (metadata["namespace"], metadata["name"])
        label = "/".join(key)
        if not self.identity.may_see(pod):
            self._violated(f"was sent {label}, which is outside `{self.identity.sees}`")
        if (kind is EventType.ADDED) is (key in self.objects):
            self._violated(f"{kind.value} of {label}, which it {'has' if key in self.objects else 'does not have'}")
        if kind is EventType.DELETED:
            self.objects.pop(key, None)
        else:
            self.objects[key] = pod
        seen = SeenEvent(rv=int(metadata["resourceVersion"]), type=kind, pod=label, state=_state(pod))
        self.events[seen.rv] = seen
        return seen

    def hidden_from(self, everything: Observer) -> int:
        """How many events the other observer was sent that this one was not."""
        return len(everything.events.keys() - self.events.keys())

    def has_exactly(self, pods: Iterable[Pod]) -> bool:
        """True when the replayed state is the part of `pods` that the identity may see, at the same versions."""
        expected = {_version(pod) for pod in pods if self.identity.may_see(pod)}
        return expected == {_version(pod) for pod in self.objects.values()}

    def _violated(self, what: str) -> None:
        if len(self.violations) < VIOLATIONS_KEPT:
            self.violations.append(f"{self.identity.name} {what}")


def _version(pod: Pod) -> tuple[str, str, str]:
    metadata = pod["metadata"]
    return metadata["namespace"], metadata["name"], metadata["resourceVersion"]


def _state(pod: Pod) -> str:
    node = pod["spec"].get("nodeName")
    return f"{pod['status']['phase']} {node}" if node else str(pod["status"]["phase"])
