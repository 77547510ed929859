"""The fast decision against the specification on one page, on random policies and questions."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from proxy.authn.user import User
from proxy.authz.decision import Attributes, Decision, Denied, Permit, Undecided
from proxy.authz.namespaces import NamespaceLabels
from proxy.authz.rbac import authorize, reads_objects
from proxy.authz.scope import NOTHING, Scope
from proxy.authz.state import AuthorizationState
from proxy.policy.compile import compile_policy
from proxy.policy.model import PolicySet
from tests.property.policy_strategies import (
    NOW,
    label_maps,
    policies,
    questions,
    rbac_policies,
    reads,
    things,
    users,
    worlds,
)
from tests.spec.rbac import Thing, World, kubernetes_allows, visible


def decide(
    policy: PolicySet,
    user: User,
    asked: Attributes,
    labels: Mapping[str, Mapping[str, str]] | None,
    *,
    strict: bool = False,
) -> Decision:
    state = AuthorizationState(
        snapshot=compile_policy(policy),
        namespaces=None if labels is None else NamespaceLabels(labels),
        effective_at=NOW,
        activation=1,
    )
    return authorize(state, user, asked, strict=strict)


class Seen:
    """A thing as a scope looks at it."""

    def __init__(self, thing: Thing, asked: Attributes) -> None:
        self.namespace = thing.place if asked.namespaced else ""
        self.name = thing.name
        self.labels = thing.labels
        self.field = thing.fields.get


def scope_of(decision: Decision) -> Scope:
    match decision:
        case Permit():
            return decision.scope
        case Denied():
            return NOTHING
        case Undecided():
            raise AssertionError("labels were given")


@given(rbac_policies, users, questions, st.booleans())
def test_everything_is_permitted_exactly_where_kubernetes_allows(
    policy: PolicySet, user: User, asked: Attributes, strict: bool
) -> None:
    decision = decide(policy, user, asked, {}, strict=strict)
    assert (isinstance(decision, Permit) and decision.scope.everything) == kubernetes_allows(policy, user, asked)


@given(policies, users, reads, worlds)
def test_a_scope_shows_exactly_the_objects_that_the_specification_shows(
    policy: PolicySet, user: User, asked: Attributes, world: World
) -> None:
    scope = scope_of(decide(policy, user, asked, world.namespaces))
    for thing in things(asked):
        assert scope.matches(thing.place, Seen(thing, asked)) == visible(policy, world, user, asked, thing), thing


@given(policies, users, questions, worlds)
def test_what_is_no_read_of_objects_is_permitted_as_a_whole_or_denied(
    policy: PolicySet, user: User, asked: Attributes, world: World
) -> None:
    decision = decide(policy, user, asked, world.namespaces)
    assert reads_objects(asked) or scope_of(decision).everything or isinstance(decision, Denied)


@given(policies, users, reads, worlds)
def test_strict_refuses_exactly_the_lists_and_watches_that_are_not_whole(
    policy: PolicySet, user: User, asked: Attributes, world: World
) -> None:
    scope = scope_of(decide(policy, user, asked, world.namespaces))
    strict = decide(policy, user, asked, world.namespaces, strict=True)
    if asked.verb == "get" or scope.everything:
        assert scope_of(strict) == scope
    else:
        assert isinstance(strict, Denied)


@given(policies, users, reads, worlds)
def test_every_visible_object_has_one_of_the_index_keys(
    policy: PolicySet, user: User, asked: Attributes, world: World
) -> None:
    scope = scope_of(decide(policy, user, asked, world.namespaces))
    is_namespace = (asked.api_group, asked.resource) == ("", "namespaces")
    keys = scope.index_keys(namespace_is_name=is_namespace)
    if keys is None or (asked.namespace and not asked.namespaced):
        return
    for thing in things(asked):
        seen = Seen(thing, asked)
        fields = {**thing.fields, "metadata.namespace": seen.namespace, "metadata.name": seen.name}
        if scope.matches(thing.place, seen):
            assert keys & set(fields.items()), thing


@given(policies, users, reads, st.dictionaries(st.sampled_from(["a", "b", "team-b"]), label_maps), st.booleans())
def test_an_answer_without_namespace_labels_is_the_answer_with_any(
    policy: PolicySet, user: User, asked: Attributes, labels: dict[str, dict[str, str]], strict: bool
) -> None:
    """The reason may name another binding: the first of those that are known to hold."""
    without = decide(policy, user, asked, None, strict=strict)
    if not isinstance(without, Undecided):
        assert scope_of(decide(policy, user, asked, labels, strict=strict)) == scope_of(without)


@given(policies, users, questions, worlds, st.randoms(use_true_random=False))
def test_the_order_of_files_changes_nothing(
    policy: PolicySet, user: User, asked: Attributes, world: World, shuffle: random.Random
) -> None:
    shuffled = PolicySet(
        roles=tuple(shuffle.sample(policy.roles, len(policy.roles))),
        bindings=tuple(shuffle.sample(policy.bindings, len(policy.bindings))),
    )
    assert decide(shuffled, user, asked, world.namespaces) == decide(policy, user, asked, world.namespaces)
    assert compile_policy(shuffled).revision == compile_policy(policy).revision


@given(policies, users, reads, worlds)
def test_one_more_binding_never_hides_anything(policy: PolicySet, user: User, asked: Attributes, world: World) -> None:
    fewer = replace(policy, bindings=policy.bindings[1:])
    before = scope_of(decide(fewer, user, asked, world.namespaces))
    after = scope_of(decide(policy, user, asked, world.namespaces))
    for thing in things(asked):
        seen = Seen(thing, asked)
        assert after.matches(thing.place, seen) or not before.matches(thing.place, seen)
