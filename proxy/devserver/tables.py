"""Tables: the columns that `kubectl get` prints for each served kind.

AGE cells are printed for the moment given as `now`.

Source: k8s.io/kubernetes/pkg/printers/internalversion/printers.go
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from proxy.devserver.durations import human_duration
from proxy.devserver.kinds import (
    CONFIGMAPS,
    DEPLOYMENTS,
    ENDPOINTS,
    ENDPOINTSLICES,
    EVENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    SERVICES,
    Body,
    Kind,
)

NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = "<unknown>"
_ENDPOINTS_SHOWN = 3

Cell = str | int
Cells = list[Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column; those of priority 1 are shown by `-o wide` only."""

    name: str
    type: str
    format: str
    priority: int

    def definition(self) -> dict[str, Any]:
        """A TableColumnDefinition."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.name,
            "priority": self.priority,
        }


def columns(kind: Kind) -> Sequence[Column]:
    """The columns of a kind's Table."""
    return _PRINTERS[kind][0]


def cells(kind: Kind, body: Body, now: datetime) -> Cells:
    """The cells of one object's row, one for each column."""
    return _PRINTERS[kind][1](body, now)


def _columns(*names: str, wide: Sequence[str] = ()) -> Sequence[Column]:
    return [
        Column(
            name=name,
            type="integer" if name in _INTEGERS else "string",
            format="name" if name == "Name" else "",
            priority=1 if name in wide else 0,
        )
        for name in names
    ]


_INTEGERS = frozenset({"Data", "Up-to-date", "Available", "Count"})


def _pod(body: Body, now: datetime) -> Cells:
    spec, status = _part(body, "spec"), _part(body, "status")
    states = status.get("containerStatuses") or []
    ready = sum(1 for state in states if state.get("ready"))
    return [
        _name(body),
        f"{ready}/{len(spec.get('containers') or [])}",
        status.get("reason") or status.get("phase") or "Unknown",
        str(sum(state.get("restartCount", 0) for state in states)),
        _age(body, now),
        status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        NONE,
    ]


def _service(body: Body, now: datetime) -> Cells:
    spec = _part(body, "spec")
    ports = [f"{port['port']}/{port.get('protocol', 'TCP')}" for port in spec.get("ports") or []]
    return [
        _name(body),
        spec.get("type") or "ClusterIP",
        spec.get("clusterIP") or NONE,
        ",".join(spec.get("externalIPs") or []) or NONE,
        ",".join(ports) or NONE,
        _age(body, now),
        _labels(spec.get("selector")),
    ]


def _endpoints(body: Body, now: datetime) -> Cells:
    addresses = [
        f"{address['ip']}:{port['port']}"
        for subset in body.get("subsets") or []
        for port in subset.get("ports") or []
        for address in subset.get("addresses") or []
    ]
    return [_name(body), _shortened(addresses), _age(body, now)]


def _endpoint_slice(body: Body, now: datetime) -> Cells:
    ports = [str(port.get("port", "*")) for port in body.get("ports") or []]
    addresses = [address for endpoint in body.get("endpoints") or [] for address in endpoint.get("addresses") or []]
    shown = [_shortened(values).replace(NONE, UNSET) for values in (ports, addresses)]
    return [_name(body), body.get("addressType", ""), *shown, _age(body, now)]


def _config_map(body: Body, now: datetime) -> Cells:
    return [_name(body), len(_part(body, "data")) + len(_part(body, "binaryData")), _age(body, now)]


def _secret(body: Body, now: datetime) -> Cells:
    return [_name(body), body.get("type") or "Opaque", len(_part(body, "data")), _age(body, now)]


