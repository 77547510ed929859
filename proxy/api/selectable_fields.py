"""Which field labels a client's selector may name on a built-in resource, and the value each has on an object.

Accepting a label and filling it are two things upstream, and the gaps between them are kept: `status.podIPs` of a pod
is accepted and always empty. An absent field reads as the empty string, unless upstream gives it a default.

Source: k8s.io/kubernetes/pkg/apis/*/conversion.go (accepted), pkg/registry/**/strategy.go (values)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec

from proxy.api.groups import GroupVersionResource
from proxy.api.objects import ObjectVersion
from proxy.api.selectors import FieldSelector
from proxy.api.status import BadRequest

FieldReader = Callable[[ObjectVersion], str]


@dataclass(frozen=True, slots=True)
class SelectableFields:
    """The field labels of one resource. `unsupported` is upstream's sentence about any other, `{}` being the label."""

    readers: Mapping[str, FieldReader]
    aliases: Mapping[str, str]
    unsupported: str

    def convert(self, selector: FieldSelector) -> FieldSelector:
        """The selector with aliases replaced. Raises BadRequest for the first label that is not selectable."""
        return FieldSelector(
            tuple(msgspec.structs.replace(term, path=self._label(term.path)) for term in selector.terms)
        )

    def matches(self, selector: FieldSelector, version: ObjectVersion) -> bool:
        """True when a converted selector matches the object."""
        return selector.matches(lambda label: self.readers[label](version))

    def _label(self, label: str) -> str:
        label = self.aliases.get(label, label)
        if label not in self.readers:
            raise BadRequest(self.unsupported.replace("{}", label))
        return label


def selectable_fields(gvr: GroupVersionResource) -> SelectableFields | None:
    """The selectable fields of a built-in resource; None where only the upstream knows, as for custom resources."""
    if fields := _SPECIAL.get((gvr.group, gvr.resource)):
        unsupported = fields.unsupported.replace("{gv}", gvr.group_version)
        return replace(fields, unsupported=unsupported)
    if gvr.resource in _DEFAULT_RESOURCES.get(gvr.group, ()):
        return _DEFAULT
    return None


def _field(path: str, default: str = "") -> FieldReader:
    def read(version: ObjectVersion) -> str:
        return version.field(path) or default

    return read


def _nothing(_: ObjectVersion) -> str:
    return ""


class _PodIP(msgspec.Struct):
    ip: str = ""


class _PodStatus(msgspec.Struct):
    podIP: str = ""  # noqa: N815
    podIPs: list[_PodIP] | None = None  # noqa: N815


class _Pod(msgspec.Struct):
    status: _PodStatus | None = None


_decode_pod = msgspec.json.Decoder(_Pod).decode


def _pod_ip(version: ObjectVersion) -> str:
    """The first of podIPs. podIP decides where both are there and differ. Source: Convert_v1_PodStatus_To_core."""
    status = _decode_pod(version.raw).status or _PodStatus()
    return status.podIP or (status.podIPs[0].ip if status.podIPs else "")


def _event_source(version: ObjectVersion) -> str:
    return version.field("source.component") or version.field("reportingComponent") or ""


def _fields(
    *paths: str,
    computed: Mapping[str, FieldReader] | None = None,
    aliases: Mapping[str, str] | None = None,
    unsupported: str = "field label not supported: {}",
) -> SelectableFields:
    readers = {path: _field(path) for path in paths}
    return SelectableFields(readers | dict(computed or {}), aliases or {}, unsupported)


def _of_object(prefix: str) -> tuple[str, ...]:
    names = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    return tuple(f"{prefix}.{name}" for name in names)


_NAME = "metadata.name"
_NAMESPACE = "metadata.namespace"

