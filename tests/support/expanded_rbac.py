"""RBAC manifests as a controller-manager would leave them: aggregated roles filled in, where none runs."""

import json
from collections.abc import Sequence

from proxy.policy.load import load_policies
from proxy.policy.model import PolicyRule, PolicySet
from tests.support.manifests import Manifest


def load(manifests: Sequence[Manifest]) -> PolicySet:
    """The policy that manifests make; they have no errors."""
    result = load_policies({f"{number}.json": json.dumps(each).encode() for number, each in enumerate(manifests)})
    assert not result.has_errors, [str(finding) for finding in result.findings]
    return result.policy


def expanded(manifest: Manifest, policy: PolicySet) -> Manifest:
    """A manifest of the policy with the rules that its role has there."""
    if "aggregationRule" not in manifest:
        return manifest
    (role,) = (role for role in policy.roles if role.name == manifest["metadata"]["name"] and not role.namespace)
    return {**manifest, "rules": [_rule_manifest(rule) for rule in role.rules]}


def _rule_manifest(rule: PolicyRule) -> Manifest:
    fields = {
        "verbs": rule.verbs,
        "apiGroups": rule.api_groups,
        "resources": rule.resources,
        "resourceNames": rule.resource_names,
        "nonResourceURLs": rule.non_resource_urls,
    }
    return {name: list(values) for name, values in fields.items() if values}
