"""Where templates may stand: in selector values, names and `namespaces` of the watchkeeper dialect, nowhere else.

Elsewhere `${` would silently be literal text, so it is an error. In an rbac/v1 object, which knows no templates, it is
literal as in Kubernetes, and a warning.
"""

from __future__ import annotations

from collections.abc import Iterator

from proxy.policy.findings import FindingLog, quoted
from proxy.policy.manifests import Manifest
from proxy.policy.model import Dialect, Position
from proxy.policy.templates import is_template
from proxy.policy.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode

_TEMPLATE_FIELDS = frozenset({"fieldSelector", "labelSelector", "resourceNames", "namespaces", "namespaceSelector"})
_IDENTIFYING_METADATA = ("name", "namespace")


def check_template_places(manifest: Manifest, log: FindingLog) -> None:
    """Logs every `${` in a value where no template may stand."""
    skipped = _TEMPLATE_FIELDS if manifest.dialect is Dialect.WATCHKEEPER else frozenset[str]()
    for text, position in _texts(manifest, skipped):
        if not is_template(text):
            continue
        if manifest.dialect is Dialect.WATCHKEEPER:
            places = "selector values, `resourceNames` and `namespaces`"
            log.error(position, f"template in {quoted(text)}, templates stand in {places} only")
        else:
            log.warning(position, f"{quoted(text)} is taken literally, templates need `watchkeeper.io/v1alpha1`")


def _texts(manifest: Manifest, skipped: frozenset[str]) -> Iterator[tuple[str, Position]]:
    for name in manifest.fields.names:
        node = manifest.fields.node(name)
        if name == "metadata" and isinstance(node, MappingNode):
            for key in _IDENTIFYING_METADATA:
                if key in node.entries:
                    yield from _texts_below(node.entries[key].value, skipped)
        elif name not in skipped and node is not None:
            yield from _texts_below(node, skipped)


def _texts_below(node: Node, skipped: frozenset[str]) -> Iterator[tuple[str, Position]]:
    match node:
        case ScalarNode():
            yield node.text, node.position
        case SequenceNode():
            for item in node.items:
                yield from _texts_below(item, skipped)
        case MappingNode():
            for name, entry in node.entries.items():
                if name not in skipped:
                    yield from _texts_below(entry.value, skipped)
        case _:
            pass
