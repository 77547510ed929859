"""RBAC with scopes: the one place where a question becomes a Permit.

The scope of a get, list or watch is the set of objects for which RBAC allows that verb at the object's own namespace
and name and, where the granting rule has selectors, that match them. All else is plain RBAC, whole or nothing.

INVARIANT: for the rbac/v1 part, a Permit on everything is given exactly where Kubernetes allows
(tests/property/test_rbac_against_spec.py, tests/realkube/test_rbac_differential.py).

Source: k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/rbac.go, pkg/registry/rbac/validation/rule.go
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.api.go_text import quote
from proxy.api.request_info import WATCH_VERBS
from proxy.authn.user import User
from proxy.authz.decision import Attributes, Decision, Permit, Undecided
from proxy.authz.forbidden import denied, missing_roles_reason
from proxy.authz.namespaces import Reached, reached_namespaces, reaches
from proxy.authz.scope import EVERYTHING, Grant
from proxy.authz.state import AuthorizationState
from proxy.authz.union import ANYWHERE, union_of
from proxy.authz.variables import ValueOf, bind_names, bind_selectors, variables_of
from proxy.policy.model import SubjectKind
from proxy.policy.namespace_set import NamespaceSet
from proxy.policy.snapshot import (
    PREFIX_URLS,
    Applicable,
    BoundRole,
    Capture,
    CompiledRule,
    Reach,
    RoleTable,
    RuleKey,
    SubjectGrants,
    resource_keys,
)

NOWHERE = NamespaceSet()
UNKNOWN_LABELS = "the labels of namespaces, on which the answer depends, are not known"


def authorize(state: AuthorizationState, user: User, attributes: Attributes, *, strict: bool) -> Decision:
    """Decides a question. `strict`: a list or watch that is not allowed as a whole is refused, as Kubernetes does."""
    applicable = state.snapshot.applicable(user.name, user.groups)
    search = _Search(state, user, attributes)
    search.look(applicable)
    whole_only = strict and attributes.verb in ("list", "watch")
    if search.whole is not None:
        reason = _allowed_by(search.whole)
        return Permit(user=user, attributes=attributes, scope=EVERYTHING, activation=state.activation, reason=reason)
    if search.lacks_labels and not (whole_only and not attributes.namespace):
        return Undecided(message=UNKNOWN_LABELS)
    if search.first is not None and not whole_only:
        return Permit(
            user=user,
            attributes=attributes,
            scope=union_of(search.parts),
            activation=state.activation,
            reason=_allowed_by(search.first),
        )
    return denied(user, attributes, _missing_roles(applicable, attributes.namespace))


def reads_objects(attributes: Attributes) -> bool:
    """True for the questions that are answered with a scope: get, list and watch of whole objects."""
    return (
        attributes.is_resource_request
        and attributes.verb in WATCH_VERBS
        and not attributes.subresource
        and "/" not in attributes.resource
    )


def is_namespaces(attributes: Attributes) -> bool:
    """True for the resource whose objects' RBAC namespace is their own name."""
    return attributes.resource == "namespaces" and not attributes.api_group


