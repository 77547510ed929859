"""Writes as the API serves them: create, replace, patch and delete, with their metadata and their conflicts.

The status of a kind with a `/status` subresource is written there only; a write to the object itself keeps the old one.
Objects go at once when deleted: grace periods and finalizers are not waited for. A deleted namespace takes its objects
with it.

Source: k8s.io/apiserver/pkg/registry/generic/registry/store.go
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

from proxy.api.status import BadRequest, Invalid
from proxy.devserver.errors import Conflict, already_exists, details_of, modified_since, not_found
from proxy.devserver.kinds import KINDS, NAMESPACES, NODES, PODS, SERVICES, Body, Kind
from proxy.devserver.storage import Storage, Version

_METADATA_ORDER = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)
"""The order in which Go prints ObjectMeta."""

_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Source: k8s.io/apimachinery/pkg/util/rand
_NAME_SUFFIX_LENGTH = 5


@dataclass(frozen=True, slots=True)
class Writer:
    """The one way by which objects change."""

    storage: Storage
    clock: Callable[[], datetime]
    random: Random

    def create(self, kind: Kind, namespace: str, body: Body, *, with_status: bool, dry_run: bool) -> Version:
        """Stores a new object. `with_status` keeps the status that the body brings."""
        metadata = self._checked_metadata(kind, namespace, body)
        name = metadata.get("name") or self._generated_name(metadata)
        if kind.namespaced and self.storage.get(NAMESPACES.gvr, ("", namespace)) is None:
            raise not_found(NAMESPACES, namespace)
        if self.storage.get(kind.gvr, (namespace, name)) is not None:
            raise already_exists(kind, name)
        if kind is PODS and not (body.get("spec") or {}).get("containers"):
            raise Invalid(f'Pod "{name}" is invalid: spec.containers: Required value', details=details_of(kind, name))
        if metadata.get("resourceVersion"):
            raise BadRequest("resourceVersion should not be set on objects to be created")
        metadata |= {
            "name": name,
            "resourceVersion": str(self.storage.rv),  # holds the place of the one that the storage gives
            "uid": str(UUID(int=self.random.getrandbits(128), version=4)),
            "creationTimestamp": self.clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if not with_status and kind.has_status:
            body = {key: value for key, value in body.items() if key != "status"}
        return self._store(kind, (namespace, name), _defaulted(kind, body, metadata), dry_run=dry_run)

    def replace(self, kind: Kind, namespace: str, name: str, body: Body, *, subresource: str, dry_run: bool) -> Version:
        """Stores a new version of an object; a resourceVersion in the body must be the current one.

        `subresource` is "" for the object without its status, `status` for the status alone, `*` for both.
        """
        metadata = self._checked_metadata(kind, namespace, body)
        if metadata.get("name") != name:
            raise BadRequest(
                f"the name of the object ({metadata.get('name', '')}) does not match the name on the URL ({name})"
            )
        old = self._existing(kind, namespace, name)
        given_rv = metadata.get("resourceVersion")
        if given_rv and given_rv != str(old.rv):
            raise modified_since(kind, name)
        if metadata.get("uid") and metadata["uid"] != old.body["metadata"]["uid"]:
            raise _uid_conflict(kind, name, metadata["uid"], old)
        for inherited in ("uid", "creationTimestamp", "resourceVersion"):
            metadata[inherited] = old.body["metadata"][inherited]
        merged = _merge_subresource(kind, old.body, body, subresource)
        if subresource == "status":
            metadata = old.body["metadata"]
        new = _ordered(kind, merged, metadata)
        if new == old.body:  # a write that changes nothing is none
            return old
        return self._store(kind, old.key, new, dry_run=dry_run)

    def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        change: Callable[[Body], Any],
        *,
        subresource: str,
        dry_run: bool,
    ) -> Version:
        """Replaces an object by what `change` makes of it."""
        patched = change(self._existing(kind, namespace, name).body)
        if not isinstance(patched, dict):
            raise BadRequest("the patch leaves no object")
        return self.replace(kind, namespace, name, patched, subresource=subresource, dry_run=dry_run)

    def delete(
        self, kind: Kind, namespace: str, name: str, *, preconditions: Mapping[str, str], dry_run: bool
    ) -> Version:
        """Removes an object and returns its last version."""
        old = self._existing(kind, namespace, name)
        uid = preconditions.get("uid")
        if uid and uid != old.body["metadata"]["uid"]:
            raise _uid_conflict(kind, name, uid, old)
        if preconditions.get("resourceVersion") not in (None, str(old.rv)):
            raise modified_since(kind, name)
        if dry_run:
            return old
        if kind is NAMESPACES:
            self._empty_namespace(name)
        return self.storage.delete(kind.gvr, old.key)

    def _empty_namespace(self, namespace: str) -> None:
        for kind in KINDS:
            for version in self.storage.current(kind.gvr):
                if kind.namespaced and version.key[0] == namespace:
                    self.storage.delete(kind.gvr, version.key)

    def _existing(self, kind: Kind, namespace: str, name: str) -> Version:
        version = self.storage.get(kind.gvr, (namespace, name))
        if version is None:
            raise not_found(kind, name)
        return version

    def _store(self, kind: Kind, key: tuple[str, str], body: Body, *, dry_run: bool) -> Version:
        if dry_run:
            return Version(key, body, self.storage.rv)
        return self.storage.put(kind.gvr, key, body)

    def _checked_metadata(self, kind: Kind, namespace: str, body: Body) -> dict[str, Any]:
        if (body.get("apiVersion", kind.api_version), body.get("kind", kind.name)) != (kind.api_version, kind.name):
            raise BadRequest(
                f"{body.get('kind')} in version {body.get('apiVersion')!r} cannot be handled as a {kind.name}"
            )
        metadata = body.get("metadata")
        if not isinstance(metadata, dict):
            raise BadRequest("metadata is required")
        given = metadata.get("namespace") or namespace
        if given != namespace:
            raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
        return {**metadata, "namespace": namespace} if namespace else dict(metadata)

    def _generated_name(self, metadata: Mapping[str, Any]) -> str:
        base = metadata.get("generateName")
        if not base:
            raise BadRequest("name or generateName is required")
        return str(base) + "".join(self.random.choices(_NAME_ALPHABET, k=_NAME_SUFFIX_LENGTH))


def _merge_subresource(kind: Kind, old: Body, new: Body, subresource: str) -> Body:
    if subresource == "*" or not kind.has_status:
        return new
    if subresource == "status":
        return {**old, "status": new.get("status", {})}
    kept = {"status": old["status"]} if "status" in old else {}
    return {**{key: value for key, value in new.items() if key != "status"}, **kept}


def _defaulted(kind: Kind, body: Body, metadata: dict[str, Any]) -> Body:
    """A new object with what the server adds to one of its kind."""
    defaults: Body = {}
    if kind is PODS:
        spec = {"restartPolicy": "Always", "serviceAccountName": "default", "schedulerName": "default-scheduler"}
        defaults = {"spec": spec, "status": {"phase": "Pending"}}
    elif kind is SERVICES:
        defaults = {"spec": {"type": "ClusterIP"}, "status": {"loadBalancer": {}}}
    elif kind is NAMESPACES:
        name = metadata["name"]
        metadata["labels"] = {"kubernetes.io/metadata.name": name, **(metadata.get("labels") or {})}
        defaults = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    elif kind is NODES:
        defaults = {"spec": {}, "status": {}}
    completed = dict(body)
    for part, values in defaults.items():
        completed[part] = {**values, **(body.get(part) or {})}
    return _ordered(kind, completed, metadata)


def _ordered(kind: Kind, body: Body, metadata: Mapping[str, Any]) -> Body:
    """The body with its fields in the order Go prints them, the status last."""
    known = {key: metadata[key] for key in _METADATA_ORDER if metadata.get(key)}
    rest = {key: value for key, value in body.items() if key not in ("kind", "apiVersion", "metadata", "status")}
    status = {"status": body["status"]} if "status" in body else {}
    return {"kind": kind.name, "apiVersion": kind.api_version, "metadata": known, **rest, **status}


def _uid_conflict(kind: Kind, name: str, given: str, current: Version) -> Conflict:
    return Conflict(
        f'Operation cannot be fulfilled on {kind.qualified_resource} "{name}": Precondition failed: UID in '
        f"precondition: {given}, UID in object meta: {current.body['metadata']['uid']}",
        details=details_of(kind, name),
    )
