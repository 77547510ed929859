"""Objects of an API server by their manifests: what a test changes a cluster with.

A manifest names its object by `apiVersion`, `kind` and `metadata`; where that lives is asked of the server's discovery,
so custom resources work as soon as they are served. A namespaced manifest without a namespace is in `default`.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx

from tests.support.manifests import NO_LABELS, Manifest, namespace

MERGE_PATCH = "application/merge-patch+json"


class RefusedError(Exception):
    """The server answered with an error; `status` is the Status object it sent."""

    def __init__(self, response: httpx.Response) -> None:
        request = response.request
        super().__init__(f"{request.method} {request.url.raw_path.decode()}: {response.status_code} {response.text}")
        self.code = response.status_code
        self.status: dict[str, Any] = response.json() if response.text.startswith("{") else {}


class Objects:
    """Objects as one client may handle them; every method returns what the server answered."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._discovered: dict[str, dict[str, tuple[str, bool]]] = {}

    def create(self, manifest: Manifest) -> Manifest:
        """POST; `metadata.generateName` works."""
        return self._call("POST", self._collection(manifest), json=manifest)

    def get(self, manifest: Manifest) -> Manifest:
        """The object as it is now."""
        return self._call("GET", self.path(manifest))

    def replace(self, manifest: Manifest) -> Manifest:
        """PUT over whatever is there now, unless the manifest has a resourceVersion of its own."""
        metadata = manifest["metadata"]
        rv = metadata.get("resourceVersion") or self.get(manifest)["metadata"]["resourceVersion"]
        whole = {**manifest, "metadata": {**metadata, "resourceVersion": rv}}
        return self._call("PUT", self.path(manifest), json=whole)

    def apply(self, manifest: Manifest) -> Manifest:
        """Create, or replace what is there."""
        try:
            return self.create(manifest)
        except RefusedError as error:
            if error.code != HTTPStatus.CONFLICT:
                raise
        return self.replace(manifest)

    def patch(self, manifest: Manifest, change: Mapping[str, Any], *, subresource: str = "") -> Manifest:
        """Merge patch; `subresource` is for example `status`."""
        path = self.path(manifest) + (f"/{subresource}" if subresource else "")
        return self._call("PATCH", path, json=dict(change), headers={"content-type": MERGE_PATCH})

    def delete(self, manifest: Manifest, *, grace_period_seconds: int = 0) -> Manifest:
        """DELETE, at once by default: no kubelet runs here that would end a pod's grace period."""
        return self._call("DELETE", self.path(manifest), params={"gracePeriodSeconds": grace_period_seconds})

    def create_namespace(self, name: str, *, labels: Mapping[str, str] = NO_LABELS) -> Manifest:
        """A namespace, ready for objects."""
        return self.create(namespace(name, labels=labels))

    def delete_namespace(self, name: str) -> None:
        """Delete and finalize a namespace as a controller-manager does; here what is in it stays."""
        deleted = self.delete(namespace(name))
        if deleted.get("kind") == "Namespace":
            self._call("PUT", f"/api/v1/namespaces/{name}/finalize", json={**deleted, "spec": {"finalizers": []}})

    def path(self, manifest: Manifest) -> str:
        """The URL path of the object the manifest names."""
        return f"{self._collection(manifest)}/{manifest['metadata']['name']}"

    def _collection(self, manifest: Manifest) -> str:
        api_version = manifest["apiVersion"]
        resource, namespaced = self._resource(api_version, manifest["kind"])
        if not namespaced:
            return f"{_root(api_version)}/{resource}"
        return f"{_root(api_version)}/namespaces/{manifest['metadata'].get('namespace', 'default')}/{resource}"

    def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        """(resource, namespaced); asks again for a kind it does not know, which may have come since."""
        if kind not in self._discovered.get(api_version, {}):
            found = self._call("GET", _root(api_version))["resources"]
            self._discovered[api_version] = {
                each["kind"]: (each["name"], each["namespaced"]) for each in found if "/" not in each["name"]
            }
        return self._discovered[api_version][kind]

    def _call(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        response = self._client.request(method, path, **request)
        if response.is_error:
            raise RefusedError(response)
        answer: dict[str, Any] = response.json()
        return answer


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