_SPECIAL = {
    ("", "pods"): _fields(
        _NAME,
        _NAMESPACE,
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
        "status.nominatedNodeName",
        computed={
            "spec.hostNetwork": _field("spec.hostNetwork", "false"),
            "status.podIP": _pod_ip,
            "status.podIPs": _nothing,
        },
        aliases={"spec.host": "spec.nodeName"},
    ),
    ("", "nodes"): _fields(_NAME, computed={"spec.unschedulable": _field("spec.unschedulable", "false")}),
    ("", "replicationcontrollers"): _fields(
        _NAME, _NAMESPACE, computed={"status.replicas": _field("status.replicas", "0")}
    ),
    ("", "events"): _fields(
        _NAME,
        _NAMESPACE,
        *_of_object("involvedObject"),
        "reason",
        "reportingComponent",
        "type",
        computed={"source": _event_source},
    ),
    ("events.k8s.io", "events"): _fields(
        _NAME, _NAMESPACE, *_of_object("regarding"), "reason", "reportingController", "type"
    ),
    ("", "namespaces"): _fields(_NAME, "status.phase"),
    ("", "secrets"): _fields(_NAME, _NAMESPACE, "type"),
    ("", "services"): _fields(_NAME, _NAMESPACE, "spec.clusterIP", "spec.type"),
    ("batch", "jobs"): _fields(
        _NAME,
        _NAMESPACE,
        computed={"status.successful": _field("status.succeeded", "0")},
        unsupported='field label "{}" not supported for Job',
    ),
    ("certificates.k8s.io", "certificatesigningrequests"): _fields(_NAME, "spec.signerName"),
    ("certificates.k8s.io", "clustertrustbundles"): _fields(_NAME, "spec.signerName"),
    ("certificates.k8s.io", "podcertificaterequests"): _fields(
        _NAME, "spec.signerName", "spec.podName", "spec.nodeName"
    ),
    ("resource.k8s.io", "resourceslices"): _fields(
        _NAME,
        "spec.nodeName",
        "spec.driver",
        unsupported="field label not supported for {gv}, Kind=ResourceSlice: {}",
    ),
}

_DEFAULT = _fields(
    _NAME,
    _NAMESPACE,
    unsupported='"{}" is not a known field selector: only "metadata.name", "metadata.namespace"',
)

_DEFAULT_RESOURCES = {
    "": {
        "configmaps",
        "endpoints",
        "limitranges",
        "persistentvolumeclaims",
        "persistentvolumes",
        "podtemplates",
        "resourcequotas",
        "serviceaccounts",
    },
    "admissionregistration.k8s.io": {
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    },
    "apiextensions.k8s.io": {"customresourcedefinitions"},
    "apiregistration.k8s.io": {"apiservices"},
    "apps": {"controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"},
    "autoscaling": {"horizontalpodautoscalers"},
    "batch": {"cronjobs"},
    "coordination.k8s.io": {"leasecandidates", "leases"},
    "discovery.k8s.io": {"endpointslices"},
    "flowcontrol.apiserver.k8s.io": {"flowschemas", "prioritylevelconfigurations"},
    "internal.apiserver.k8s.io": {"storageversions"},
    "networking.k8s.io": {"ingressclasses", "ingresses", "ipaddresses", "networkpolicies", "servicecidrs"},
    "node.k8s.io": {"runtimeclasses"},
    "policy": {"poddisruptionbudgets"},
    "rbac.authorization.k8s.io": {"clusterrolebindings", "clusterroles", "rolebindings", "roles"},
    "resource.k8s.io": {
        "deviceclasses",
        "devicetaintrules",
        "resourceclaims",
        "resourceclaimtemplates",
        "resourcepoolstatusrequests",
    },
    "scheduling.k8s.io": {"podgroups", "priorityclasses", "workloads"},
    "storage.k8s.io": {
        "csidrivers",
        "csinodes",
        "csistoragecapacities",
        "storageclasses",
        "volumeattachments",
        "volumeattributesclasses",
    },
    "storagemigration.k8s.io": {"storageversionmigrations"},
}
