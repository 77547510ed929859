"""Reviews answered from the policy: what may somebody do, and what may the caller do at all.

A caller who asks about itself is told yes where a filtered answer would come: that is what it would get. Who asks
about somebody else is mostly another server, which will then show everything that was asked about. It is told yes
only where that is allowed whole.

Source: k8s.io/kubernetes/pkg/registry/authorization; pkg/registry/rbac/validation/rule.go VisitRulesFor
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias, assert_never

from proxy.api.review_validation import selector_errors
from proxy.api.reviews import (
    AccessSpec,
    AccessStatus,
    NonResourceRule,
    ResourceRule,
    RulesStatus,
    SelfAccessSpec,
    SelfStatus,
    UserInfo,
)
from proxy.authn.user import User
from proxy.authz.decision import Attributes, Decision, Denied, Permit, Undecided
from proxy.authz.namespaces import Reached, reaches
from proxy.authz.rbac import UNKNOWN_LABELS
from proxy.authz.state import AuthorizationState
from proxy.authz.variables import ValueOf, bind_names, bind_selectors, variables_of
from proxy.policy.model import Dialect, PolicyRule
from proxy.policy.snapshot import BoundRole, PolicySnapshot, RoleTable
from proxy.policy.templates import is_template

_NO_ROLES = RoleTable(())
FILTERED = "only a part of what was asked is visible"


def reviewed_user(spec: AccessSpec) -> User:
    """The user a SubjectAccessReview is about, taken literally: no group is added."""
    return User(
        name=spec.user,
        uid=spec.uid,
        groups=spec.groups,
        extra=tuple(sorted(spec.extra.items())),
    )


def reviewed_attributes(spec: SelfAccessSpec) -> Attributes:
    """The question of a valid spec, for a resource that is not namespaced. Its selectors mean nothing, as to RBAC."""
    resource, path = spec.resourceAttributes, spec.nonResourceAttributes
    if resource is None:
        assert path is not None, "a valid spec has one of the two"
        return Attributes(verb=path.verb, is_resource_request=False, path=path.path)
    return Attributes(
        verb=resource.verb,
        is_resource_request=True,
        api_group=resource.group,
        api_version=resource.version or "*",
        resource=resource.resource,
        subresource=resource.subresource,
        namespace=resource.namespace,
        name=resource.name,
    )


def access_status(decision: Decision, spec: SelfAccessSpec) -> AccessStatus:
    """What the decision on the question of `spec` is in a review. What nobody can tell yet is not allowed."""
    problem = selector_errors(spec.resourceAttributes) if spec.resourceAttributes is not None else ""
    match decision:
        case Permit(scope=scope, reason=reason) if scope.everything:
            return AccessStatus(allowed=True, reason=reason, evaluationError=problem)
        case Permit() if isinstance(spec, AccessSpec):
            return AccessStatus(allowed=False, reason=FILTERED, evaluationError=problem)
        case Permit(reason=reason):
            return AccessStatus(allowed=True, reason=f"{reason}; {FILTERED}", evaluationError=problem)
        case Denied(reason=reason):
            return AccessStatus(allowed=False, reason=reason, evaluationError=problem)
        case Undecided(message=message):
            return AccessStatus(allowed=False, evaluationError="; ".join(filter(None, (message, problem))))
        case _:
            assert_never(decision)


def self_status(user: User) -> SelfStatus:
    """Who the caller is."""
    return SelfStatus(user_info(user))


def user_info(user: User) -> UserInfo:
    """A user as reviews show one."""
    return UserInfo(username=user.name, uid=user.uid, groups=user.groups, extra=dict(user.extra))


def rules_status(state: AuthorizationState, user: User, namespace: str) -> RulesStatus:
    """All rules that hold for a user in a namespace, in the order of their bindings, cluster-wide ones first.

    A rule with selectors stands there without them, as there is no place for them: it is true of a part of its objects.
    Upstream shows the paths of a role that is bound in a namespace, too, though they are not granted by that.
    """
    applying, is_complete = _applying(state, user, namespace)
    rules = list(_rules(state.snapshot, applying))
    return RulesStatus(
        resourceRules=tuple(
            ResourceRule(
                verbs=rule.verbs,
                apiGroups=rule.api_groups,
                resources=rule.resources,
                resourceNames=rule.resource_names,
            )
            for _, rule in rules
            if rule.resources
        ),
        nonResourceRules=tuple(
            NonResourceRule(verbs=rule.verbs, nonResourceURLs=rule.non_resource_urls)
            for bound, rule in rules
            if rule.non_resource_urls and bound.reach is None
        ),
        incomplete=not is_complete,
        evaluationError="" if is_complete else UNKNOWN_LABELS,
    )


_Applying: TypeAlias = list[tuple[BoundRole, ValueOf]]


def _applying(state: AuthorizationState, user: User, namespace: str) -> tuple[_Applying, bool]:
    """The bindings that hold for a user in a namespace, each once, and whether these are all for sure."""
    found: dict[int, tuple[BoundRole, ValueOf]] = {}
    is_complete = True
    for applicable in state.snapshot.applicable(user.name, user.groups):
        grants, value_of = applicable.grants, variables_of(user, applicable.capture)
        in_namespace = grants.by_namespace.get(namespace, _NO_ROLES)
        for bound in (*grants.cluster.bounds, *in_namespace.bounds, *grants.reaching.bounds):
            if bound.expires is not None and bound.expires <= state.effective_at:
                continue
            if bound.reach is not None and not bound.reach.is_explicit:
                reached = reaches(bound.reach, namespace, state.namespaces, value_of)
                is_complete = is_complete and reached is not Reached.UNKNOWN
                if reached is not Reached.YES:
                    continue
            found.setdefault(bound.order[0], (bound, value_of))
    return [found[order] for order in sorted(found)], is_complete


def _rules(snapshot: PolicySnapshot, applying: _Applying) -> Iterator[tuple[BoundRole, PolicyRule]]:
    """The rules of each role with this user's names, without those whose templates have no value for this user."""
    wanted = {_role_key(bound) for bound, _ in applying}
    roles = {
        key: role.rules
        for role in snapshot.policy.roles
        if (key := (role.dialect, role.kind, role.namespace, role.name)) in wanted
    }
    for bound, value_of in applying:
        for rule in roles[_role_key(bound)]:
            if rule.is_scoped and bind_selectors(rule.field_selector, rule.label_selector, value_of) is None:
                continue
            if bound.binding.role_ref.dialect is Dialect.WATCHKEEPER and any(map(is_template, rule.resource_names)):
                names = bind_names(rule.resource_names, value_of)
                if names is not None:
                    yield bound, replace(rule, resource_names=tuple(sorted(names)))
            else:
                yield bound, rule


def _role_key(bound: BoundRole) -> tuple[Dialect, str, str, str]:
    reference = bound.binding.role_ref
    namespace = bound.binding.namespace if reference.kind == "Role" else ""
    return reference.dialect, reference.kind, namespace, reference.name
