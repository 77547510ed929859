"""GroupVersionResource and the little that discovery tells about a resource."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class GroupVersionResource(NamedTuple):
    """A resource as a URL names it: `("", "v1", "pods")`, `("apps", "v1", "deployments")`."""

    group: str
    version: str
    resource: str

    def __str__(self) -> str:
        """As kubectl names it: `pods`, `deployments.apps`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    @property
    def group_version(self) -> str:
        """The `apiVersion` spelling: `v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """The path its requests start with: `/api/v1`, `/apis/apps/v1`."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def collection_path(self, namespace: str = "") -> str:
        """The canonical path of the collection, in one namespace or across all."""
        middle = f"/namespaces/{namespace}" if namespace else ""
        return f"{self.root}{middle}/{self.resource}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResource:
    """What discovery says of one resource in one version. `kind` is that of one object; `verbs` as served."""

    gvr: GroupVersionResource
    kind: str
    namespaced: bool
    verbs: frozenset[str]
