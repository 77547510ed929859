"""Calls of the API without a server: targets in, JSON out."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any

from proxy.devserver.handlers import Answer, Api, Request
from proxy.devserver.kinds import NAMESPACES
from proxy.devserver.storage import Storage
from proxy.devserver.watches import Watcher

NOW = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
MERGE = "application/merge-patch+json"


def new_api(*, history_limit: int = 1000, namespaces: tuple[str, ...] = ("a", "b")) -> Api:
    """An API whose clock stands still, with namespaces and nothing else."""
    api = Api.over(Storage(history_limit=history_limit), lambda: NOW, Random(0))
    for name in namespaces:
        api.writer.create(NAMESPACES, "", {"metadata": {"name": name}}, with_status=False, dry_run=False)
    return api


def call(
    api: Api, method: str, target: str, body: object = None, *, accept: str = "", content_type: str = "application/json"
) -> tuple[int, Any]:
    """(status, decoded body) of a request that is answered at once."""
    answer = api.answer(_request(method, target, body, {"accept": accept, "content-type": content_type}))
    assert isinstance(answer, Answer)
    return answer.status, json.loads(answer.body)


def watch(api: Api, target: str, *, accept: str = "") -> Watcher:
    """The watcher of a request that opens a watch."""
    watcher = api.answer(_request("GET", target, None, {"accept": accept}))
    assert isinstance(watcher, Watcher), watcher
    return watcher


def events(frames: list[bytes]) -> list[tuple[str, Any]]:
    """(type, object) of each frame."""
    decoded = [json.loads(line) for frame in frames for line in frame.splitlines()]
    return [(event["type"], event["object"]) for event in decoded]


def pod(name: str, *, node: str | None = None, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A pod to create."""
    spec: dict[str, Any] = {"containers": [{"name": "main", "image": "app:1"}]}
    if node is not None:
        spec["nodeName"] = node
    return {"metadata": {"name": name, "labels": dict(labels or {})}, "spec": spec}


def _request(method: str, target: str, body: object, headers: Mapping[str, str]) -> Request:
    path, _, query = target.partition("?")
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request(method=method, path=path, query=query.encode(), headers=headers, body=raw)
