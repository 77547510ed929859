"""Aggregation collects the same rules as Kubernetes' controller."""

from __future__ import annotations

from proxy.api.selectors import LabelOperator, LabelRequirement, LabelSelector
from proxy.policy.aggregation import aggregate
from proxy.policy.model import Dialect, PolicyRule, PolicySet, Position, Role

HERE = Position("p.yaml", 1, 1)
ELSEWHERE = Position("q.yaml", 7, 1)


def rule(name: str, position: Position = HERE) -> PolicyRule:
    return PolicyRule(verbs=("get",), api_groups=("",), resources=(name,), position=position)


def to(*targets: str) -> LabelSelector:
    return LabelSelector((LabelRequirement("to", LabelOperator.IN, tuple(sorted(targets))),))


def role(
    name: str,
    *rules: PolicyRule,
    label: str = "",
    collects: tuple[LabelSelector, ...] | None = None,
    dialect: Dialect = Dialect.RBAC,
    namespace: str = "",
) -> Role:
    return Role(
        dialect=dialect,
        namespace=namespace,
        name=name,
        labels=(("to", label),) if label else (),
        rules=rules,
        aggregation=collects,
        position=HERE,
    )


def collected(*roles: Role) -> dict[str, list[str]]:
    policy = aggregate(PolicySet(roles=roles))
    assert [found.name for found in policy.roles] == [given.name for given in roles]
    return {found.name: [rule.resources[0] for rule in found.rules] for found in policy.roles}


def test_matching_roles_give_their_rules_by_name_in_the_order_of_the_selectors() -> None:
    rules = collected(
        role("all", collects=(to("second"), to("first"))),
        role("z", rule("z1"), rule("z2"), label="first"),
        role("b", rule("b"), label="second"),
        role("a", rule("a"), label="second"),
        role("other", rule("other"), label="third"),
    )
    assert rules["all"] == ["a", "b", "z1", "z2"]
    assert rules["z"] == ["z1", "z2"]


def test_equal_rules_are_collected_once_wherever_they_stand() -> None:
    rules = collected(
        role("all", collects=(to("x"), LabelSelector(()))),
        role("a", rule("pods"), label="x"),
        role("b", rule("pods", ELSEWHERE), rule("nodes"), label="x"),
    )
    assert rules["all"] == ["pods", "nodes"]


def test_aggregation_is_followed_to_the_end() -> None:
    rules = collected(
        role("admin", collects=(to("admin"),)),
        role("edit", label="admin", collects=(to("edit"),)),
        role("view", label="edit", collects=(to("view"),)),
        role("pods", rule("pods"), label="view"),
    )
    assert rules == {"admin": ["pods"], "edit": ["pods"], "view": ["pods"], "pods": ["pods"]}


def test_roles_that_collect_each_other_end_with_the_same_rules() -> None:
    everything = (LabelSelector(()),)
    rules = collected(
        role("a", collects=everything),
        role("b", collects=everything),
        role("c", rule("pods")),
        role("d", rule("nodes")),
    )
    assert set(rules["a"]) == set(rules["b"]) == {"pods", "nodes"}


def test_a_role_does_not_collect_itself_nor_keep_written_rules() -> None:
    assert collected(role("a", rule("secrets"), label="x", collects=(to("x"),)))["a"] == []


def test_written_rules_of_an_aggregated_role_are_not_collected_by_others() -> None:
    rules = collected(role("a", collects=(to("x"),)), role("b", rule("secrets"), label="x", collects=(to("nothing"),)))
    assert rules == {"a": [], "b": []}


def test_only_cluster_roles_of_the_same_group_are_collected() -> None:
    watchkeeper = role("a", rule("scoped"), label="x", dialect=Dialect.WATCHKEEPER)
    namespaced = role("c", rule("secrets"), label="x", namespace="ns")
    rules = collected(role("all", collects=(to("x"),)), watchkeeper, role("b", rule("pods"), label="x"), namespaced)
    assert rules["all"] == ["pods"]
    other = role("all", collects=(to("x"),), dialect=Dialect.WATCHKEEPER)
    assert collected(other, watchkeeper, role("b", rule("pods"), label="x"))["all"] == ["scoped"]


def test_aggregating_twice_changes_nothing() -> None:
    once = aggregate(PolicySet(roles=(role("all", collects=(to("x"),)), role("a", rule("pods"), label="x"))))
    assert aggregate(once) == once


def test_the_order_of_roles_means_nothing() -> None:
    roles = [
        role("admin", collects=(to("admin", "edit"), to("view"))),
        role("edit", label="admin", collects=(to("edit"),)),
        role("b", rule("pods"), label="edit"),
        role("a", rule("nodes"), label="view"),
    ]
    assert collected(*roles) == collected(*reversed(roles))
