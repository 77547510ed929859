"""RoleBinding and ClusterRoleBinding, from manifest to model.

Source: k8s.io/kubernetes/pkg/apis/rbac/validation/validation.go ValidateRoleBinding and pkg/apis/rbac/v1/defaults.go
"""

from __future__ import annotations

import re
from datetime import datetime

from proxy.api.selectors import LabelSelector
from proxy.policy.binding_namespaces import read_namespaces
from proxy.policy.fields import Fields
from proxy.policy.findings import FindingLog, alternatives, did_you_mean, quoted
from proxy.policy.manifest_selectors import read_label_selector
from proxy.policy.manifests import MANIFEST_FIELDS, NAMESPACED_KINDS, NEEDS_WATCHKEEPER, Manifest
from proxy.policy.model import Binding, Dialect, RoleRef
from proxy.policy.names import path_segment_problem
from proxy.policy.subjects import read_subject
from proxy.policy.yaml_nodes import ScalarKind, ScalarNode

_BINDING_FIELDS = (*MANIFEST_FIELDS, "subjects", "roleRef")
_NAMESPACE_FIELDS = ("namespaces", "namespaceSelector")
# Source: RFC 3339, section 5.6
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[-+][0-9]{2}:[0-9]{2})"
)


def read_binding(manifest: Manifest, log: FindingLog) -> Binding | None:
    """The binding of a manifest; None when its roleRef cannot be read. Other mistakes are left out after findings."""
    _check_fields(manifest, log)
    fields = manifest.fields
    subjects = [
        read_subject(subject, manifest, log) for subject in fields.objects("subjects", "a subject", null_is_empty=True)
    ]
    role_ref = _read_role_ref(manifest, log)
    narrowing = manifest.dialect is Dialect.WATCHKEEPER
    namespaces = read_namespaces(fields, log) if narrowing else None
    namespace_selector = _read_namespace_selector(fields, log) if narrowing else None
    expires = _read_expires(fields, log) if narrowing else None
    if role_ref is None:
        return None
    return Binding(
        dialect=manifest.dialect,
        namespace=manifest.namespace,
        name=manifest.name,
        subjects=tuple(subject for subject in subjects if subject is not None),
        role_ref=role_ref,
        namespaces=namespaces,
        namespace_selector=namespace_selector,
        expires=expires,
        position=manifest.position,
    )


def _check_fields(manifest: Manifest, log: FindingLog) -> None:
    if manifest.dialect is Dialect.RBAC:
        elsewhere = dict.fromkeys((*_NAMESPACE_FIELDS, "expires"), NEEDS_WATCHKEEPER)
        manifest.fields.allow_only(_BINDING_FIELDS, elsewhere)
    elif manifest.kind in NAMESPACED_KINDS:
        elsewhere = dict.fromkeys(_NAMESPACE_FIELDS, "a RoleBinding applies to its own namespace")
        manifest.fields.allow_only((*_BINDING_FIELDS, "expires"), elsewhere)
    else:
        manifest.fields.allow_only((*_BINDING_FIELDS, "expires", *_NAMESPACE_FIELDS), {})


def _read_role_ref(manifest: Manifest, log: FindingLog) -> RoleRef | None:
    if "roleRef" not in manifest.fields:
        log.error(manifest.position, f"{manifest.kind} needs `roleRef`")
        return None
    role_ref = manifest.fields.fields("roleRef")
    if role_ref is None:
        return None
    role_ref.allow_only(("apiGroup", "kind", "name"), {})
    dialect = _read_role_dialect(role_ref, manifest.dialect, log)
    kind = _read_role_kind(role_ref, manifest.kind, log)
    name = role_ref.required_text("name")
    if name is not None and (problem := path_segment_problem(name.text)):
        log.error(name.position, f"role name {quoted(name.text)} {problem}")
    if dialect is None or kind is None or name is None:
        return None
    return RoleRef(dialect=dialect, kind=kind, name=name.text, position=role_ref.position)


def _read_role_dialect(role_ref: Fields, dialect: Dialect, log: FindingLog) -> Dialect | None:
    groups = [Dialect.RBAC.value] if dialect is Dialect.RBAC else [Dialect.WATCHKEEPER.value, Dialect.RBAC.value]
    group = role_ref.text("apiGroup")
    if group is not None and group.text in groups:
        return Dialect(group.text)
    if group is not None and group.text:
        log.error(group.position, f"unknown apiGroup {quoted(group.text)} of a role, expected {alternatives(groups)}")
        return None
    if dialect is Dialect.WATCHKEEPER:
        # Roles of equal name in the two groups are two roles: a default would pick one of them unasked.
        if group is not None or "apiGroup" not in role_ref:
            log.error(role_ref.position, f"`roleRef` needs `apiGroup`, {alternatives(groups)}")
        return None
    return Dialect.RBAC


def _read_role_kind(role_ref: Fields, binding_kind: str, log: FindingLog) -> str | None:
    kinds = ("Role", "ClusterRole") if binding_kind in NAMESPACED_KINDS else ("ClusterRole",)
    kind = role_ref.required_text("kind")
    if kind is None or kind.text in kinds:
        return None if kind is None else kind.text
    hint = did_you_mean(kind.text, kinds) or f", expected {alternatives(kinds)}"
    log.error(kind.position, f"a {binding_kind} cannot reference the kind {quoted(kind.text)}{hint}")
    return None


def _read_namespace_selector(fields: Fields, log: FindingLog) -> LabelSelector | None:
    selector = fields.fields("namespaceSelector")
    return None if selector is None else read_label_selector(selector, log, templates=True)


def _read_expires(fields: Fields, log: FindingLog) -> float | None:
    """Seconds since the epoch. Both spellings are one: a plain timestamp, a quoted text."""
    node = fields.node("expires")
    if not isinstance(node, ScalarNode) or node.kind is not ScalarKind.TIMESTAMP:
        node = fields.text("expires")
    if node is None:
        return None
    if _RFC_3339.fullmatch(node.text):
        try:
            return datetime.fromisoformat(node.text.upper()).timestamp()
        except (ValueError, OverflowError):
            pass
    log.error(node.position, f"{quoted(node.text)} is no time, expected one like `2027-06-30T00:00:00Z`")
    return None
