"""The `kubernetes-asyncio` package: lists in pages, watches from there, lists again when it is told 410."""

import asyncio
from typing import Any

import aiohttp
from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.client.exceptions import ApiException
from report import PAGE_SIZE, RETRY_SECONDS, described, options, say


async def list_all(call: Any, api: client.ApiClient) -> str:
    """Says what there is; returns its resourceVersion."""
    items, pages, more = [], 0, {}
    while True:
        page = await call(limit=PAGE_SIZE, **more)
        pages += 1
        items += [described(api.sanitize_for_serialization(item)) for item in page.items]
        more = {"_continue": page.metadata._continue}
        if not page.metadata._continue:
            say("listed", items=items, pages=pages)
            return str(page.metadata.resource_version)


async def main() -> None:
    chosen = options()
    await config.load_kube_config(chosen.kubeconfig)
    async with client.ApiClient() as api:
        core = client.CoreV1Api(api)
        call = {"configmaps": core.list_config_map_for_all_namespaces, "pods": core.list_pod_for_all_namespaces}
        following, rv = call[chosen.resource], None
        while True:
            watching = watch.Watch()
            try:
                rv = rv or await list_all(following, api)
                async for event in watching.stream(following, resource_version=rv, allow_watch_bookmarks=True):
                    rv = watching.resource_version
                    if event["type"] != "BOOKMARK":
                        say("event", type=event["type"], object=described(event["raw_object"]))
            except ApiException as error:
                if error.status != 410:
                    raise
                say("expired")
                rv = None
            except aiohttp.ClientError as error:
                say("broken", why=repr(error))
                await asyncio.sleep(RETRY_SECONDS)


asyncio.run(main())
