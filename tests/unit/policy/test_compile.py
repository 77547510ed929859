"""The compiled policy: its revision, its expiries, and who is found in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.policy.compile import compile_policy
from proxy.policy.model import Dialect, PolicySet, Position
from proxy.policy.snapshot import RoleTable
from tests.support.policies import (
    binding,
    fields,
    group_subject,
    labels,
    policy,
    role,
    rule,
    service_account,
    user_subject,
)

POLICY = policy(
    role("view", rule("get list", "pods")),
    role("view", rule("get", "pods"), namespace="a"),
    binding("one", "view", user_subject("alice")),
    binding("two", "view", group_subject("dev"), namespace="a", kind="Role"),
)


def names_in(table: RoleTable) -> list[str]:
    return [bound.binding.name for bound in table.bounds]


def test_the_revision_is_the_same_on_every_machine() -> None:
    """A fixed value: replicas and restarts compare revisions, so a new way to compute it is a change to notice."""
    assert compile_policy(POLICY).revision == compile_policy(POLICY).revision
    assert len(compile_policy(POLICY).revision) == 16
    assert compile_policy(PolicySet()).revision == "e3b0c44298fc1c14"


def test_the_revision_does_not_depend_on_files_order_or_positions() -> None:
    elsewhere = Position("other.yaml", 7, 7)
    moved = PolicySet(
        roles=tuple(replace(each, position=elsewhere) for each in reversed(POLICY.roles)),
        bindings=tuple(replace(each, position=elsewhere) for each in reversed(POLICY.bindings)),
    )
    assert compile_policy(moved).revision == compile_policy(POLICY).revision


@pytest.mark.parametrize(
    "other",
    [
        replace(POLICY, roles=POLICY.roles[:1]),
        replace(POLICY, bindings=(POLICY.bindings[0], replace(POLICY.bindings[1], namespace="b"))),
        replace(POLICY, bindings=(POLICY.bindings[0], replace(POLICY.bindings[1], expires=5.0))),
        replace(POLICY, bindings=(POLICY.bindings[0], replace(POLICY.bindings[1], dialect=Dialect.WATCHKEEPER))),
        replace(POLICY, bindings=(replace(POLICY.bindings[0], namespaces=()), POLICY.bindings[1])),
        replace(POLICY, bindings=(replace(POLICY.bindings[0], namespaces=("a",)), POLICY.bindings[1])),
        replace(POLICY, bindings=(replace(POLICY.bindings[0], namespace_selector=labels(a="b")), POLICY.bindings[1])),
        replace(POLICY, bindings=(replace(POLICY.bindings[0], subjects=()), POLICY.bindings[1])),
        replace(POLICY, roles=(replace(POLICY.roles[0], rules=(rule("get", "pods"),)), POLICY.roles[1])),
        replace(
            POLICY,
            roles=(
                replace(POLICY.roles[0], rules=(rule("get list", "pods", fields=fields(spec__nodeName="a")),)),
                POLICY.roles[1],
            ),
        ),
    ],
)
def test_the_revision_changes_with_anything_a_decision_depends_on(other: PolicySet) -> None:
    assert compile_policy(other).revision != compile_policy(POLICY).revision


def test_a_list_of_words_is_not_one_word_with_the_same_letters() -> None:
    """The contents are encoded, not joined: `["a", "b"]` and `["a,b"]` differ."""
    one = policy(role("r", rule("get", "a b")))
    other = policy(role("r", replace(rule("get", "a"), resources=("a,b",))))
    assert compile_policy(one).revision != compile_policy(other).revision


def test_expiries_are_told_in_order_and_once() -> None:
    bindings = [
        binding(name, "view", user_subject("a"), expires=expires)
        for name, expires in {"a": 30.0, "b": 10.0, "c": None, "d": 10.0}.items()
    ]
    snapshot = compile_policy(policy(*bindings))
    assert [snapshot.next_expiry(after) for after in (0.0, 9.9, 10.0, 29.0, 30.0)] == [10.0, 10.0, 30.0, 30.0, None]
    assert compile_policy(PolicySet()).next_expiry(0.0) is None


def test_a_snapshot_tells_which_namespace_labels_it_looks_at() -> None:
    selecting = binding("b", "view", user_subject("a"), namespace_selector=labels(team="a", tier="b"))
    assert compile_policy(policy(selecting)).namespace_label_keys == frozenset({"team", "tier"})
    assert compile_policy(policy(replace(selecting, namespace_selector=None))).namespace_label_keys is None


def test_a_selector_of_every_namespace_still_looks_at_which_there_are() -> None:
    selecting = binding("b", "view", user_subject("a"), namespace_selector=labels())
    assert compile_policy(policy(selecting)).namespace_label_keys == frozenset()


def test_a_service_account_is_found_under_its_user_name() -> None:
    snapshot = compile_policy(
        policy(
            role("view", rule("get", "pods")),
            binding("own", "view", service_account("robot"), namespace="a"),
            binding("named", "view", service_account("robot", "b"), namespace="a"),
            binding("nowhere", "view", service_account("robot")),
        )
    )
    assert set(snapshot.users) == {"system:serviceaccount:a:robot", "system:serviceaccount:b:robot"}


@pytest.mark.parametrize(
    ("user", "captures"),
    [
        ("system:node:n1", [("node", "n1")]),
        ("system:node:a:b", []),
        ("x@dev", [("who", "x")]),
        ("system:node:x@dev", [("node", "x@dev")]),
        ("@dev", []),
        ("", []),
        ("system:node:{node}", [("node", "{node}")]),
    ],
)
def test_a_pattern_is_found_by_what_stands_around_its_capture(user: str, captures: list[tuple[str, str]]) -> None:
    snapshot = compile_policy(
        policy(
            binding("node", "r", user_subject("system:node:{node}"), dialect=Dialect.WATCHKEEPER),
            binding("dev", "r", user_subject("{who}@dev"), dialect=Dialect.WATCHKEEPER),
            binding("literal", "r", user_subject("system:node:{other}")),
        )
    )
    assert [found.capture for found in snapshot.applicable(user, ()) if found.capture] == captures


def test_bindings_of_one_role_are_joined_unless_they_expire() -> None:
    """A team with a binding in each of 10,000 namespaces is one look-up for a list across all of them."""
    snapshot = compile_policy(
        policy(
            role("view", rule("get", "pods")),
            binding("a", "view", group_subject("dev"), namespace="x"),
            binding("b", "view", group_subject("dev"), namespace="y"),
            binding(
                "c",
                "view",
                group_subject("dev"),
                namespace="z",
                expires=5.0,
                dialect=Dialect.WATCHKEEPER,
                role_dialect=Dialect.RBAC,
            ),
        )
    )
    bounds = snapshot.groups["dev"].in_namespaces.bounds
    assert {frozenset(bound.reach.named.names) for bound in bounds if bound.reach} == {
        frozenset({"x", "y"}),
        frozenset({"z"}),
    }
    assert names_in(snapshot.groups["dev"].by_namespace["y"]) == ["b"]


def test_rules_are_found_the_same_in_a_long_table_as_in_a_short_one() -> None:
    """Beyond a few roles a table is indexed; what it finds must not change."""
    roles = [role(f"r{n}", rule("get", f"kind{n} pods")) for n in range(30)]
    bindings = [binding(f"b{n:02}", f"r{n}", user_subject("alice")) for n in range(30)]
    long = compile_policy(policy(*roles, *bindings)).users["alice"].cluster
    keys = [("", "kind7"), ("", "pods"), ("*", "pods")]
    short = [
        compile_policy(policy(each, one)).users["alice"].cluster for each, one in zip(roles, bindings, strict=True)
    ]
    found = [bound.binding.name for bound, _ in long.matching(keys)]
    assert sorted(found) == sorted(bound.binding.name for table in short for bound, _ in table.matching(keys))
    assert len(found) == 31
