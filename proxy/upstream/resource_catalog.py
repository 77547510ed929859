"""ResourceCatalog: which resources an API server serves. Immutable; a new one replaces it whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from proxy.api.groups import ApiResource, GroupVersionResource


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceCatalog:
    """`stale` holds the group versions (`metrics.k8s.io/v1beta1`) whose own server did not answer for itself.

    `kind` of a subresource is that of its body (`Scale`, `Eviction`); its scope is its resource's.
    """

    resources: Mapping[GroupVersionResource, ApiResource] = field(default_factory=dict)
    subresources: Mapping[tuple[GroupVersionResource, str], ApiResource] = field(default_factory=dict)
    stale: frozenset[str] = frozenset()

    def resource(self, gvr: GroupVersionResource) -> ApiResource | None:
        """What is known of a resource; None when it is not served."""
        return self.resources.get(gvr)

    def subresource(self, gvr: GroupVersionResource, name: str) -> ApiResource | None:
        """What is known of a subresource such as `status`; None when it is not served."""
        return self.subresources.get((gvr, name))

    def keeping_stale_of(self, previous: ResourceCatalog) -> ResourceCatalog:
        """This catalog, with what `previous` knew of the stale group versions of which nothing was told now."""
        told = {gvr.group_version for gvr in self.resources} | {gvr.group_version for gvr, _ in self.subresources}
        kept = self.stale - told
        return merge_catalogs(
            (
                self,
                ResourceCatalog(
                    resources={gvr: found for gvr, found in previous.resources.items() if gvr.group_version in kept},
                    subresources={
                        key: found for key, found in previous.subresources.items() if key[0].group_version in kept
                    },
                ),
            )
        )

    def without(self, later: ResourceCatalog) -> frozenset[GroupVersionResource]:
        """The resources that `later` does not have any more, or has as something else: another kind or scope."""
        return frozenset(gvr for gvr, found in self.resources.items() if later.resources.get(gvr) != found)


def merge_catalogs(catalogs: Iterable[ResourceCatalog]) -> ResourceCatalog:
    """All of several catalogs; where they overlap the first one counts."""
    resources: dict[GroupVersionResource, ApiResource] = {}
    subresources: dict[tuple[GroupVersionResource, str], ApiResource] = {}
    stale: set[str] = set()
    for catalog in catalogs:
        resources = {**catalog.resources, **resources}
        subresources = {**catalog.subresources, **subresources}
        stale |= catalog.stale
    return ResourceCatalog(resources=resources, subresources=subresources, stale=frozenset(stale))
