"""Why a rule that a user has does not answer a question: the first thing, in the order rules are read, that differs."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from proxy.authn.user import User
from proxy.authz.decision import Attributes
from proxy.authz.rbac import is_namespaces, reads_objects
from proxy.authz.variables import bind_names, variables_of
from proxy.policy.model import Binding, Dialect, PolicyRule
from proxy.policy.snapshot import resource_keys
from proxy.policy.templates import references


def mismatch(
    binding: Binding, rule: PolicyRule, user: User, capture: tuple[str, str] | None, attributes: Attributes
) -> str:
    """In words. The rule is known not to apply."""
    return (
        _names_something_else(rule, attributes)
        or _names_other_objects(binding, rule, user, capture, attributes)
        or _is_for_whole_objects(rule, attributes)
        or _holds_elsewhere(binding, attributes)
        or _lacks_a_value(binding, rule, user, capture)
        or _is_not_reached(binding, attributes)
    )


def _names_something_else(rule: PolicyRule, attributes: Attributes) -> str:
    if "*" not in rule.verbs and attributes.verb not in rule.verbs:
        return f"verbs {_listed(rule.verbs)}, not `{attributes.verb}`"
    if not attributes.is_resource_request:
        urls = rule.non_resource_urls
        return f"nonResourceURLs {_listed(urls)}, not `{attributes.path}`" if urls else "names resources, not URLs"
    if rule.non_resource_urls:
        return "names URLs, not resources"
    keys = resource_keys(attributes.api_group, attributes.resource, attributes.subresource)
    if not {group for group, _ in keys} & set(rule.api_groups):
        return f"apiGroups {_listed(rule.api_groups)}, not {_listed([attributes.api_group])}"
    if not {resource for _, resource in keys} & set(rule.resources):
        wanted = "/".join(filter(None, (attributes.resource, attributes.subresource)))
        return f"resources {_listed(rule.resources)}, not `{wanted}`"
    return ""


def _names_other_objects(
    binding: Binding, rule: PolicyRule, user: User, capture: tuple[str, str] | None, attributes: Attributes
) -> str:
    names: Collection[str] | None = rule.resource_names
    if binding.role_ref.dialect is Dialect.WATCHKEEPER:
        names = bind_names(rule.resource_names, variables_of(user, capture))
    if not names or attributes.name in names:  # a name without a value is told of below
        return ""
    if attributes.name:
        return f"resourceNames {_listed(sorted(names))}, not `{attributes.name}`"
    return "" if reads_objects(attributes) else f"resourceNames {_listed(sorted(names))}, the request has no name"


def _is_for_whole_objects(rule: PolicyRule, attributes: Attributes) -> str:
    if rule.is_scoped and not reads_objects(attributes):
        return "has selectors, which hold get, list and watch of whole objects only"
    return ""


def _holds_elsewhere(binding: Binding, attributes: Attributes) -> str:
    if not (binding.namespace or binding.namespaces is not None or binding.namespace_selector is not None):
        return ""
    if not attributes.is_resource_request:
        return "holds in namespaces only, and a URL is in none"
    if attributes.namespace:
        if binding.namespace and binding.namespace != attributes.namespace:
            return f"holds in namespace `{binding.namespace}`, not in `{attributes.namespace}`"
        return ""
    if not attributes.namespaced and not is_namespaces(attributes):
        return f"holds in namespaces only, and `{attributes.resource}` is cluster-scoped"
    return "" if reads_objects(attributes) else "holds in namespaces only, and the request names none"


def _lacks_a_value(binding: Binding, rule: PolicyRule, user: User, capture: tuple[str, str] | None) -> str:
    value_of = variables_of(user, capture)
    for text in _texts(binding, rule):
        for reference in references(text):
            if not value_of(reference):
                return f"`{reference}` has no single value for this user"
    return ""


def _is_not_reached(binding: Binding, attributes: Attributes) -> str:
    if binding.namespaces is None and binding.namespace_selector is None:
        return "a value of its selectors is no legal label value, so that no object matches"
    where = f"namespace `{attributes.namespace}`" if attributes.namespace else "any namespace that was asked for"
    return f"the namespaces of the binding do not include {where}, or a label value is not legal"


def _texts(binding: Binding, rule: PolicyRule) -> Iterable[str]:
    yield from binding.namespaces or ()
    if binding.role_ref.dialect is Dialect.WATCHKEEPER:
        yield from rule.resource_names
    for selector in (binding.namespace_selector, rule.label_selector):
        if selector is not None:
            yield from (value for requirement in selector.requirements for value in requirement.values)
    if rule.field_selector is not None:
        yield from (term.value for term in rule.field_selector.terms)


def _listed(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" if value else '`""`' for value in values)
