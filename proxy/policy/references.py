"""What only the whole set shows: objects defined twice, roles that are missing, captures that nobody provides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from proxy.api.selectors import LabelSelector
from proxy.policy.findings import FindingLog, did_you_mean, quoted
from proxy.policy.model import Binding, Dialect, PolicySet, Position, Role, Subject, SubjectKind
from proxy.policy.templates import ReferenceKind, parse_subject_name, references

_RoleKey: TypeAlias = tuple[Dialect, str, str, str]


class Declared(NamedTuple):
    """An object by what tells it from others, and where it stands."""

    dialect: Dialect
    kind: str
    namespace: str
    name: str
    position: Position


def check_duplicates(declared: Iterable[Declared], log: FindingLog) -> None:
    """Logs every object whose dialect, kind, namespace and name another one has already."""
    first: dict[tuple[Dialect, str, str, str], Position] = {}
    for each in declared:
        if not each.name:
            continue
        key = (each.dialect, each.kind, each.namespace, each.name)
        if key in first:
            where = f" in namespace {quoted(each.namespace)}" if each.namespace else ""
            log.error(each.position, f"duplicate {each.kind} {quoted(each.name)}{where}, first at {first[key]}")
        else:
            first[key] = each.position


def check_references(policy: PolicySet, log: FindingLog) -> None:
    """Logs a warning for each binding of a missing role, an error for each that lacks a capture its role uses.

    Aggregated roles must be filled in already: they use the captures of the rules they collect.
    """
    roles = {_role_key(role): role for role in policy.roles}
    for binding in policy.bindings:
        role = roles.get(_referenced(binding))
        if role is None:
            _warn_of_missing_role(binding, roles, log)
        used = dict.fromkeys(_captures(_binding_texts(binding)), binding.kind)
        if role is not None:
            used |= {name: f"{role.kind} {quoted(role.name)}" for name in _captures(_rule_texts(role))}
        _check_captures(binding, used, log)


def _role_key(role: Role) -> _RoleKey:
    return role.dialect, role.kind, role.namespace, role.name


def _referenced(binding: Binding) -> _RoleKey:
    ref = binding.role_ref
    return ref.dialect, ref.kind, binding.namespace if ref.kind == "Role" else "", ref.name


def _warn_of_missing_role(binding: Binding, roles: Iterable[_RoleKey], log: FindingLog) -> None:
    dialect, kind, namespace, name = _referenced(binding)
    where = f" in namespace {quoted(namespace)}" if namespace else ""
    other_dialects = [key[0].value for key in roles if key[1:] == (kind, namespace, name)]
    known = [key[3] for key in roles if key[:3] == (dialect, kind, namespace)]
    hint = f", but there is one of apiGroup `{other_dialects[0]}`" if other_dialects else did_you_mean(name, known)
    log.warning(
        binding.role_ref.position,
        f"no {kind} {quoted(name)} of apiGroup `{dialect.value}`{where}, so this binding grants nothing{hint}",
    )


def _check_captures(binding: Binding, used: dict[str, str], log: FindingLog) -> None:
    for name, user in sorted(used.items()):
        for subject in binding.subjects:
            if _capture_of(subject) != name:
                who = f"{subject.kind.value} {quoted(subject.name)}"
                log.error(binding.position, f"{user} uses `${{{name}}}`, but {who} captures no `{{{name}}}`")


def _capture_of(subject: Subject) -> str | None:
    if subject.kind is not SubjectKind.USER:
        return None
    try:
        pattern = parse_subject_name(subject.name)
    except ValueError:  # told when the subject was read
        return None
    return pattern.capture if pattern else None


def _captures(texts: Iterable[str]) -> set[str]:
    names: set[str] = set()
    for text in texts:
        try:
            names |= {reference.key for reference in references(text) if reference.kind is ReferenceKind.CAPTURE}
        except ValueError:  # told when the selector was read
            continue
    return names


def _rule_texts(role: Role) -> Iterator[str]:
    for rule in role.rules:
        if role.dialect is Dialect.WATCHKEEPER:
            yield from rule.resource_names
        if rule.field_selector is not None:
            yield from (term.value for term in rule.field_selector.terms)
        yield from _label_values(rule.label_selector)


def _binding_texts(binding: Binding) -> Iterator[str]:
    yield from binding.namespaces or ()
    yield from _label_values(binding.namespace_selector)


def _label_values(selector: LabelSelector | None) -> Iterator[str]:
    if selector is not None:
        yield from (value for requirement in selector.requirements for value in requirement.values)
