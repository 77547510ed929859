"""Documents about the server itself: discovery in both forms, version, health, and the little OpenAPI kubectl needs.

kubectl looks in OpenAPI v3 whether PATCH of a kind knows `fieldValidation`, and validates by itself otherwise.

Source: k8s.io/apiserver/pkg/endpoints/discovery
"""

from __future__ import annotations

from typing import Any

from proxy.devserver.kinds import KINDS, VERBS, Kind
from proxy.devserver.media import wants_aggregated_discovery
from proxy.devserver.routes import subresources

AGGREGATED_TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
HEALTH_PATHS = ("/livez", "/readyz", "/healthz")

_VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.3+watchkeeper-devserver",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}


def document(path: str, accept: str) -> tuple[str, dict[str, Any]] | None:
    """The (content type, document) at a path; None where there is none."""
    path = path.rstrip("/")
    if path in ("/api", "/apis") and wants_aggregated_discovery(accept):
        return AGGREGATED_TYPE, _aggregated(legacy=path == "/api")
    plain = _plain_documents().get(path)
    return ("application/json", plain) if plain is not None else None


def _plain_documents() -> dict[str, dict[str, Any]]:
    """Every document by its path: few and small, and asked for once by each client."""
    groups = [_group(group) for group in _groups()]
    documents: dict[str, dict[str, Any]] = {
        "/version": _VERSION,
        "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
        "/openapi/v3": {
            "paths": {
                root.strip("/"): {"serverRelativeURL": f"/openapi/v3{root}"}
                for root in dict.fromkeys(kind.gvr.root for kind in KINDS)
            }
        },
    }
    for group in groups:
        documents[f"/apis/{group['name']}"] = {"kind": "APIGroup", "apiVersion": "v1", **group}
    for kind in KINDS:
        documents.setdefault(kind.gvr.root, _resource_list(kind.api_version))
        documents.setdefault(f"/openapi/v3{kind.gvr.root}", _openapi(kind.api_version))
    return documents


def _groups() -> list[str]:
    return [group for group in dict.fromkeys(kind.gvr.group for kind in KINDS) if group]


def _group(name: str) -> dict[str, Any]:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resource_list(group_version: str) -> dict[str, Any]:
    resources: list[dict[str, Any]] = []
    for kind in _kinds_of(group_version):
        described = {
            "name": kind.gvr.resource,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.name,
            "verbs": list(VERBS),
        }
        optional = {"shortNames": list(kind.short_names), "categories": list(kind.categories)}
        resources.append(described | {key: value for key, value in optional.items() if value})
        for subresource in subresources(kind):
            resources.append(
                {
                    "name": f"{kind.gvr.resource}/{subresource}",
                    "singularName": "",
                    "namespaced": kind.namespaced,
                    "kind": kind.name,
                    "verbs": _subresource_verbs(subresource),
                }
            )
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def _aggregated(*, legacy: bool) -> dict[str, Any]:
    groups = [""] if legacy else _groups()
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [
            {
                "metadata": {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None},
                "versions": [
                    {
                        "version": "v1",
                        "resources": [_aggregated_resource(kind) for kind in KINDS if kind.gvr.group == group],
                        "freshness": "Current",
                    }
                ],
            }
            for group in groups
        ],
    }


def _aggregated_resource(kind: Kind) -> dict[str, Any]:
    response_kind = {"group": kind.gvr.group, "version": kind.gvr.version, "kind": kind.name}
    described = {
        "resource": kind.gvr.resource,
        "responseKind": response_kind,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(VERBS),
    }
    optional = {
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
        "subresources": [
            {"subresource": each, "responseKind": response_kind, "verbs": _subresource_verbs(each)}
            for each in subresources(kind)
        ],
    }
    return described | {key: value for key, value in optional.items() if value}


def _subresource_verbs(subresource: str) -> list[str]:
    return ["get"] if subresource == "log" else ["get", "patch", "update"]


def _openapi(group_version: str) -> dict[str, Any]:
    return {
        "openapi": "3.0.0",
        "info": {"title": "Watchkeeper development API server", "version": "v1.36.3"},
        "paths": {
            _object_path(kind): {
                "patch": {
                    "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
                    "responses": {"200": {"description": "OK"}},
                    "x-kubernetes-action": "patch",
                    "x-kubernetes-group-version-kind": {
                        "group": kind.gvr.group,
                        "version": kind.gvr.version,
                        "kind": kind.name,
                    },
                }
            }
            for kind in _kinds_of(group_version)
        },
    }


def _object_path(kind: Kind) -> str:
    return f"{kind.gvr.collection_path('{namespace}' if kind.namespaced else '')}/{{name}}"


def _kinds_of(group_version: str) -> list[Kind]:
    return [kind for kind in KINDS if kind.api_version == group_version]
