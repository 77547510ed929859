"""Who may see everything sees through the proxy what a direct connection sees, while the cluster changes at random.

Watches run side by side, in every form, narrowed or not, begun at different times in different ways: their events are
the same, in the same order. Whenever the changes pause, lists are the same too: whole, from the cache, at a
resourceVersion of the past, and page by page.

WATCHKEEPER_TRANSPARENCY_SEEDS (`7,8,9`) looks further.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.support.changes import CHANGING, LABEL_SELECTORS, Changes, Changing
from tests.support.grants import EVERYTHING, grant
from tests.support.identities import Identity
from tests.support.oracle.answers import plain
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster
from tests.support.samples import PLANETS, WIDGETS, install, uninstall
from tests.support.twins import Twins

SEEDS = [int(seed) for seed in os.environ.get("WATCHKEEPER_TRANSPARENCY_SEEDS", "1,2").split(",")]
ROUNDS = 5
WRITES = 40  # in a round
_LISTED_FORMS = 2  # of each kind, whenever the changes pause
_BEGUN = 8  # watches of each kind in the first round, and two in every later one

ROOT = Identity(name="root")
_META = "g=meta.k8s.io;v="
JSON = "application/json"
TABLE = f"{JSON};as=Table;{_META}"
FORMS = (JSON, JSON, f"{TABLE}v1", f"{TABLE}v1", f"{TABLE}v1beta1", f"{JSON};as=PartialObjectMetadata;{_META}v1")

Sides = tuple[httpx.Client, httpx.Client]


@pytest.fixture(scope="module")
def sides(real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    """A straight connection of an admin, and one through the proxy of a user who may see everything."""
    for definition in (WIDGETS, PLANETS):
        install(real_cluster, definition)
    directory = tmp_path_factory.mktemp("transparency")
    with ProxyProcess(real_cluster, directory, {"root.yaml": grant("root", *EVERYTHING)}) as process:
        with process.client(ROOT) as proxy:
            yield real_cluster.admin, proxy
    for definition in (WIDGETS, PLANETS):
        uninstall(real_cluster, definition)


class Observer:
    """Asks both sides, and keeps watches open on both."""

    def __init__(self, sides: Sides, namespaces: tuple[str, ...], chance: random.Random, stack: ExitStack) -> None:
        self._sides = sides
        self._namespaces = namespaces
        self._chance = chance
        self._stack = stack
        self._twins: list[tuple[Twins, Changing, str]] = []
        self._past: list[dict[tuple[str, str], str]] = []

    def begin(self, count: int) -> None:
        """Opens so many watches of each kind."""
        for kind in CHANGING:
            for _ in range(count):
                namespace = self._chance.choice(("", "", *self._namespaces)) if kind.namespaced else ""
                parameters = self._narrowing(kind) | self._start(kind, namespace)
                accept = self._chance.choice(FORMS)
                if "Table" in accept:
                    parameters |= {"includeObject": self._chance.choice(("None", "Metadata", "Object"))}
                path = kind.path(namespace)
                twins = Twins(self._stack, self._sides, path, parameters, accept=accept, custom=kind.custom)
                self._twins.append((twins, kind, namespace))

    def compare(self, marks: dict[tuple[str, str], str]) -> int:
        """All watches have shown the same up to the marks, and lists are the same; the number of events."""
        events = sum(twins.compare(self._mark(marks, kind, namespace)) for twins, kind, namespace in self._twins)
        for kind in CHANGING:
            self._compare_lists(kind)
        self._past.append(marks)
        return events

    def _narrowing(self, kind: Changing) -> dict[str, str]:
        chosen = {}
        if self._chance.random() < 0.4:
            chosen["labelSelector"] = self._chance.choice(LABEL_SELECTORS)
        if self._chance.random() < 0.4:
            chosen["fieldSelector"] = self._chance.choice(kind.fields)
        return chosen

    def _start(self, kind: Changing, namespace: str) -> dict[str, str]:
        """How a watch begins: with the state in one way or another, or at a resourceVersion of the past."""
        started: list[dict[str, str]] = [
            {},
            {"resourceVersion": "0"},
            {"allowWatchBookmarks": "true"},
            {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"},
        ]
        for marks in self._past:
            rv = self._mark(marks, kind, namespace)
            started += [{"resourceVersion": rv}, {"resourceVersion": rv, "allowWatchBookmarks": "1"}]
        return self._chance.choice(started)

    def _mark(self, marks: dict[tuple[str, str], str], kind: Changing, namespace: str) -> str:
        """The resourceVersion of the last mark that a watch of this collection shows."""
        last = self._namespaces[-1] if kind.namespaced else ""
        return marks[kind.plural, namespace or last]

    def _compare_lists(self, kind: Changing) -> None:
        namespace = self._chance.choice(("", *self._namespaces)) if kind.namespaced else ""
        path = kind.path(namespace)
        for accept in self._chance.sample(list(dict.fromkeys(FORMS)), _LISTED_FORMS):
            form = accept.replace("Metadata;", "MetadataList;")
            narrowed = self._narrowing(kind)
            for options in ({}, {"resourceVersion": "0"}, *self._exact(kind, namespace)):
                self._same(kind, path, {**narrowed, **options}, form)
            self._same_pages(kind, path, narrowed, form)

    def _exact(self, kind: Changing, namespace: str) -> list[dict[str, str]]:
        if not self._past:
            return []
        rv = self._mark(self._chance.choice(self._past), kind, namespace)
        return [{"resourceVersion": rv, "resourceVersionMatch": match} for match in ("Exact", "NotOlderThan")]

    def _same(self, kind: Changing, path: str, parameters: dict[str, str], accept: str) -> None:
        direct, through = (self._list(side, path, parameters, accept) for side in self._sides)
        assert self._comparable(direct, kind) == self._comparable(through, kind), (path, parameters, accept)

    def _same_pages(self, kind: Changing, path: str, parameters: dict[str, str], accept: str) -> None:
        """Each side walks with its own tokens; the pages are the same, one by one."""
        tokens = ["", ""]
        limit = {"limit": str(self._chance.randint(1, 4))}
        while True:
            asked = [{**parameters, **limit, **({"continue": token} if token else {})} for token in tokens]
            pages = [self._list(side, path, each, accept) for side, each in zip(self._sides, asked, strict=True)]
            tokens = [page["metadata"].get("continue", "") for page in pages]
            direct, through = (self._comparable(page, kind) for page in pages)
            assert direct == through, (path, asked, accept)
            if not any(tokens):
                return

    def _list(self, side: httpx.Client, path: str, parameters: dict[str, str], accept: str) -> Any:
        answer = side.get(path, params=parameters, headers={"accept": accept})
        assert answer.status_code == 200, (path, parameters, answer.text)
        return answer.json()

    def _comparable(self, listed: Any, kind: Changing) -> Any:
        """As text the order of the members counts too, but in lists of custom resources."""
        comparable = plain(listed)
        return comparable if kind.custom else json.dumps(comparable)


@pytest.mark.parametrize("seed", SEEDS)
def test_watches_and_lists_are_the_same_while_everything_changes(
    real_cluster: RealCluster, sides: Sides, seed: int
) -> None:
    chance = random.Random(seed)
    namespaces = (f"changes-{seed}-a", f"changes-{seed}-b")
    for namespace in namespaces:
        real_cluster.create_namespace(namespace)
    changes = Changes(real_cluster, namespaces, chance)
    with ExitStack() as stack:
        observer = Observer(sides, namespaces, chance, stack)
        changes.play(WRITES)
        changes.mark()
        observer.begin(_BEGUN)
        events = 0
        for _ in range(ROUNDS):
            changes.play(WRITES)
            events = observer.compare(changes.mark())
            observer.begin(2)
        assert events > ROUNDS * WRITES * len(CHANGING), f"only {events} events were compared"
    for namespace in namespaces:
        real_cluster.delete_namespace(namespace)
