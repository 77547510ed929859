"""Role and ClusterRole, from manifest to model.

Source: k8s.io/kubernetes/pkg/apis/rbac/validation/validation.go ValidateRole, ValidateClusterRole
"""

from __future__ import annotations

from proxy.api.selectors import LabelSelector
from proxy.policy.findings import FindingLog
from proxy.policy.manifest_selectors import read_label_selector
from proxy.policy.manifests import MANIFEST_FIELDS, NAMESPACED_KINDS, Manifest
from proxy.policy.model import Role
from proxy.policy.rules import read_rule


def read_role(manifest: Manifest, log: FindingLog) -> Role:
    """The Role or ClusterRole of a manifest. Rules written beside an aggregationRule are checked, then left out."""
    namespaced = manifest.kind in NAMESPACED_KINDS
    if namespaced:
        elsewhere = {"aggregationRule": "it belongs in a ClusterRole"}
        manifest.fields.allow_only((*MANIFEST_FIELDS, "rules"), elsewhere)
    else:
        manifest.fields.allow_only((*MANIFEST_FIELDS, "rules", "aggregationRule"), {})
    rules = tuple(
        read_rule(rule, manifest.dialect, namespaced=namespaced, log=log)
        for rule in manifest.fields.objects("rules", "a rule", null_is_empty=True)
    )
    aggregation = None if namespaced else _read_aggregation(manifest, log)
    if aggregation is not None and rules:
        log.warning(
            manifest.fields.key_position("rules"), "rules beside an `aggregationRule` are ignored, they are collected"
        )
    return Role(
        dialect=manifest.dialect,
        namespace=manifest.namespace,
        name=manifest.name,
        labels=manifest.labels,
        rules=rules if aggregation is None else (),
        aggregation=aggregation,
        position=manifest.position,
    )


def _read_aggregation(manifest: Manifest, log: FindingLog) -> tuple[LabelSelector, ...] | None:
    aggregation = manifest.fields.fields("aggregationRule")
    if aggregation is None:
        return None
    aggregation.allow_only(("clusterRoleSelectors",), {})
    if aggregation.is_empty("clusterRoleSelectors"):
        log.error(aggregation.position, "an `aggregationRule` needs at least one entry in `clusterRoleSelectors`")
    return tuple(
        read_label_selector(selector, log, templates=False)
        for selector in aggregation.objects("clusterRoleSelectors", "a selector")
    )
