"""`explain`: which rules were looked at for a question, why each did or did not apply, and the scope.

Each rule is judged by the real decision on a policy that holds nothing but this rule and its binding, so that the
explanation cannot disagree with the answer (tests/property/test_explain_against_decision.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from proxy.api.go_text import quote
from proxy.authn.user import User
from proxy.authz.decision import Attributes, Denied, Permit, Undecided
from proxy.authz.rbac import UNKNOWN_LABELS, authorize
from proxy.authz.scope import NOTHING, Scope
from proxy.authz.state import AuthorizationState
from proxy.policy.compile import compile_policy
from proxy.policy.model import Binding, PolicyRule, PolicySet, Role, Subject
from proxy.policytools.answer import Answer, ask, scope_document
from proxy.policytools.mismatch import mismatch


@dataclass(frozen=True, slots=True)
class RuleReading:
    """What one rule gives: its part of the scope, or nothing and why."""

    rule: PolicyRule
    scope: Scope
    why_not: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingReading:
    """A binding that names the user as `subject`. `why_not` is set when none of its rules was looked at."""

    binding: Binding
    subject: Subject
    rules: tuple[RuleReading, ...]
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer and how it came about. `others` counts the bindings that do not name the user."""

    user: User
    attributes: Attributes
    answer: Answer
    bindings: tuple[BindingReading, ...]
    others: int


def explain(state: AuthorizationState, user: User, attributes: Attributes) -> Explanation:
    """Looks at every rule of every binding that names the user, cluster-wide bindings first."""
    policy = state.snapshot.policy
    roles = {(role.dialect, role.kind, role.namespace, role.name): role for role in policy.roles}
    readings: list[BindingReading] = []
    for binding in sorted(policy.bindings, key=lambda binding: (binding.namespace, binding.name)):
        found = _subject(binding, user)
        if found is not None:
            subject, capture = found
            reference = binding.role_ref
            namespace = binding.namespace if reference.kind == "Role" else ""
            role = roles.get((reference.dialect, reference.kind, namespace, reference.name))
            readings.append(_read_binding(state, binding, subject, capture, role, user, attributes))
    return Explanation(
        user=user,
        attributes=attributes,
        answer=ask(state, user, attributes),
        bindings=tuple(readings),
        others=len(policy.bindings) - len(readings),
    )


def _subject(binding: Binding, user: User) -> tuple[Subject, tuple[str, str] | None] | None:
    """The first subject that the user is, and its capture."""
    for subject in binding.subjects:
        alone = compile_policy(PolicySet(bindings=(replace(binding, subjects=(subject,)),)))
        for applicable in alone.applicable(user.name, user.groups):
            return subject, applicable.capture
    return None


def _read_binding(
    state: AuthorizationState,
    binding: Binding,
    subject: Subject,
    capture: tuple[str, str] | None,
    role: Role | None,
    user: User,
    attributes: Attributes,
) -> BindingReading:
    if role is None:
        return BindingReading(binding=binding, subject=subject, rules=(), why_not="its role does not exist")
    if binding.expires is not None and binding.expires <= state.effective_at:
        return BindingReading(binding=binding, subject=subject, rules=(), why_not="it has expired")
    rules = []
    for rule in role.rules:
        alone = PolicySet(roles=(replace(role, rules=(rule,)),), bindings=(binding,))
        decision = authorize(replace(state, snapshot=compile_policy(alone)), user, attributes, strict=False)
        match decision:
            case Permit():
                rules.append(RuleReading(rule, decision.scope, ""))
            case Denied():
                rules.append(RuleReading(rule, NOTHING, mismatch(binding, rule, user, capture, attributes)))
            case Undecided():
                rules.append(RuleReading(rule, NOTHING, UNKNOWN_LABELS))
    return BindingReading(binding=binding, subject=subject, rules=tuple(rules))


def explanation_lines(explanation: Explanation) -> Iterator[str]:
    """The explanation as text, the answer last."""
    yield f"question: {_question(explanation.attributes)}"
    groups = ", ".join(explanation.user.groups)
    yield f"user: {explanation.user.name}" + (f", groups {groups}" if groups else "")
    for reading in explanation.bindings:
        yield from _binding_lines(reading)
    yield f"bindings that do not name this user: {explanation.others}"
    answer = explanation.answer
    yield "answer: " + (("yes (filtered)" if answer.filtered else "yes") if answer.allowed else "no")
    yield f"reason: {answer.reason}"
    yield from _scope_lines("scope: ", answer.scope)


def _binding_lines(reading: BindingReading) -> Iterator[str]:
    binding, subject = reading.binding, reading.subject
    where = f" in namespace {binding.namespace}" if binding.namespace else ""
    yield f"{binding.kind} {binding.name}{where} ({binding.position}), names {subject.kind.value} {quote(subject.name)}"
    reference = binding.role_ref
    yield f"  gives {reference.kind} {reference.name}" + (f": {reading.why_not}" if reading.why_not else "")
    for rule in reading.rules:
        if rule.why_not:
            yield f"    rule {rule.rule.position}: does not apply: {rule.why_not}"
        else:
            yield from _scope_lines(f"    rule {rule.rule.position}: applies: ", rule.scope)


def _scope_lines(label: str, scope: Scope) -> Iterator[str]:
    document = scope_document(scope)
    if not isinstance(document, list):
        yield label + (document or "nothing")
        return
    for grant in document:
        conditions = [
            f"{name} {', '.join(value) if isinstance(value, list) else value}" for name, value in grant.items()
        ]
        yield label + "; ".join(conditions)
        label = " " * (len(label) - 3) + "or "


def _question(attributes: Attributes) -> str:
    if not attributes.is_resource_request:
        return f"{attributes.verb} {attributes.path}"
    resource = "/".join(filter(None, (attributes.resource, attributes.subresource)))
    group = f' in API group "{attributes.api_group}"'
    name = f" named {attributes.name}" if attributes.name else ""
    if attributes.namespace:
        where = f" in namespace {attributes.namespace}"
    else:
        where = " across all namespaces" if attributes.namespaced else " at the cluster scope"
    return f"{attributes.verb} {resource}{name}{group}{where}"
