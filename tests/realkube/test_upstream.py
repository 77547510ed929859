"""The upstream client and discovery against a real kube-apiserver."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from proxy.api.groups import GroupVersionResource
from proxy.api.status import BadRequest, NotFound, StatusError, Timeout
from proxy.upstream.client import UpstreamClient
from proxy.upstream.discovery import DiscoveryCache
from proxy.upstream.errors import UpstreamIdentityRefused, status_error_from_response
from proxy.upstream.kubeconfig import load_kubeconfig
from proxy.upstream.response import UpstreamResponse
from tests.support.identities import ADMIN, TOKEN_USERS, Identity
from tests.support.realkube import RealCluster

pytestmark = pytest.mark.anyio

PODS = GroupVersionResource("", "v1", "pods")
MAX_BODY_BYTES = 16 * 1024 * 1024


class LoopClock:
    """Real time."""

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class LegacyOnly:
    """The same server, as if it did not know aggregated discovery."""

    def __init__(self, client: UpstreamClient) -> None:
        self._client = client

    async def get(self, path: str, *arguments: Any, accept: str = "", **options: Any) -> UpstreamResponse:
        return await self._client.get(path, *arguments, accept="application/json", **options)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": True})


def connect(cluster: RealCluster, identity: Identity) -> UpstreamClient:
    return UpstreamClient(load_kubeconfig(cluster.kubeconfig(identity)))


@pytest.fixture
async def client(real_cluster: RealCluster) -> AsyncIterator[UpstreamClient]:
    client = connect(real_cluster, ADMIN)
    yield client
    await client.aclose()


def custom_resource(plural: str) -> dict[str, Any]:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.upstream.example.com"},
        "spec": {
            "group": "upstream.example.com",
            "scope": "Cluster",
            "names": {"plural": plural, "singular": plural[:-1], "kind": plural[:-1].title()},
            "versions": [version],
        },
    }


async def test_a_certificate_and_a_token_both_work(real_cluster: RealCluster) -> None:
    for identity in (ADMIN, TOKEN_USERS[0]):
        client = connect(real_cluster, identity)
        answer = await client.get("/version", max_body_bytes=MAX_BODY_BYTES)
        await client.aclose()
        assert json.loads(answer.body)["gitVersion"].startswith("v1.")


async def test_both_forms_of_discovery_give_the_same_catalog(client: UpstreamClient) -> None:
    aggregated, legacy = DiscoveryCache(client, LoopClock()), DiscoveryCache(LegacyOnly(client), LoopClock())
    await aggregated.refresh()
    await legacy.refresh()
    assert aggregated.catalog == legacy.catalog
    assert len(aggregated.catalog.resources) > 50
    pods = aggregated.catalog.resource(PODS)
    assert pods is not None
    assert (pods.kind, pods.namespaced, "watch" in pods.verbs) == ("Pod", True, True)
    assert aggregated.catalog.subresource(PODS, "log") is not None


async def test_a_custom_resource_appears_when_it_is_asked_for_and_its_removal_is_told(
    real_cluster: RealCluster, client: UpstreamClient
) -> None:
    cache = DiscoveryCache(client, LoopClock())
    removed: list[frozenset[GroupVersionResource]] = []
    cache.observe_removals(removed.append)
    widgets = GroupVersionResource("upstream.example.com", "v1", "widgets")
    assert await cache.resource(widgets) is None
    definition = custom_resource("widgets")
    real_cluster.create(definition)
    while (found := await cache.resource(widgets)) is None:
        pass
    assert (found.kind, found.namespaced) == ("Widget", False)
    real_cluster.delete(definition)
    while not removed:
        await cache.refresh()
    assert removed == [frozenset({widgets})]


@pytest.mark.parametrize(
    ("path", "query", "error_class", "message"),
    [
        ("/api/v1/namespaces/default/pods/none", [], NotFound, 'pods "none" not found'),
        ("/apis/none.example.com/v1/things", [], NotFound, "the server could not find the requested resource"),
        ("/api/v1/pods", [("fieldSelector", "spec.x=y")], BadRequest, "field label not supported: spec.x"),
        ("/api/v1/pods", [("resourceVersion", "9" * 15)], Timeout, "Too large resource version"),
    ],
)
async def test_the_servers_own_errors_are_recognised(
    client: UpstreamClient, path: str, query: list[tuple[str, str]], error_class: type[StatusError], message: str
) -> None:
    answer = await client.get(path, query, max_body_bytes=MAX_BODY_BYTES)
    error = status_error_from_response(answer)
    assert isinstance(error, error_class)
    assert message in error.message
    assert error.code == answer.status


async def test_a_refusal_of_the_proxy_is_not_the_callers(real_cluster: RealCluster) -> None:
    stranger = connect(real_cluster, Identity(name="stranger"))
    error = status_error_from_response(await stranger.get("/api/v1/pods", max_body_bytes=MAX_BODY_BYTES))
    await stranger.aclose()
    assert isinstance(error, UpstreamIdentityRefused)
    assert error.code == 503
    assert '"stranger"' in error.upstream_message
    assert "stranger" not in error.message


async def test_a_watch_is_a_stream_of_events(real_cluster: RealCluster, client: UpstreamClient) -> None:
    query = [("watch", "true"), ("timeoutSeconds", "60"), ("fieldSelector", "metadata.name=upstream-watched")]
    async with client.stream("GET", "/api/v1/namespaces", query, headers=[("Accept", "application/json")]) as answer:
        assert answer.status_code == 200
        real_cluster.create_namespace("upstream-watched")
        received = b""
        async for data in answer.aiter_raw():
            received += data
            if b"\n" in received:
                break
    assert json.loads(received.split(b"\n")[0])["type"] == "ADDED"
    real_cluster.delete_namespace("upstream-watched")
