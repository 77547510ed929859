"""Manifests: documents taken apart into single policy objects, with the part that all kinds share read.

A `kind: List` (and `RoleList` and its like) counts as its items, so that exports of a cluster load as they are.
`metadata` may carry everything a server writes; of it only name, namespace and labels mean something here.

Source: k8s.io/apimachinery/pkg/api/validation/objectmeta.go
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from proxy.api.label_syntax import label_key_problems, label_value_problems
from proxy.policy.fields import Fields, read_fields
from proxy.policy.findings import FindingLog, alternatives, did_you_mean, quoted
from proxy.policy.model import RBAC_GROUP, WATCHKEEPER_GROUP, Dialect, Position
from proxy.policy.names import namespace_problem, path_segment_problem
from proxy.policy.yaml_nodes import Node

DIALECTS = {f"{RBAC_GROUP}/v1": Dialect.RBAC, f"{WATCHKEEPER_GROUP}/v1alpha1": Dialect.WATCHKEEPER}
KINDS = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
NAMESPACED_KINDS = frozenset({"Role", "RoleBinding"})
MANIFEST_FIELDS = ("apiVersion", "kind", "metadata")
NEEDS_WATCHKEEPER = "it needs apiVersion `watchkeeper.io/v1alpha1`"

_LIST_FIELDS = (*MANIFEST_FIELDS, "items")
# Source: k8s.io/apimachinery/pkg/apis/meta/v1/types.go ObjectMeta
_METADATA_FIELDS = (
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One policy object. `name` is empty when the file gives none, `namespace` for cluster-scoped kinds."""

    dialect: Dialect
    kind: str
    namespace: str
    name: str
    labels: tuple[tuple[str, str], ...]
    fields: Fields

    @property
    def position(self) -> Position:
        """Where the object begins."""
        return self.fields.position

    @property
    def is_misplaced(self) -> bool:
        """True when a namespaced kind has no namespace: it cannot be told from the cluster-scoped kind."""
        return self.kind in NAMESPACED_KINDS and not self.namespace


def read_manifests(document: Node, log: FindingLog) -> Iterator[Manifest]:
    """The policy objects of one document; findings for all that is none."""
    fields = read_fields(document, "a document", log)
    if fields is None:
        return
    api_version, kind = fields.required_text("apiVersion"), fields.required_text("kind")
    if api_version is None or kind is None:
        return
    if (api_version.text, kind.text) == ("v1", "List"):
        fields.allow_only(_LIST_FIELDS, {})
        for item in fields.objects("items", "an item"):
            yield from _read_object(item, log)
    elif api_version.text in DIALECTS and kind.text.removesuffix("List") in KINDS and kind.text.endswith("List"):
        fields.allow_only(_LIST_FIELDS, {})
        for item in fields.objects("items", "an item"):
            yield from _read_item(item, DIALECTS[api_version.text], kind.text.removesuffix("List"), log)
    else:
        yield from _read_object(fields, log)


def _read_object(fields: Fields, log: FindingLog) -> Iterator[Manifest]:
    api_version, kind = fields.required_text("apiVersion"), fields.required_text("kind")
    if api_version is not None and api_version.text not in DIALECTS:
        log.error(
            api_version.position, f"unknown apiVersion {quoted(api_version.text)}, expected {alternatives(DIALECTS)}"
        )
    if kind is not None and kind.text not in KINDS:
        hint = did_you_mean(kind.text, KINDS) or f", expected {alternatives(KINDS)}"
        log.error(kind.position, f"unknown kind {quoted(kind.text)}{hint}")
    if api_version is not None and kind is not None and api_version.text in DIALECTS and kind.text in KINDS:
        yield _read_manifest(fields, DIALECTS[api_version.text], kind.text, log)


def _read_item(fields: Fields, dialect: Dialect, kind: str, log: FindingLog) -> Iterator[Manifest]:
    """An item of a typed list, which servers write without apiVersion and kind."""
    if "apiVersion" in fields or "kind" in fields:
        yield from _read_object(fields, log)
    else:
        yield _read_manifest(fields, dialect, kind, log)


def _read_manifest(fields: Fields, dialect: Dialect, kind: str, log: FindingLog) -> Manifest:
    namespace, name = "", ""
    labels: tuple[tuple[str, str], ...] = ()
    if "metadata" not in fields:
        log.error(fields.position, f"{kind} needs `metadata`")
    elif metadata := fields.fields("metadata"):
        metadata.allow_only(_METADATA_FIELDS, {})
        name = _read_name(metadata, log)
        namespace = _read_namespace(metadata, kind, log)
        labels = _read_labels(metadata, log)
    fields = fields.named(kind)
    return Manifest(dialect=dialect, kind=kind, namespace=namespace, name=name, labels=labels, fields=fields)


def _read_name(metadata: Fields, log: FindingLog) -> str:
    name = metadata.required_text("name")
    if name is None:
        return ""
    if problem := path_segment_problem(name.text):
        log.error(name.position, f"name {quoted(name.text)} {problem}")
    return name.text


def _read_namespace(metadata: Fields, kind: str, log: FindingLog) -> str:
    if kind not in NAMESPACED_KINDS:
        namespace = metadata.text("namespace")
        if namespace is not None and namespace.text:
            log.error(namespace.position, f"a {kind} belongs to no namespace, remove `namespace`")
        return ""
    namespace = metadata.required_text("namespace")
    if namespace is None:
        return ""
    if problem := namespace_problem(namespace.text):
        log.error(namespace.position, f"namespace {quoted(namespace.text)} {problem}")
    return namespace.text


def _read_labels(metadata: Fields, log: FindingLog) -> tuple[tuple[str, str], ...]:
    labels = metadata.fields("labels")
    if labels is None:
        return ()
    for key in labels.names:
        for problem in label_key_problems(key):
            log.error(labels.key_position(key), f"label {quoted(key)}: {problem}")
    values = labels.text_values()
    for _, value in values:
        for problem in label_value_problems(value.text):
            log.error(value.position, f"label value {quoted(value.text)}: {problem}")
    return tuple(sorted((key, value.text) for key, value in values))
