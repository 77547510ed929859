"""The discovery documents of an API server, parsed: aggregated (one for all groups) and legacy (one for each version).

Every function raises ValueError for a document that is not what it should be.

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from proxy.api.groups import ApiResource, GroupVersionResource
from proxy.upstream.resource_catalog import ResourceCatalog

AGGREGATED_ACCEPT = ",".join(
    [f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")]
    + ["application/json"]
)

T = TypeVar("T")


class _ResponseKind(msgspec.Struct):
    kind: str = ""


class _AggregatedSubresource(msgspec.Struct, rename="camel"):
    subresource: str
    response_kind: _ResponseKind | None = None
    verbs: list[str] | None = None


class _AggregatedResource(msgspec.Struct, rename="camel"):
    resource: str
    scope: str = ""
    response_kind: _ResponseKind | None = None
    verbs: list[str] | None = None
    subresources: list[_AggregatedSubresource] | None = None


class _AggregatedVersion(msgspec.Struct):
    version: str
    freshness: str = ""
    resources: list[_AggregatedResource] | None = None


class _GroupMetadata(msgspec.Struct):
    name: str = ""  # of the legacy group


class _AggregatedGroup(msgspec.Struct):
    metadata: _GroupMetadata
    versions: list[_AggregatedVersion] | None = None


class _AggregatedList(msgspec.Struct):
    items: list[_AggregatedGroup] | None


class _ApiVersions(msgspec.Struct):
    versions: list[str] | None


class _GroupVersion(msgspec.Struct):
    version: str


class _ApiGroup(msgspec.Struct):
    name: str
    versions: list[_GroupVersion] | None


class _ApiGroupList(msgspec.Struct):
    groups: list[_ApiGroup] | None


class _LegacyResource(msgspec.Struct):
    name: str
    namespaced: bool
    kind: str = ""
    verbs: list[str] | None = None


class _ApiResourceList(msgspec.Struct):
    resources: list[_LegacyResource] | None


def is_aggregated(content_type: str) -> bool:
    """True when a Content-Type says that the answer is aggregated discovery in a version read here."""
    media_type, *parameters = (part.strip() for part in content_type.split(";"))
    return (
        media_type == "application/json"
        and {"g=apidiscovery.k8s.io", "as=APIGroupDiscoveryList"} <= set(parameters)
        and not {"v=v2", "v=v2beta1"}.isdisjoint(parameters)
    )


def parse_aggregated(body: bytes) -> ResourceCatalog:
    """An APIGroupDiscoveryList, as `/api` and `/apis` serve it."""
    resources: dict[GroupVersionResource, ApiResource] = {}
    subresources: dict[tuple[GroupVersionResource, str], ApiResource] = {}
    stale: set[str] = set()
    for group in _decode(_AggregatedList, body).items or ():
        for version in group.versions or ():
            if version.freshness == "Stale":
                stale.add(GroupVersionResource(group.metadata.name, version.version, "").group_version)
            for entry in version.resources or ():
                gvr = GroupVersionResource(group.metadata.name, version.version, entry.resource)
                namespaced = _is_namespaced(entry.scope)
                # A resource without a kind is only there to hold its subresources.
                if entry.response_kind is not None and entry.response_kind.kind:
                    resources[gvr] = _resource(gvr, entry.response_kind.kind, namespaced, entry.verbs)
                for sub in entry.subresources or ():
                    kind = sub.response_kind.kind if sub.response_kind else ""
                    subresources[(gvr, sub.subresource)] = _resource(gvr, kind, namespaced, sub.verbs)
    return ResourceCatalog(resources=resources, subresources=subresources, stale=frozenset(stale))


def parse_core_versions(body: bytes) -> list[tuple[str, str]]:
    """(group, version) of each version in an APIVersions, the legacy form of `/api`."""
    return [("", version) for version in _decode(_ApiVersions, body).versions or ()]


def parse_groups(body: bytes) -> list[tuple[str, str]]:
    """(group, version) of each version in an APIGroupList, the legacy form of `/apis`."""
    groups = _decode(_ApiGroupList, body).groups or ()
    return [(group.name, version.version) for group in groups for version in group.versions or ()]


def parse_resources(body: bytes, group: str, version: str) -> ResourceCatalog:
    """An APIResourceList, the legacy form of `/api/v1` and `/apis/GROUP/VERSION`."""
    resources: dict[GroupVersionResource, ApiResource] = {}
    subresources: dict[tuple[GroupVersionResource, str], ApiResource] = {}
    for entry in _decode(_ApiResourceList, body).resources or ():
        name, _, subresource = entry.name.partition("/")
        gvr = GroupVersionResource(group, version, name)
        found = _resource(gvr, entry.kind, entry.namespaced, entry.verbs)
        if subresource:
            subresources[(gvr, subresource)] = found
        else:
            resources[gvr] = found
    return ResourceCatalog(resources=resources, subresources=subresources)


def _decode(kind: type[T], body: bytes) -> T:
    try:
        return _decoder(kind)(body)
    except RecursionError as error:
        raise ValueError("too deeply nested") from error


def _decoder(kind: type[T]) -> Callable[[bytes], T]:
    return msgspec.json.Decoder(kind).decode


def _is_namespaced(scope: str) -> bool:
    match scope:
        case "Namespaced":
            return True
        case "Cluster":
            return False
        case _:
            raise ValueError(f"unknown scope `{scope}`")


def _resource(gvr: GroupVersionResource, kind: str, namespaced: bool, verbs: list[str] | None) -> ApiResource:
    return ApiResource(gvr=gvr, kind=kind, namespaced=namespaced, verbs=frozenset(verbs or ()))
