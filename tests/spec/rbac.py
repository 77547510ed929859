"""RBAC with scopes on one page: what an object must be for a user to see it, by trying everything.

Slow, without an index, a set or a normal form, and written from the Kubernetes documentation and the design of the
policy language, not from the code. `visible` is the whole meaning of get, list and watch; `kubernetes_allows` is that
of Kubernetes, for policies of its own dialect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from proxy.api.selectors import FieldSelector, LabelOperator, LabelSelector
from proxy.authn.user import User
from proxy.authz.decision import Attributes
from proxy.policy.model import Binding, Dialect, PolicyRule, PolicySet, Subject, SubjectKind

LABEL_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"


@dataclass(frozen=True)
class Thing:
    """An object of the resource that is asked for. `place` is its RBAC namespace."""

    place: str
    name: str
    labels: Mapping[str, str]
    fields: Mapping[str, str]


@dataclass(frozen=True)
class World:
    """The cluster: the labels of its namespaces, and the time."""

    namespaces: Mapping[str, Mapping[str, str]]
    now: float


def visible(policy: PolicySet, world: World, user: User, asked: Attributes, thing: Thing) -> bool:
    """May the user get, list or watch this one object, at its own namespace and name?

    Or as the request names it: what Kubernetes allows as a whole is allowed (a rule for the object named "" allows
    requests without a name).
    """
    return any(
        (names_question(rule, asked, thing.name) or names_question(rule, asked, asked.name))
        and (
            holds_everywhere(binding) or (has_namespace(asked) and holds_in(binding, thing.place, world, user, capture))
        )
        and (rule.label_selector is None or labels_match(rule.label_selector, thing.labels, user, capture))
        and (rule.field_selector is None or fields_match(rule.field_selector, thing.fields, user, capture))
        for binding, rule, capture in granted(policy, world, user)
    )


def kubernetes_allows(policy: PolicySet, user: User, asked: Attributes) -> bool:
    """Kubernetes' own answer: rules without conditions, ClusterRoleBindings and those of the request's namespace."""
    return any(
        names_question(rule, asked, asked.name) and binding.namespace in ("", asked.namespace)
        for binding, rule, _ in granted(policy, World({}, 0.0), user)
    )


def granted(policy: PolicySet, world: World, user: User) -> Iterator[tuple[Binding, PolicyRule, dict[str, str]]]:
    """Every rule of every role that a binding in force gives to the user."""
    for binding in policy.bindings:
        if binding.expires is not None and binding.expires <= world.now:
            continue
        for subject in binding.subjects:
            capture = applies(subject, binding, user)
            if capture is None:
                continue
            for role in policy.roles:
                ref = binding.role_ref
                if (role.dialect, role.kind, role.name) == (ref.dialect, ref.kind, ref.name) and (
                    role.kind == "ClusterRole" or role.namespace == binding.namespace
                ):
                    for rule in role.rules:
                        if role.dialect is Dialect.WATCHKEEPER:
                            names = [filled(name, user, capture) for name in rule.resource_names]
                            if None in names:
                                continue
                            rule = replace(rule, resource_names=tuple(name for name in names if name is not None))
                        yield binding, rule, capture


def applies(subject: Subject, binding: Binding, user: User) -> dict[str, str] | None:
    """The captures when the user is this subject, else None."""
    if subject.kind is SubjectKind.GROUP:
        return {} if subject.name in user.groups else None
    if subject.kind is SubjectKind.SERVICE_ACCOUNT:
        place = subject.namespace or binding.namespace
        return {} if place and user.name == f"system:serviceaccount:{place}:{subject.name}" else None
    if binding.dialect is Dialect.WATCHKEEPER and "{" in subject.name:
        before, name, after = re.split(r"[{}]", subject.name)
        found = re.fullmatch(f"{re.escape(before)}([^:]+){re.escape(after)}", user.name)
        return {name: found[1]} if found else None
    return {} if subject.name == user.name else None


def names_question(rule: PolicyRule, asked: Attributes, name: str) -> bool:
    """Does the rule name this verb, group, resource and, where it names objects, this one? Or this URL?"""
    verb = asked.verb in rule.verbs or "*" in rule.verbs
    if not asked.is_resource_request:
        return verb and any(
            asked.path == url or (url.endswith("*") and asked.path.startswith(url.rstrip("*")))
            for url in rule.non_resource_urls
        )
    if rule.is_scoped and (asked.verb not in ("get", "list", "watch") or asked.subresource):
        return False
    wanted = [asked.resource]
    if asked.subresource:
        wanted = [f"{asked.resource}/{asked.subresource}", f"*/{asked.subresource}"]
    return (
        verb
        and (asked.api_group in rule.api_groups or "*" in rule.api_groups)
        and any(resource in rule.resources for resource in ["*", *wanted])
        and (not rule.resource_names or name in rule.resource_names)
    )


def has_namespace(asked: Attributes) -> bool:
    """Is the question about things in namespaces (a Namespace is in itself), or in a namespace of its own?"""
    return asked.namespaced or bool(asked.namespace) or (asked.api_group, asked.resource) == ("", "namespaces")


def holds_everywhere(binding: Binding) -> bool:
    return not binding.namespace and binding.namespaces is None and binding.namespace_selector is None


def holds_in(binding: Binding, place: str, world: World, user: User, capture: dict[str, str]) -> bool:
    if binding.namespace:
        return place == binding.namespace
    if binding.namespaces is not None:
        entries = [(entry, filled(entry, user, capture)) for entry in binding.namespaces]
        if any(text is None for _, text in entries):
            return False
        if not any(
            place == text if "${" in entry else re.fullmatch(".*".join(map(re.escape, entry.split("*"))), place)
            for entry, text in entries
        ):
            return False
    if binding.namespace_selector is None:
        return not holds_everywhere(binding)
    return place in world.namespaces and labels_match(
        binding.namespace_selector, world.namespaces[place], user, capture
    )


def labels_match(selector: LabelSelector, labels: Mapping[str, str], user: User, capture: dict[str, str]) -> bool:
    for requirement in selector.requirements:
        values = [filled(value, user, capture) for value in requirement.values]
        if any(value is None or len(value) > 63 or not re.fullmatch(LABEL_VALUE, value) for value in values):
            return False
        present, among = requirement.key in labels, labels.get(requirement.key) in values
        holds = {
            LabelOperator.IN: present and among,
            LabelOperator.NOT_IN: not present or not among,
            LabelOperator.EXISTS: present,
            LabelOperator.DOES_NOT_EXIST: not present,
        }
        if not holds[requirement.operator]:
            return False
    return True


def fields_match(selector: FieldSelector, fields: Mapping[str, str], user: User, capture: dict[str, str]) -> bool:
    for term in selector.terms:
        value = filled(term.value, user, capture)
        if value is None or term.path not in fields or (fields[term.path] == value) is term.negated:
            return False
    return True


def filled(text: str, user: User, capture: dict[str, str]) -> str | None:
    """The text with its templates filled in; None when one has no single, non-empty value."""
    values = {"user.name": user.name, "user.uid": user.uid, **capture}
    values |= {f"user.extra[{key}]": found[0] for key, found in user.extra if len(found) == 1}
    names = re.findall(r"\$\{([^}]*)\}", text)
    if any(not values.get(name) for name in names):
        return None
    return re.sub(r"\$\{([^}]*)\}", lambda match: values[match[1]], text)
