"""The labels of namespaces from Namespace manifests, for questions that are asked without an upstream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from proxy.authz.namespaces import NamespaceLabels

_NAME_LABEL = "kubernetes.io/metadata.name"  # the API server puts it on every namespace


def read_namespaces(text: bytes) -> NamespaceLabels:
    """Reads YAML or JSON: Namespace objects, one a document, or lists of them as kubectl and the API server print.

    Raises ValueError that says what is wrong.
    """
    labels: dict[str, Mapping[str, str]] = {}
    try:
        for document in yaml.safe_load_all(text):
            for manifest in _manifests(document):
                name, values = _read(manifest)
                labels[name] = values
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no YAML: {' '.join(str(error).split())}") from error
    return NamespaceLabels(labels)


def _manifests(document: Any) -> Iterator[Any]:
    if document is None:
        return
    if isinstance(document, dict) and isinstance(document.get("items"), list):
        # The items of a typed list come without their kind.
        kind = {"apiVersion": "v1", "kind": "Namespace"} if document.get("kind") == "NamespaceList" else {}
        yield from ({**kind, **item} if isinstance(item, dict) else item for item in document["items"])
    else:
        yield document


def _read(manifest: Any) -> tuple[str, dict[str, str]]:
    if not isinstance(manifest, dict) or manifest.get("kind") != "Namespace" or manifest.get("apiVersion") != "v1":
        raise ValueError("expected objects with `apiVersion: v1` and `kind: Namespace` only")
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str) or not name:
        raise ValueError("a Namespace has no `metadata.name`")
    labels = metadata.get("labels") or {}
    if not isinstance(labels, dict) or not all(isinstance(part, str) for item in labels.items() for part in item):
        raise ValueError(f"labels of Namespace `{name}` must be strings by strings")
    return name, {**labels, _NAME_LABEL: name}