def _node(body: Body, now: datetime) -> Cells:
    status, info = _part(body, "status"), _part(_part(body, "status"), "nodeInfo")
    addresses = {address["type"]: address["address"] for address in status.get("addresses") or []}
    role_prefix = "node-role.kubernetes.io/"
    roles = sorted(
        label.removeprefix(role_prefix)
        for label in body["metadata"].get("labels") or {}
        if label.startswith(role_prefix)
    )
    return [
        _name(body),
        _node_state(body),
        ",".join(roles) or NONE,
        _age(body, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage", UNKNOWN),
        info.get("kernelVersion", UNKNOWN),
        info.get("containerRuntimeVersion", UNKNOWN),
    ]


def _node_state(body: Body) -> str:
    conditions = {each["type"]: each["status"] for each in _part(body, "status").get("conditions") or []}
    state = {"True": "Ready", None: "Unknown"}.get(conditions.get("Ready"), "NotReady")
    return f"{state},SchedulingDisabled" if _part(body, "spec").get("unschedulable") else state


def _namespace(body: Body, now: datetime) -> Cells:
    return [_name(body), _part(body, "status").get("phase", ""), _age(body, now)]


def _event(body: Body, now: datetime) -> Cells:
    about, source = _part(body, "involvedObject"), _part(body, "source")
    return [
        _since(body.get("lastTimestamp") or body.get("eventTime"), now),
        body.get("type", ""),
        body.get("reason", ""),
        f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        source.get("component", ""),
        str(body.get("message", "")).strip(),
        _since(body.get("firstTimestamp") or body.get("eventTime"), now),
        body.get("count", 1),
        _name(body),
    ]


def _deployment(body: Body, now: datetime) -> Cells:
    spec, status = _part(body, "spec"), _part(body, "status")
    containers = _part(_part(spec, "template"), "spec").get("containers") or []
    return [
        _name(body),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _age(body, now),
        ",".join(container.get("name", "") for container in containers),
        ",".join(container.get("image", "") for container in containers),
        _labels(_part(spec, "selector").get("matchLabels")),
    ]


def _lease(body: Body, now: datetime) -> Cells:
    return [_name(body), _part(body, "spec").get("holderIdentity") or "", _age(body, now)]


_NODE_WIDE = ("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime")
_EVENT_NAMES = (
    "Last Seen",
    "Type",
    "Reason",
    "Object",
    "Subobject",
    "Source",
    "Message",
    "First Seen",
    "Count",
    "Name",
)
_EVENT_WIDE = ("Subobject", "Source", "First Seen", "Count", "Name")
_POD_WIDE = ("IP", "Node", "Nominated Node", "Readiness Gates")
_DEPLOYMENT_WIDE = ("Containers", "Images", "Selector")

_PRINTERS: Mapping[Kind, tuple[Sequence[Column], Callable[[Body, datetime], Cells]]] = {
    PODS: (_columns("Name", "Ready", "Status", "Restarts", "Age", *_POD_WIDE, wide=_POD_WIDE), _pod),
    SERVICES: (
        _columns("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector", wide=("Selector",)),
        _service,
    ),
    ENDPOINTS: (_columns("Name", "Endpoints", "Age"), _endpoints),
    ENDPOINTSLICES: (_columns("Name", "AddressType", "Ports", "Endpoints", "Age"), _endpoint_slice),
    CONFIGMAPS: (_columns("Name", "Data", "Age"), _config_map),
    SECRETS: (_columns("Name", "Type", "Data", "Age"), _secret),
    NODES: (_columns("Name", "Status", "Roles", "Age", "Version", *_NODE_WIDE, wide=_NODE_WIDE), _node),
    NAMESPACES: (_columns("Name", "Status", "Age"), _namespace),
    EVENTS: (_columns(*_EVENT_NAMES, wide=_EVENT_WIDE), _event),
    DEPLOYMENTS: (
        _columns("Name", "Ready", "Up-to-date", "Available", "Age", *_DEPLOYMENT_WIDE, wide=_DEPLOYMENT_WIDE),
        _deployment,
    ),
    LEASES: (_columns("Name", "Holder", "Age"), _lease),
}


def _part(body: Mapping[str, Any], key: str) -> dict[str, Any]:
    value: dict[str, Any] = body.get(key) or {}
    return value


def _name(body: Body) -> str:
    return str(body["metadata"]["name"])


def _labels(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def _shortened(values: Sequence[str]) -> str:
    more = len(values) - _ENDPOINTS_SHOWN
    shown = ",".join(values[:_ENDPOINTS_SHOWN])
    return f"{shown} + {more} more..." if more > 0 else shown or NONE


def _age(body: Body, now: datetime) -> str:
    return _since(body["metadata"].get("creationTimestamp"), now)


def _since(timestamp: str | None, now: datetime) -> str:
    if not timestamp:
        return UNKNOWN
    return human_duration((now - datetime.fromisoformat(timestamp).astimezone(UTC)).total_seconds())
