"""The subjects of a binding.

Source: k8s.io/kubernetes/pkg/apis/rbac/validation/validation.go validateRoleBindingSubject
"""

from __future__ import annotations

from proxy.policy.fields import Fields
from proxy.policy.findings import FindingLog, alternatives, did_you_mean, printable, quoted
from proxy.policy.manifests import NAMESPACED_KINDS, Manifest
from proxy.policy.model import RBAC_GROUP, Dialect, Subject, SubjectKind
from proxy.policy.names import service_account_problem
from proxy.policy.templates import parse_subject_name
from proxy.policy.yaml_nodes import ScalarNode

_KINDS = tuple(kind.value for kind in SubjectKind)


def read_subject(subject: Fields, binding: Manifest, log: FindingLog) -> Subject | None:
    """One subject of a binding, None when its kind or name cannot be read."""
    subject.allow_only(("kind", "apiGroup", "name", "namespace"), {})
    kind, name = _read_kind(subject, log), subject.required_text("name")
    group, namespace = subject.text("apiGroup"), subject.text("namespace")
    namespace_text = namespace.text if namespace is not None else ""
    if kind is not None:
        _check_group(kind, group, log)
    if kind is SubjectKind.SERVICE_ACCOUNT and not namespace_text and binding.kind not in NAMESPACED_KINDS:
        if namespace is not None or "namespace" not in subject:
            log.error(subject.position, "a ServiceAccount in a ClusterRoleBinding needs `namespace`")
    elif kind is not None and kind is not SubjectKind.SERVICE_ACCOUNT and namespace is not None and namespace_text:
        log.warning(namespace.position, f"a {kind.value} has no namespace, this one is ignored")
        namespace_text = ""
    if kind is None or name is None:
        return None
    _check_name(kind, name, binding.dialect, log)
    return Subject(kind=kind, name=name.text, namespace=namespace_text, position=subject.position)


def _read_kind(subject: Fields, log: FindingLog) -> SubjectKind | None:
    kind = subject.required_text("kind")
    if kind is None:
        return None
    if kind.text not in _KINDS:
        hint = did_you_mean(kind.text, _KINDS) or f", expected {alternatives(_KINDS)}"
        log.error(kind.position, f"unknown kind of subject {quoted(kind.text)}{hint}")
        return None
    return SubjectKind(kind.text)


def _check_group(kind: SubjectKind, group: ScalarNode | None, log: FindingLog) -> None:
    if group is None or not group.text:
        return
    if kind is SubjectKind.SERVICE_ACCOUNT:
        log.error(group.position, f'apiGroup of a ServiceAccount must be `""`, not {quoted(group.text)}')
    elif group.text != RBAC_GROUP:
        log.error(group.position, f"apiGroup of a {kind.value} must be `{RBAC_GROUP}`, not {quoted(group.text)}")


def _check_name(kind: SubjectKind, name: ScalarNode, dialect: Dialect, log: FindingLog) -> None:
    if kind is SubjectKind.SERVICE_ACCOUNT and (problem := service_account_problem(name.text)):
        log.error(name.position, f"ServiceAccount name {quoted(name.text)} {problem}")
    has_braces = "{" in name.text or "}" in name.text
    if not has_braces:
        return
    if dialect is Dialect.RBAC:
        log.warning(name.position, f"{quoted(name.text)} is taken literally, captures need `watchkeeper.io/v1alpha1`")
    elif kind is SubjectKind.GROUP:
        log.error(name.position, f"capture in the Group name {quoted(name.text)}, only a User name may hold one")
    elif kind is SubjectKind.USER:
        try:
            parse_subject_name(name.text)
        except ValueError as error:
            log.error(name.position, printable(str(error)))
