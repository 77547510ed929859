"""When a watch may resume, told case by case."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proxy.api.groups import GroupVersionResource
from proxy.authz.activations import MAX_REMEMBERED, Activations
from proxy.authz.holdings import MAX_HOLDINGS, Holder, LocalHoldings
from proxy.authz.scope import EVERYTHING, NOTHING, Scope
from proxy.authz.state import AuthorizationState
from proxy.policy.compile import compile_policy
from proxy.policy.model import PolicySet
from tests.support.versions import PODS

NO_POLICY = compile_policy(PolicySet())
ALICE = Holder("alice", PODS.gvr, "", "")
SERVICES = GroupVersionResource("", "v1", "services")


def state(activation: int) -> AuthorizationState:
    return AuthorizationState(snapshot=NO_POLICY, namespaces=None, effective_at=0.0, activation=activation)


def settled(*versions: int) -> Activations:
    """Activations 1, 2, … of pods, settled at these resourceVersions."""
    activations = Activations(LocalHoldings())
    for activation, version in enumerate(versions, 1):
        activations.settle(PODS.gvr, state(activation), version)
    return activations


def under(*scopes: Scope) -> Callable[[AuthorizationState], Scope]:
    """The scope under activation 1, 2, …"""
    return lambda earlier: scopes[earlier.activation - 1]


ALWAYS_EVERYTHING = under(*[EVERYTHING] * 100)


def test_after_a_start_nothing_is_known() -> None:
    activations = settled(10)
    assert not activations.may_resume(ALICE, 9, EVERYTHING, ALWAYS_EVERYTHING)
    assert not activations.may_resume(ALICE, 10, EVERYTHING, ALWAYS_EVERYTHING)


def test_past_the_only_activation_a_stream_resumes() -> None:
    assert settled(10).may_resume(ALICE, 11, EVERYTHING, ALWAYS_EVERYTHING)


def test_a_change_that_leaves_the_scope_as_it_was_disturbs_nobody() -> None:
    assert settled(10, 20).may_resume(ALICE, 15, EVERYTHING, under(EVERYTHING, EVERYTHING))
    assert settled(10, 20).may_resume(ALICE, 20, EVERYTHING, under(EVERYTHING, EVERYTHING))


@pytest.mark.parametrize(("before", "after"), [(EVERYTHING, NOTHING), (NOTHING, EVERYTHING)])
def test_what_was_filtered_before_the_scope_changed_is_not_gone_on_with(before: Scope, after: Scope) -> None:
    assert not settled(10, 20).may_resume(ALICE, 15, after, under(before, after))
    assert not settled(10, 20).may_resume(ALICE, 20, after, under(before, after))
    assert settled(10, 20).may_resume(ALICE, 21, after, under(before, after))


def test_at_the_very_resource_version_of_an_activation_the_scope_last_shown_decides() -> None:
    activations, scopes = settled(10, 20), under(EVERYTHING, NOTHING)
    activations.hand_out(ALICE, EVERYTHING, 20)
    assert not activations.may_resume(ALICE, 20, NOTHING, scopes)
    activations.hand_out(ALICE, NOTHING, 20)
    assert activations.may_resume(ALICE, 20, NOTHING, scopes)


@pytest.mark.parametrize(
    ("listed", "reached", "may"), [(20, 20, True), (18, 25, True), (21, 25, False), (18, 19, False)]
)
def test_where_it_has_to_decide_it_does_for_what_was_shown_here(listed: int, reached: int, may: bool) -> None:
    """Another client of the same caller may hold something of before a restart, filtered by who knows what."""
    activations, scopes = settled(20), under(NOTHING)
    activations.hand_out(ALICE, NOTHING, listed)
    activations.reached(ALICE, NOTHING, reached)
    assert activations.may_resume(ALICE, 20, NOTHING, scopes) is may


def test_a_caller_that_comes_back_with_other_groups_is_caught() -> None:
    """No activation tells of it: the state is the same, the scope of the same name is not."""
    activations = settled(10)
    activations.hand_out(ALICE, NOTHING, 1)
    assert not activations.may_resume(ALICE, 15, EVERYTHING, ALWAYS_EVERYTHING)


def test_what_others_were_shown_is_their_own_affair() -> None:
    activations = settled(10, 20)
    others = (Holder("bob", *ALICE[1:]), ALICE._replace(gvr=SERVICES), ALICE._replace(namespace="a"))
    for other in others:
        activations.hand_out(other, NOTHING, 1)
    assert not activations.may_resume(ALICE, 20, NOTHING, under(EVERYTHING, NOTHING))


def test_resources_are_settled_one_by_one_and_late_news_is_ignored() -> None:
    activations = settled(10)
    assert activations.is_settled(PODS.gvr, state(1))
    assert not activations.is_settled(SERVICES, state(1))
    assert not activations.is_settled(PODS.gvr, state(2))
    activations.settle(PODS.gvr, state(3), 30)
    assert activations.is_settled(PODS.gvr, state(2))
    activations.settle(PODS.gvr, state(2), 99)
    assert not activations.may_resume(ALICE, 40, NOTHING, under(NOTHING, NOTHING, EVERYTHING))


def test_what_was_before_the_remembered_activations_is_unknown() -> None:
    versions = range(10, 10 * (MAX_REMEMBERED + 3), 10)
    activations = settled(*versions)
    oldest = versions[-MAX_REMEMBERED]
    assert not activations.may_resume(ALICE, oldest - 1, EVERYTHING, ALWAYS_EVERYTHING)
    assert activations.may_resume(ALICE, oldest + 1, EVERYTHING, ALWAYS_EVERYTHING)


def test_a_snapshot_older_than_the_scope_is_not_handed_out() -> None:
    activations, scopes = settled(10, 20), under(NOTHING, EVERYTHING)
    assert not activations.may_hand_out(PODS.gvr, 9, EVERYTHING, scopes)
    assert not activations.may_hand_out(PODS.gvr, 19, EVERYTHING, scopes)
    assert activations.may_hand_out(PODS.gvr, 20, EVERYTHING, scopes)
    assert activations.may_hand_out(PODS.gvr, 21, EVERYTHING, scopes)


def test_the_scopes_last_shown_are_bounded_and_the_least_recently_used_go() -> None:
    activations = settled(10)
    activations.hand_out(ALICE, EVERYTHING, 10)
    idle = ALICE._replace(user="idle")
    activations.hand_out(idle, EVERYTHING, 10)
    activations.hand_out(ALICE, EVERYTHING, 10)
    for number in range(MAX_HOLDINGS - 1):
        activations.hand_out(ALICE._replace(user=f"user-{number}"), EVERYTHING, 10)
    assert activations.may_resume(ALICE, 10, EVERYTHING, ALWAYS_EVERYTHING)
    assert not activations.may_resume(idle, 10, EVERYTHING, ALWAYS_EVERYTHING)


def test_a_cache_that_is_older_than_the_scope_is_not_handed_out() -> None:
    """Also not at exactly the resourceVersion of an activation that the scope did not hold at: once the caller is gone
    from the table, what it was shown would be taken for what the scope of that time showed."""
    everything_late = under(NOTHING, NOTHING, EVERYTHING)
    assert not settled(10, 11, 12).may_hand_out(PODS.gvr, 11, EVERYTHING, everything_late)
    assert not settled(10, 11, 12).may_hand_out(PODS.gvr, 10, EVERYTHING, everything_late)
    assert settled(10, 11, 12).may_hand_out(PODS.gvr, 12, EVERYTHING, everything_late)


def test_a_scope_that_is_back_does_not_get_a_cache_of_before_it_was_away() -> None:
    """A stream from there would pass the time of the other scope, and could not be resumed."""
    was_away = under(EVERYTHING, NOTHING, EVERYTHING)
    assert not settled(10, 12, 14).may_hand_out(PODS.gvr, 11, EVERYTHING, was_away)
    assert not settled(10, 10, 14).may_hand_out(PODS.gvr, 10, EVERYTHING, was_away)
    assert settled(10, 12, 14).may_hand_out(PODS.gvr, 14, EVERYTHING, was_away)


def test_after_the_resource_versions_went_back_nothing_is_known_until_it_is_settled_anew() -> None:
    """Else everything would be refused until they are as high as they were."""
    activations = settled(1000)
    activations.hand_out(ALICE, EVERYTHING, 1001)
    activations.forget(PODS.gvr)
    assert not activations.is_settled(PODS.gvr, state(1))
    assert not activations.may_resume(ALICE, 501, EVERYTHING, ALWAYS_EVERYTHING), "what was known stands until then"
    assert not activations.may_hand_out(PODS.gvr, 501, EVERYTHING, ALWAYS_EVERYTHING)
    activations.settle(PODS.gvr, state(1), 500)
    assert activations.is_settled(PODS.gvr, state(1))
    assert activations.may_resume(ALICE, 501, EVERYTHING, ALWAYS_EVERYTHING)
    assert not activations.may_resume(ALICE, 499, EVERYTHING, ALWAYS_EVERYTHING)
    assert not activations.holds(ALICE, EVERYTHING)


def test_a_resource_that_goes_back_takes_no_other_along() -> None:
    activations = settled(10)
    activations.settle(SERVICES, state(1), 10)
    activations.forget(PODS.gvr)
    assert activations.is_settled(SERVICES, state(1))
    activations.forget(GroupVersionResource("", "v1", "never-settled"))


@pytest.mark.parametrize(("namespace", "name"), [("", "web"), ("team-a", ""), ("team-a", "web")])
def test_a_watch_goes_on_from_a_list_that_contains_what_it_asks_for(namespace: str, name: str) -> None:
    """In a cluster where nothing happens the list is at the very resourceVersion of the first activation."""
    activations = settled(10)
    narrower = ALICE._replace(namespace=namespace, name=name)
    assert not activations.may_resume(narrower, 10, EVERYTHING, ALWAYS_EVERYTHING)
    activations.hand_out(ALICE, EVERYTHING, 10)
    assert activations.may_resume(narrower, 10, EVERYTHING, ALWAYS_EVERYTHING)
    activations.hand_out(ALICE, NOTHING, 10)
    assert not activations.may_resume(narrower, 10, EVERYTHING, ALWAYS_EVERYTHING)


def test_a_watch_does_not_go_on_from_a_list_of_less() -> None:
    activations = settled(10)
    activations.hand_out(ALICE._replace(namespace="team-a"), EVERYTHING, 10)
    assert not activations.may_resume(ALICE, 10, EVERYTHING, ALWAYS_EVERYTHING)
    assert not activations.may_resume(ALICE._replace(namespace="team-b"), 10, EVERYTHING, ALWAYS_EVERYTHING)
