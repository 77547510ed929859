"""The labels that are reported are those of now, whatever keys were asked about before."""

from collections.abc import Mapping
from typing import cast

import msgspec

from proxy.api.objects import ObjectVersion
from proxy.api.watch_event import EventType
from proxy.upstream.cacher import Cacher, Observer
from proxy.upstream.cachers import Cachers
from proxy.upstream.namespace_follower import Labels, NamespaceFollower
from proxy.watch.cache import WatchCache


class FakeCacher:
    """A cacher that is filled and fresh; `write` is a write upstream that it heard of."""

    def __init__(self) -> None:
        self.cache = WatchCache(retention_seconds=75.0, max_changes=100)
        self.cache.replace([], "1")
        self.stopped = False
        self.is_filled = True
        self.last_heard = 0.0
        self._rv = 1
        self._observers: list[Observer] = []

    def observe(self, observer: Observer) -> None:
        self._observers.append(observer)

    def write(self, name: str, labels: Mapping[str, str]) -> None:
        self._rv += 1
        metadata = {"name": name, "resourceVersion": str(self._rv), "labels": labels}
        change = self.cache.apply(EventType.MODIFIED, ObjectVersion(msgspec.json.encode({"metadata": metadata})), 0.0)
        assert change is not None
        for observer in self._observers:
            observer.changed(cast(Cacher, self), change)


class FakeCachers:
    """Starts cachers that are filled at once."""

    def __init__(self) -> None:
        self.started: list[FakeCacher] = []

    def start(self, *_: object) -> FakeCacher:
        if not self.started or self.started[-1].stopped:
            self.started.append(FakeCacher())
        return self.started[-1]


class Proxy:
    """What is around a follower: a policy that asks about keys, and what is in force, which has it look again."""

    def __init__(self) -> None:
        self.keys: frozenset[str] | None = None
        self.in_force: list[Labels | None] = []
        self.cachers = FakeCachers()
        self.follower = NamespaceFollower(
            cast(Cachers, self.cachers), clock=lambda: 0.0, wanted_keys=lambda: self.keys, report=self._report
        )

    @property
    def cacher(self) -> FakeCacher:
        return self.cachers.started[-1]

    def ask_about(self, *keys: str) -> None:
        """A policy comes into force; none of its bindings selects namespaces where no keys are given."""
        self.keys = frozenset(keys) or None
        self.follower.check()

    def _report(self, labels: Labels | None) -> None:
        self.in_force.append(labels)
        self.follower.check()


def test_labels_that_changed_while_another_key_was_asked_about_are_reported_with_the_policy_that_asks() -> None:
    proxy = Proxy()
    proxy.ask_about("team")
    proxy.cacher.write("a", {"team": "red"})
    proxy.cacher.write("a", {"team": "red", "stage": "prod"})
    proxy.ask_about("stage")
    assert proxy.in_force[-1] == {"a": {"team": "red", "stage": "prod"}}


def test_labels_that_changed_while_nobody_asked_are_reported_with_the_policy_that_asks() -> None:
    proxy = Proxy()
    proxy.ask_about("team")
    proxy.cacher.write("a", {"team": "red"})
    proxy.ask_about()
    proxy.cacher.write("a", {"team": "blue"})
    proxy.ask_about("team")
    assert proxy.in_force[-1] == {"a": {"team": "blue"}}


def test_a_policy_that_asks_about_nothing_new_changes_no_labels() -> None:
    """Else each reload of a policy would end the streams of all whose scope is made of labels."""
    proxy = Proxy()
    proxy.ask_about("team", "stage")
    reports = len(proxy.in_force)
    proxy.ask_about("stage")
    assert len(proxy.in_force) == reports


def test_each_change_is_reported_once_after_the_cacher_was_replaced() -> None:
    proxy = Proxy()
    proxy.ask_about("team")
    proxy.cacher.stopped = True
    proxy.follower.check()
    reports = len(proxy.in_force)
    proxy.cacher.write("a", {"team": "red"})
    assert proxy.in_force[reports:] == [{"a": {"team": "red"}}]
