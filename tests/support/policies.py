"""Short ways to write policy objects, users and questions in tests."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.api.selectors import FieldSelector, FieldTerm, LabelOperator, LabelRequirement, LabelSelector
from proxy.authz.decision import Attributes
from proxy.policy.model import (
    Binding,
    Dialect,
    PolicyRule,
    PolicySet,
    Position,
    Role,
    RoleRef,
    Subject,
    SubjectKind,
)

HERE = Position("policy.yaml", 1, 1)
CLUSTER_SCOPED = frozenset({"nodes", "namespaces"})


def rule(
    verbs: str,
    resources: str = "",
    *,
    groups: Sequence[str] = ("",),
    names: Sequence[str] = (),
    urls: str = "",
    fields: FieldSelector | None = None,
    labels: LabelSelector | None = None,
) -> PolicyRule:
    """A rule; `verbs`, `resources` and `urls` are words with spaces between."""
    return PolicyRule(
        verbs=tuple(verbs.split()),
        api_groups=tuple(groups) if resources else (),
        resources=tuple(resources.split()),
        resource_names=tuple(names),
        non_resource_urls=tuple(urls.split()),
        field_selector=fields,
        label_selector=labels,
        position=HERE,
    )


def fields(**terms: str) -> FieldSelector:
    """Equalities; `__` in a keyword is a dot of the path."""
    return FieldSelector(tuple(FieldTerm(path.replace("__", "."), False, value) for path, value in terms.items()))


def labels(**values: str) -> LabelSelector:
    """Equalities."""
    return LabelSelector(tuple(LabelRequirement(key, LabelOperator.IN, (value,)) for key, value in values.items()))


def role(name: str, *rules: PolicyRule, namespace: str = "", dialect: Dialect = Dialect.RBAC) -> Role:
    """A ClusterRole, or a Role when a namespace is given."""
    return Role(
        dialect=dialect, namespace=namespace, name=name, labels=(), rules=rules, aggregation=None, position=HERE
    )


def user_subject(name: str) -> Subject:
    """A User subject."""
    return Subject(kind=SubjectKind.USER, name=name, position=HERE)


def group_subject(name: str) -> Subject:
    """A Group subject."""
    return Subject(kind=SubjectKind.GROUP, name=name, position=HERE)


def service_account(name: str, namespace: str = "") -> Subject:
    """A ServiceAccount subject."""
    return Subject(kind=SubjectKind.SERVICE_ACCOUNT, name=name, namespace=namespace, position=HERE)


def binding(
    name: str,
    role_name: str,
    *subjects: Subject,
    namespace: str = "",
    kind: str = "ClusterRole",
    dialect: Dialect = Dialect.RBAC,
    role_dialect: Dialect | None = None,
    namespaces: Sequence[str] | None = None,
    namespace_selector: LabelSelector | None = None,
    expires: float | None = None,
) -> Binding:
    """A ClusterRoleBinding, or a RoleBinding when a namespace is given."""
    return Binding(
        dialect=dialect,
        namespace=namespace,
        name=name,
        subjects=subjects,
        role_ref=RoleRef(dialect=role_dialect or dialect, kind=kind, name=role_name, position=HERE),
        namespaces=None if namespaces is None else tuple(namespaces),
        namespace_selector=namespace_selector,
        expires=expires,
        position=HERE,
    )


def policy(*objects: Role | Binding) -> PolicySet:
    """A policy of roles and bindings in any order."""
    return PolicySet(
        roles=tuple(each for each in objects if isinstance(each, Role)),
        bindings=tuple(each for each in objects if isinstance(each, Binding)),
    )


def asking(
    verb: str, resource: str, *, group: str = "", namespace: str = "", name: str = "", subresource: str = ""
) -> Attributes:
    """A question about a resource; nodes and namespaces are cluster-scoped, all others are namespaced."""
    return Attributes(
        verb=verb,
        is_resource_request=True,
        api_group=group,
        api_version="v1",
        resource=resource,
        subresource=subresource,
        namespace=namespace,
        name=name,
        namespaced=resource not in CLUSTER_SCOPED,
    )


def asking_path(verb: str, path: str) -> Attributes:
    """A question about a URL that is no resource."""
    return Attributes(verb=verb, is_resource_request=False, path=path)