class _Search:
    """What the rules looked at so far give: the first binding that grants all that is asked, and grants of parts.

    `first` is the first binding among those of the parts.
    """

    __slots__ = (
        "_attributes",
        "_crosses_namespaces",
        "_is_namespaces",
        "_keys",
        "_reads",
        "_state",
        "_user",
        "first",
        "lacks_labels",
        "parts",
        "whole",
    )

    def __init__(self, state: AuthorizationState, user: User, attributes: Attributes) -> None:
        self._state = state
        self._user = user
        self._attributes = attributes
        self._reads = reads_objects(attributes)
        self._is_namespaces = self._reads and is_namespaces(attributes)
        self._crosses_namespaces = (
            self._reads and not attributes.namespace and (attributes.namespaced or self._is_namespaces)
        )
        keys: Sequence[RuleKey] = (
            resource_keys(attributes.api_group, attributes.resource, attributes.subresource)
            if attributes.is_resource_request
            else [attributes.path, PREFIX_URLS]
        )
        named = state.snapshot.rule_keys
        self._keys = [key for key in keys if key in named]
        self.whole: BoundRole | None = None
        self.first: BoundRole | None = None
        self.parts: list[Grant] = []
        self.lacks_labels = False

    def look(self, applicable: Sequence[Applicable]) -> None:
        """Adds what each subject was granted."""
        if not self._keys:
            return
        for each in applicable:
            for table in self._tables(each.grants):
                if table.bounds:
                    self._look_in(table, each.capture)

    def _tables(self, grants: SubjectGrants) -> Sequence[RoleTable]:
        """The tables of a subject in which a role may hold for the question."""
        namespace = self._attributes.namespace
        if not self._attributes.is_resource_request:
            return (grants.cluster,)
        if namespace:
            here = grants.by_namespace.get(namespace)
            return (grants.cluster, grants.reaching) if here is None else (grants.cluster, here, grants.reaching)
        return (
            (grants.cluster, grants.in_namespaces, grants.reaching) if self._crosses_namespaces else (grants.cluster,)
        )

    def _look_in(self, table: RoleTable, capture: Capture | None) -> None:
        verb, whole, now = self._attributes.verb, self.whole, self._state.effective_at
        for bound, rule in table.matching(self._keys):
            if (
                (rule.any_verb or verb in rule.verbs)
                and (bound.expires is None or bound.expires > now)
                and (whole is None or bound.order < whole.order)
            ):
                names = rule.resource_names
                if names is not None and rule.has_name_templates:
                    names = bind_names(names, variables_of(self._user, capture))
                    if names is None:
                        continue
                if self._allows(rule, names):
                    self._add(bound, rule, names, variables_of(self._user, capture))
                    whole = self.whole

    def _allows(self, rule: CompiledRule, names: frozenset[str] | None) -> bool:
        """Whether a rule with the right verb, for objects of these names, holds for at least a part of the question."""
        attributes = self._attributes
        if not attributes.is_resource_request:
            return rule.allows_path(attributes.path)
        if rule.is_scoped and not self._reads:
            return False
        if names is None or attributes.name in names:
            return True
        return self._reads and not attributes.name

    def _add(self, bound: BoundRole, rule: CompiledRule, names: frozenset[str] | None, value_of: ValueOf) -> None:
        fields, labels = rule.field_selector, rule.label_selector
        if rule.is_templated:
            selectors = bind_selectors(fields, labels, value_of)
            if selectors is None:
                return
            fields, labels = selectors
        namespaces = None if bound.reach is None else self._namespaces(bound.reach, value_of)
        if names is not None and self._attributes.name in names:  # upstream's "" among them matches a nameless request
            names = None
        if self._is_namespaces:
            namespaces, names = self._by_own_name(namespaces, names)
        if namespaces is None and names is None and fields is None and labels is None:
            self.whole = bound
        elif namespaces is None or not namespaces.is_empty:
            self.parts.append(Grant(namespaces=namespaces, names=names, field_selector=fields, label_selector=labels))
            if self.first is None or bound.order < self.first.order:
                self.first = bound

    def _namespaces(self, reach: Reach, value_of: ValueOf) -> NamespaceSet | None:
        """The namespaces where a binding holds, as far as the request leaves them open; None for no condition."""
        namespace = self._attributes.namespace
        if reach.is_explicit:  # with a namespace in the request it was found under that
            return None if namespace else reach.named
        if not namespace:
            reached = reached_namespaces(reach, self._state.namespaces, value_of)
            if reached is None:
                self.lacks_labels = True
                return NOWHERE
            return None if ANYWHERE in reached.globs else reached
        match reaches(reach, namespace, self._state.namespaces, value_of):
            case Reached.YES:
                return None
            case Reached.UNKNOWN:
                self.lacks_labels = True
                return NOWHERE
            case Reached.NO:
                return NOWHERE

    def _by_own_name(
        self, namespaces: NamespaceSet | None, names: frozenset[str] | None
    ) -> tuple[NamespaceSet | None, None]:
        """Both conditions on a Namespace as one, since its name is its namespace."""
        name, namespace = self._attributes.name, self._attributes.namespace
        candidates = frozenset({name}) if name and namespaces is not None else names
        if candidates is None:
            return namespaces, None
        return NamespaceSet(
            frozenset(
                candidate
                for candidate in candidates
                if namespace in ("", candidate) and (namespaces is None or candidate in namespaces)
            )
        ), None


def _missing_roles(applicable: list[Applicable], namespace: str) -> str:
    named = [role for each in applicable for role in each.grants.missing_roles]
    if not named:
        return ""
    missing = [role for role in named if role.namespace in ("", namespace)]
    return missing_roles_reason(role.message for role in sorted(missing, key=lambda role: role.order))


def _allowed_by(bound: BoundRole) -> str:
    """Source: rule.go clusterRoleBindingDescriber, roleBindingDescriber and describeSubject."""
    binding, subject = bound.binding, bound.subject
    name = f"{binding.name}/{binding.namespace}" if binding.namespace else binding.name
    who = subject.name
    if subject.kind is SubjectKind.SERVICE_ACCOUNT:
        who = f"{subject.name}/{subject.namespace or binding.namespace}"
    role = f"{binding.role_ref.kind} {quote(binding.role_ref.name)}"
    return f"RBAC: allowed by {binding.kind} {quote(name)} of {role} to {subject.kind.value} {quote(who)}"
