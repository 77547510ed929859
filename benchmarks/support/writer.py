"""The objects of a benchmark, and who updates the busy ones: whole PUTs at a steady rate over one connection.

An object's JSON is made once; an update replaces the mark in it.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.support.mark import KEY, write_mark
from tests.support.manifests import NO_LABELS, config_map, pod

_PLACEHOLDER = "MARK"

# What the server makes of a pod or a ConfigMap without padding, with its managedFields.
_POD_BYTES = 1750
_CONFIG_MAP_BYTES = 600


def marked_config_map(name: str, namespace: str, size_bytes: int) -> dict[str, Any]:
    """A ConfigMap of about this size as it is served."""
    padding = "x" * max(size_bytes - _CONFIG_MAP_BYTES, 1)
    return config_map(name, namespace, data={KEY: _PLACEHOLDER, "padding": padding})


def marked_pod(name: str, namespace: str, node: str) -> dict[str, Any]:
    """A small pod on a node."""
    manifest = pod(name, namespace, node=node)
    manifest["metadata"]["annotations"] = {KEY: _PLACEHOLDER}
    return manifest


def padded_pod(
    name: str, namespace: str, size_bytes: int, *, node: str = "node", labels: Mapping[str, str] = NO_LABELS
) -> dict[str, Any]:
    """A pod of about this size as it is served."""
    manifest = pod(name, namespace, node=node, labels=labels)
    manifest["metadata"]["annotations"] = {"padding": "x" * max(size_bytes - _POD_BYTES, 1)}
    return manifest


class BusyObject:
    """One object under updates. `created` is what the server answered to its creation, `path` its URL path."""

    def __init__(self, path: str, created: dict[str, Any]) -> None:
        metadata = {**created["metadata"]}
        for key in ("resourceVersion", "managedFields"):
            metadata.pop(key, None)
        head, tail = json.dumps({**created, "metadata": metadata}).encode().split(_PLACEHOLDER.encode())
        self._parts = head, tail
        self.path = path
        self.name: str = metadata["name"]
        self.updates = 0

    def next_body(self) -> bytes:
        """The object as its next update, stamped with the time now."""
        self.updates += 1
        return write_mark(self.name, self.updates, time.time_ns()).join(self._parts)


class Writer:
    """Updates busy objects in turn, each once at the beginning so that all have a mark."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, objects: Sequence[BusyObject]) -> None:
        self._connection = http.client.HTTPSConnection(host, port, context=context)
        self._objects = objects
        self._next = 0
        for each in objects:
            self._update(each)

    def expected(self) -> dict[str, int]:
        """The number of the last update of each object."""
        return {each.name: each.updates for each in self._objects}

    def write(self, count: int, *, per_second: float) -> float:
        """So many updates; returns the rate that was reached. One that is late is sent at once."""
        started = time.monotonic()
        for done in range(count):
            time.sleep(max(started + done / per_second - time.monotonic(), 0))
            self._update(self._objects[self._next])
            self._next = (self._next + 1) % len(self._objects)
        return count / max(time.monotonic() - started, 1e-9)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _update(self, each: BusyObject) -> None:
        self._connection.request("PUT", each.path, each.next_body(), {"content-type": "application/json"})
        response = self._connection.getresponse()
        body = response.read()
        if response.status != http.client.OK:
            raise RuntimeError(f"PUT {each.path}: {response.status} {body!r}")
