"""Object versions as an API server prints them, a sink that keeps what it is given, and a reader of its bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from proxy.api.groups import ApiResource, GroupVersionResource
from proxy.api.objects import ObjectVersion
from proxy.api.representations import type_prefix

PODS = ApiResource(
    gvr=GroupVersionResource("", "v1", "pods"),
    kind="Pod",
    namespaced=True,
    verbs=frozenset({"get", "list", "watch"}),
)

POD_PREFIX = type_prefix("Pod", "v1")

NONE: Mapping[str, str] = {}

ROW_HEAD = b'{"cells":["a row"],"object":'


def pod(
    namespace: str, name: str, rv: int | str, *, labels: Mapping[str, str] = NONE, node: str = "", note: str = ""
) -> dict[str, Any]:
    """A pod as an event shows it; `note` is an annotation to tell one version from another by."""
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "resourceVersion": str(rv)}
    if labels:
        metadata["labels"] = dict(labels)
    if note:
        metadata["annotations"] = {"note": note}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"nodeName": node} if node else {}}


def compact(value: object) -> bytes:
    """JSON as an API server prints it."""
    return json.dumps(value, separators=(",", ":")).encode()


def version(
    namespace: str,
    name: str,
    rv: int | str,
    *,
    labels: Mapping[str, str] = NONE,
    node: str = "",
    note: str = "",
    row_head: bytes = b"",
) -> ObjectVersion:
    """A version of a pod."""
    return ObjectVersion(compact(pod(namespace, name, rv, labels=labels, node=node, note=note)), row_head)


class KeepingSink:
    """Keeps every byte; `writable` is what the test says."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.writable = True

    def write(self, chunk: bytes) -> None:
        self.data += chunk

    def take(self) -> list[dict[str, Any]]:
        """The events written since the last call, out of their HTTP chunks."""
        events = list(events_of(bytes(self.data)))
        self.data.clear()
        return events


def events_of(data: bytes) -> Iterator[dict[str, Any]]:
    """The watch events in a stream of HTTP chunks; raises when the framing is broken."""
    lines = b"".join(unchunked(data)).split(b"\n")
    assert lines.pop() == b"", "every event ends its line"
    for line in lines:
        yield json.loads(line)


def unchunked(data: bytes) -> Iterator[bytes]:
    """The contents of HTTP/1.1 chunks."""
    while data:
        size, data = data.split(b"\r\n", 1)
        length = int(size, 16)
        assert data[length : length + 2] == b"\r\n"
        yield data[:length]
        data = data[length + 2 :]
