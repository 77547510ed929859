"""An explanation agrees with the decision it explains."""

from __future__ import annotations

from hypothesis import given

from proxy.authn.user import User
from proxy.authz.decision import Attributes, Permit
from proxy.authz.namespaces import NamespaceLabels
from proxy.authz.rbac import authorize
from proxy.authz.state import AuthorizationState
from proxy.policy.compile import compile_policy
from proxy.policy.model import PolicySet
from proxy.policytools.explain import explain, explanation_lines
from tests.property.policy_strategies import NOW, policies, questions, users, worlds
from tests.spec.rbac import World


@given(policies, users, questions, worlds)
def test_some_rule_applies_exactly_where_the_answer_is_yes(
    policy: PolicySet, user: User, asked: Attributes, world: World
) -> None:
    state = AuthorizationState(
        snapshot=compile_policy(policy),
        namespaces=NamespaceLabels(world.namespaces),
        effective_at=NOW,
        activation=1,
    )
    explanation = explain(state, user, asked)
    readings = [reading for binding in explanation.bindings for reading in binding.rules]
    applying = [reading for reading in readings if not reading.scope.is_empty]
    decision = authorize(state, user, asked, strict=False)
    assert bool(applying) == isinstance(decision, Permit) == explanation.answer.allowed
    assert all(bool(reading.why_not) == reading.scope.is_empty for reading in readings)
    assert len(explanation.bindings) + explanation.others == len(policy.bindings)
    if isinstance(decision, Permit):
        assert decision.scope.everything == any(reading.scope.everything for reading in applying)
    assert all(line.isprintable() for line in explanation_lines(explanation))
