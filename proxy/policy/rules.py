"""PolicyRules as files write them.

Kubernetes' own validation, and for the watchkeeper dialect the limits of a rule with selectors: `get`, `list` and
`watch` on whole objects only. What is valid and can match nothing, as a slip of the pen does, is a warning.

Source: k8s.io/kubernetes/pkg/apis/rbac/validation/validation.go ValidatePolicyRule
"""

from __future__ import annotations

from typing import TypeAlias

from proxy.api.request_info import WATCH_VERBS
from proxy.api.selectors import FieldSelector, LabelSelector
from proxy.policy.fields import Fields
from proxy.policy.findings import FindingLog, did_you_mean, quoted
from proxy.policy.manifest_selectors import check_template, read_field_selector, read_label_selector
from proxy.policy.manifests import NEEDS_WATCHKEEPER
from proxy.policy.model import Dialect, PolicyRule
from proxy.policy.templates import is_template
from proxy.policy.yaml_nodes import ScalarNode

_RULE_FIELDS = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
_SELECTOR_FIELDS = ("fieldSelector", "labelSelector")

# Others exist (API servers of extensions define their own): used only to recognise a slip of the pen.
_KNOWN_VERBS = (
    *("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"),
    *("bind", "escalate", "impersonate", "approve", "sign", "attest", "use", "post", "put", "head", "options"),
)

_Lists: TypeAlias = dict[str, tuple[ScalarNode, ...]]


def read_rule(rule: Fields, dialect: Dialect, *, namespaced: bool, log: FindingLog) -> PolicyRule:
    """One rule, of a namespaced Role or not. What is wrong in it is left out after its finding."""
    if dialect is Dialect.WATCHKEEPER:
        rule.allow_only((*_RULE_FIELDS, *_SELECTOR_FIELDS), {})
    else:
        rule.allow_only(_RULE_FIELDS, dict.fromkeys(_SELECTOR_FIELDS, NEEDS_WATCHKEEPER))
    lists = {name: rule.texts(name) for name in _RULE_FIELDS}
    _check_presence(rule, namespaced, log)
    _warn_of_slips(rule, lists, log)
    if dialect is Dialect.WATCHKEEPER and any(name in rule for name in _SELECTOR_FIELDS):
        _check_scoped(rule, lists, log)
    if dialect is Dialect.WATCHKEEPER:
        for name in lists["resourceNames"]:
            if is_template(name.text):
                check_template(name.text, name.position, log)
    field_selector, label_selector = _read_selectors(rule, log) if dialect is Dialect.WATCHKEEPER else (None, None)
    return PolicyRule(
        verbs=_texts(lists["verbs"]),
        api_groups=_texts(lists["apiGroups"]),
        resources=_texts(lists["resources"]),
        resource_names=_texts(lists["resourceNames"]),
        non_resource_urls=_texts(lists["nonResourceURLs"]),
        field_selector=field_selector,
        label_selector=label_selector,
        position=rule.position,
    )


def _check_presence(rule: Fields, namespaced: bool, log: FindingLog) -> None:
    if rule.is_empty("verbs"):
        log.error(rule.position, "a rule needs at least one entry in `verbs`")
    if rule.is_empty("nonResourceURLs"):
        for name in ("apiGroups", "resources"):
            if rule.is_empty(name):
                log.error(rule.position, f"a rule on resources needs at least one entry in `{name}`")
        return
    position = rule.key_position("nonResourceURLs")
    if namespaced:
        log.error(position, "`nonResourceURLs` belong in a ClusterRole, a Role applies to one namespace")
    if not all(rule.is_empty(name) for name in ("apiGroups", "resources", "resourceNames")):
        log.error(position, "a rule applies to resources or to `nonResourceURLs`, make it two rules")


def _check_scoped(rule: Fields, lists: _Lists, log: FindingLog) -> None:
    """A selector is evaluated on whole objects that are read: everything else would be granted unfiltered."""
    for verb in lists["verbs"]:
        if verb.text not in WATCH_VERBS:
            log.error(
                verb.position, f"a rule with selectors grants `get`, `list` and `watch` only, not {quoted(verb.text)}"
            )
    for resource in lists["resources"]:
        if "/" in resource.text:
            log.error(resource.position, f"a rule with selectors never covers the subresource {quoted(resource.text)}")
    if not rule.is_empty("nonResourceURLs"):
        log.error(rule.key_position("nonResourceURLs"), "selectors do not apply to `nonResourceURLs`")


def _read_selectors(rule: Fields, log: FindingLog) -> tuple[FieldSelector | None, LabelSelector | None]:
    field_selector, label_selector = None, None
    if field_text := rule.text("fieldSelector"):
        field_selector = read_field_selector(field_text, log)
    if label_fields := rule.fields("labelSelector"):
        label_selector = read_label_selector(label_fields, log, templates=True)
        if label_fields.is_empty("matchLabels") and label_fields.is_empty("matchExpressions"):
            log.error(label_fields.position, "`labelSelector` is empty, remove it to match every object")
    return field_selector, label_selector


def _warn_of_slips(rule: Fields, lists: _Lists, log: FindingLog) -> None:
    """Warns of what Kubernetes accepts and no request matches, and of an empty list that matches more than nothing."""
    for verb in lists["verbs"]:
        if verb.text not in _KNOWN_VERBS and (hint := did_you_mean(verb.text, _KNOWN_VERBS)):
            log.warning(verb.position, f"unknown verb {quoted(verb.text)}{hint}")
    for group in lists["apiGroups"]:
        if "/" in group.text or group.text == "v1":
            log.warning(group.position, f"no API group is called {quoted(group.text)}, leave the version out")
    for resource in lists["resources"]:
        if resource.text.endswith("/*"):
            log.warning(resource.position, f"{quoted(resource.text)} matches nothing, name each subresource")
        elif resource.text != resource.text.lower():
            log.warning(resource.position, f"no resource is called {quoted(resource.text)}, use the lower case plural")
    for url in lists["nonResourceURLs"]:
        if url.text != "*" and not url.text.startswith("/"):
            log.warning(url.position, f"{quoted(url.text)} matches nothing, a path begins with `/`")
        elif "*" in url.text.rstrip("*"):
            log.warning(url.position, f"{quoted(url.text)} matches nothing, `*` is a wildcard at the end only")
    if "resourceNames" in rule and rule.is_empty("resourceNames"):
        log.warning(rule.key_position("resourceNames"), "`resourceNames` is empty, which matches every name")


def _texts(nodes: tuple[ScalarNode, ...]) -> tuple[str, ...]:
    return tuple(node.text for node in nodes)
