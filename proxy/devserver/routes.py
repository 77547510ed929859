"""Which object or collection a path names.

Source: k8s.io/apiserver/pkg/endpoints/request/requestinfo.go
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.api.groups import GroupVersionResource
from proxy.devserver.kinds import KIND_OF, PODS, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A collection (`name` ""), an object, or a subresource of one. `namespace` "" is all of them, or none."""

    kind: Kind
    namespace: str
    name: str
    subresource: str


def parse_target(path: str) -> Target | None:
    """What a decoded path names; None for a path that no served resource has."""
    match path.strip("/").split("/"):
        case ["api", "v1", *rest]:
            return _below("", "v1", rest)
        case ["apis", group, version, *rest]:
            return _below(group, version, rest)
    return None


def _below(group: str, version: str, parts: list[str]) -> Target | None:
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces" and parts[2] not in ("status", "finalize"):
        namespace, parts = parts[1], parts[2:]
    if not 1 <= len(parts) <= 3:
        return None
    resource, name, subresource = (*parts, "", "")[:3]
    kind = KIND_OF.get(GroupVersionResource(group, version, resource))
    if kind is None or bool(namespace) > kind.namespaced:
        return None
    if name and kind.namespaced and not namespace:
        return None
    if subresource and subresource not in subresources(kind):
        return None
    return Target(kind=kind, namespace=namespace, name=name, subresource=subresource)


def subresources(kind: Kind) -> tuple[str, ...]:
    """The subresources of a kind."""
    own = ("status",) if kind.has_status else ()
    if kind is PODS:
        return (*own, "log")
    return own
