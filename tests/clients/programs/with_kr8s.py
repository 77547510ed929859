"""The `kr8s` package: lists, then watches from the beginning, which is how it begins again whenever a watch ends."""

import asyncio

import httpx
import kr8s.asyncio
from report import RETRY_SECONDS, described, options, say


async def main() -> None:
    chosen = options()
    api = await kr8s.asyncio.api(kubeconfig=chosen.kubeconfig)
    say("got", items=[described(item.raw) async for item in api.get(chosen.resource, namespace=kr8s.ALL)])
    while True:
        say("listed", items=[])
        try:
            async for type_, item in api.watch(chosen.resource, namespace=kr8s.ALL):
                say("event", type=type_, object=described(item.raw))
        except (httpx.TransportError, kr8s.ConnectionClosedError) as error:
            say("broken", why=repr(error))
            await asyncio.sleep(RETRY_SECONDS)


asyncio.run(main())
