"""What may have been in force when: the policies and namespace labels that a right proxy could have filtered by.

A change is not in force at the moment it is written, and a test cannot see when it is. So it keeps, without a clock,
what can be known: an era may be in force from before it is written, until it is *confirmed* that a later one is. An
answer is right when it is right under one world that may have been in force for it.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from proxy.authn.user import AUTHENTICATED_GROUP, User
from proxy.authz.decision import Attributes
from proxy.policy.model import PolicySet
from tests.spec import rbac
from tests.support.identities import Identity
from tests.support.question import Json, Question, scalar_fields

T = TypeVar("T")

Labels = Mapping[str, Mapping[str, str]]


@dataclass(eq=False, slots=True)
class Era(Generic[T]):
    """Something that is in force for a while, from tick `begun` on.

    Once it is confirmed that something later is: nothing asked at tick `over` or later, and nothing at a
    resourceVersion above `over_rv`, can come from this one.
    """

    value: T
    begun: int
    over: int | None = None
    over_rv: int | None = None


class Seen(NamedTuple):
    """When an answer was made, as far as can be known: asked at tick `asked`, here at tick `received`, as of `rv`."""

    asked: int
    received: int
    rv: int | None


class Moment(NamedTuple):
    """A policy at a time: what has expired depends on it."""

    policy: PolicySet
    now: float


@dataclass(frozen=True, slots=True)
class World:
    """A policy at a time, and the labels of namespaces."""

    moment: Era[Moment]
    labels: Era[Labels]


@dataclass(slots=True)
class Worlds:
    """All eras so far. `tick` counts what has begun or was confirmed; any thread may read it."""

    labels: list[Era[Labels]]
    moments: list[Era[Moment]] = field(default_factory=list)
    tick: int = 1
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin_policy(self, policy: PolicySet, expires: float | None) -> None:
        """To be called before the policy is written. `expires` is when its binding with such a time ends."""
        moments = [Moment(policy, 0.0)] if expires is None else [Moment(policy, 0.0), Moment(policy, expires)]
        with self._lock:
            self.moments.extend(Era(moment, self.tick) for moment in moments)
            self.tick += 1

    def begin_labels(self, labels: Labels) -> None:
        """To be called before namespaces are written."""
        with self._lock:
            self.labels.append(Era(labels, self.tick))
            self.tick += 1

    def confirm(self, rv: int, now: float) -> None:
        """The newest of all is in force, since before the write at `rv`; it is `now`."""
        self.confirm_policy(rv, now)
        with self._lock:
            self._end(self.labels[:-1], rv)

    def confirm_policy(self, rv: int, now: float) -> None:
        """The newest policy is in force, since before the write at `rv`; it is `now`."""
        newest = self.moments[-1].value
        with self._lock:
            expired = newest.now <= now
            self._end([each for each in self.moments[:-1] if expired or each.value.policy is not newest.policy], rv)

    def _end(self, eras: Sequence[Era[T]], rv: int) -> None:
        self.tick += 1
        for era in eras:
            if era.over is None:
                era.over, era.over_rv = self.tick, rv

    def possible(self, seen: Seen) -> Iterator[World]:
        """The worlds that may have made an answer, the newest first."""
        labels = [era for era in reversed(self.labels) if _possible(era, seen)]
        for moment in reversed(self.moments):
            if _possible(moment, seen):
                yield from (World(moment, each) for each in labels)


def _possible(era: Era[T], seen: Seen) -> bool:
    return (
        era.begun <= seen.received
        and (era.over is None or era.over > seen.asked)
        and (era.over_rv is None or seen.rv is None or era.over_rv >= seen.rv)
    )


class Judge:
    """Says who may see what in a world, by the specification on one page. Remembers what it said."""

    def __init__(self) -> None:
        self._visible: dict[tuple[object, ...], bool] = {}
        self._may_ask: dict[tuple[object, ...], bool] = {}

    def sees(self, world: World, caller: Identity, question: Question, pod: Json) -> bool:
        """May the caller see this version of a pod, and does the question ask for it?"""
        metadata = pod["metadata"]
        labels = world.labels.value.get(metadata["namespace"])
        labels_of_place = None if labels is None else tuple(sorted(labels.items()))
        version = (metadata["uid"], metadata["resourceVersion"])
        key = (id(world.moment), labels_of_place, caller, question, version)
        if key not in self._visible:
            self._visible[key] = question.concerns(pod) and rbac.visible(
                world.moment.value.policy,
                _spec_world(world),
                _user(caller),
                _attributes(question),
                _thing(pod),
            )
        return self._visible[key]

    def may_ask(self, world: World, caller: Identity, question: Question) -> bool:
        """Is the scope of the question not empty?"""
        key = (id(world.moment), id(world.labels), caller, question)
        if key not in self._may_ask:
            self._may_ask[key] = self._holds_somewhere(world, caller, question)
        return self._may_ask[key]

    def _holds_somewhere(self, world: World, caller: Identity, question: Question) -> bool:
        user, asked, spec_world = _user(caller), _attributes(question), _spec_world(world)
        for binding, rule, capture in rbac.granted(world.moment.value.policy, spec_world, user):
            if not rbac.names_question(rule, asked, ""):
                continue
            if rbac.holds_everywhere(binding):
                return True
            if question.namespace:
                if rbac.holds_in(binding, question.namespace, spec_world, user, capture):
                    return True
            elif binding.namespace_selector is None or any(
                rbac.holds_in(binding, place, spec_world, user, capture) for place in spec_world.namespaces
            ):
                return True  # what is named or matched by a glob is named, be there such a namespace or not
        return False


def _spec_world(world: World) -> rbac.World:
    return rbac.World(namespaces=world.labels.value, now=world.moment.value.now)


def _user(caller: Identity) -> User:
    return User(name=caller.name, groups=(*caller.groups, AUTHENTICATED_GROUP))


def _attributes(question: Question) -> Attributes:
    return Attributes(
        verb="watch", is_resource_request=True, resource="pods", namespace=question.namespace, namespaced=True
    )


def _thing(pod: Json) -> rbac.Thing:
    metadata = pod["metadata"]
    return rbac.Thing(
        place=metadata["namespace"],
        name=metadata["name"],
        labels=metadata.get("labels", {}),
        fields=scalar_fields(pod),
    )
