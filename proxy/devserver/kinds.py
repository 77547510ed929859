"""The kinds the development API server serves: how each is named, selected by field, and described by discovery.

Source: the field labels of each kind are those of its conversion.go and strategy.go in the Kubernetes source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.api.groups import GroupVersionResource
from proxy.api.objects import format_scalar
from proxy.api.status import BadRequest

Body = dict[str, Any]
"""One API object as decoded JSON. A body that is stored is never changed again."""

_METADATA_FIELDS = ("metadata.name", "metadata.namespace")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """One served kind; each is itself only, so that it can be the key of a table.

    `fields` are the accepted field labels. `field_defaults` is what an absent field reads as, where that is not "".
    `own_field_converter` kinds word their refusal of a field label differently. `has_status` kinds have a `/status`
    subresource. `bookmark_extra` is what Go prints of an empty object beside its metadata.
    """

    gvr: GroupVersionResource
    name: str
    singular: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    has_status: bool = False
    fields: tuple[str, ...] = _METADATA_FIELDS
    field_defaults: Mapping[str, str] | None = None
    own_field_converter: bool = False
    bookmark_extra: Mapping[str, object] | None = None

    @property
    def api_version(self) -> str:
        """`v1`, `apps/v1`."""
        return self.gvr.group_version

    @property
    def qualified_resource(self) -> str:
        """The resource as messages name it: `pods`, `deployments.apps`."""
        return f"{self.gvr.resource}.{self.gvr.group}" if self.gvr.group else self.gvr.resource

    def check_field_label(self, label: str) -> None:
        """Raises BadRequest, with upstream's words, for a label this kind cannot be selected by."""
        if label in self.fields:
            return
        if self.own_field_converter:
            raise BadRequest(f"field label not supported: {label}")
        raise BadRequest(f'"{label}" is not a known field selector: only "metadata.name", "metadata.namespace"')

    def field(self, body: Body, label: str) -> str:
        """The value a field selector compares with; an absent field reads as its default or ""."""
        for path in _PATHS.get(label, (label,)):
            if value := format_scalar(_at(body, path.split("."))):
                return value
        return (self.field_defaults or {}).get(label, "")


# Labels that do not read the path of their own name. `status.podIPs` is accepted upstream but never populated.
_PATHS: Mapping[str, tuple[str, ...]] = {
    "spec.host": ("spec.nodeName",),
    "status.podIPs": (),
    "source": ("source.component", "reportingComponent"),
}


def _at(value: object, path: list[str]) -> object:
    for part in path:
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _core(resource: str) -> GroupVersionResource:
    return GroupVersionResource("", "v1", resource)


PODS = Kind(
    gvr=_core("pods"),
    name="Pod",
    singular="pod",
    short_names=("po",),
    categories=("all",),
    has_status=True,
    fields=(
        *_METADATA_FIELDS,
        "spec.nodeName",
        "spec.host",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    field_defaults={"spec.hostNetwork": "false"},
    own_field_converter=True,
    bookmark_extra={"spec": {"containers": None}, "status": {}},
)
SERVICES = Kind(
    gvr=_core("services"),
    name="Service",
    singular="service",
    short_names=("svc",),
    categories=("all",),
    has_status=True,
    fields=(*_METADATA_FIELDS, "spec.clusterIP", "spec.type"),
    own_field_converter=True,
    bookmark_extra={"spec": {}, "status": {"loadBalancer": {}}},
)
ENDPOINTS = Kind(gvr=_core("endpoints"), name="Endpoints", singular="endpoints", short_names=("ep",))
CONFIGMAPS = Kind(gvr=_core("configmaps"), name="ConfigMap", singular="configmap", short_names=("cm",))
SECRETS = Kind(
    gvr=_core("secrets"),
    name="Secret",
    singular="secret",
    fields=(*_METADATA_FIELDS, "type"),
    own_field_converter=True,
)
NODES = Kind(
    gvr=_core("nodes"),
    name="Node",
    singular="node",
    short_names=("no",),
    namespaced=False,
    has_status=True,
    fields=("metadata.name", "spec.unschedulable"),
    field_defaults={"spec.unschedulable": "false"},
    own_field_converter=True,
    bookmark_extra={"spec": {}, "status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, "nodeInfo": {}}},
)
NAMESPACES = Kind(
    gvr=_core("namespaces"),
    name="Namespace",
    singular="namespace",
    short_names=("ns",),
    namespaced=False,
    has_status=True,
    fields=("metadata.name", "status.phase"),
    own_field_converter=True,
    bookmark_extra={"spec": {}, "status": {}},
)
EVENTS = Kind(
    gvr=_core("events"),
    name="Event",
    singular="event",
    short_names=("ev",),
    fields=(
        *_METADATA_FIELDS,
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    own_field_converter=True,
    bookmark_extra={"involvedObject": {}, "source": {}, "firstTimestamp": None, "lastTimestamp": None},
)
DEPLOYMENTS = Kind(
    gvr=GroupVersionResource("apps", "v1", "deployments"),
    name="Deployment",
    singular="deployment",
    short_names=("deploy",),
    categories=("all",),
    has_status=True,
    bookmark_extra={"spec": {"selector": None, "template": {}, "strategy": {}}, "status": {}},
)
ENDPOINTSLICES = Kind(
    gvr=GroupVersionResource("discovery.k8s.io", "v1", "endpointslices"),
    name="EndpointSlice",
    singular="endpointslice",
    bookmark_extra={"addressType": "", "endpoints": None, "ports": None},
)
LEASES = Kind(
    gvr=GroupVersionResource("coordination.k8s.io", "v1", "leases"),
    name="Lease",
    singular="lease",
    bookmark_extra={"spec": {}},
)

KINDS = (
    CONFIGMAPS,
    ENDPOINTS,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    SERVICES,
    DEPLOYMENTS,
    LEASES,
    ENDPOINTSLICES,
)
KIND_OF: Mapping[GroupVersionResource, Kind] = {kind.gvr: kind for kind in KINDS}
KIND_NAMED: Mapping[tuple[str, str], Kind] = {(kind.api_version, kind.name): kind for kind in KINDS}
"""By (apiVersion, kind) of an object."""

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
