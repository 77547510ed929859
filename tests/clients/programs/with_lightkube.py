"""The `lightkube` package: lists in pages, watches from there, lists again when it is told 410."""

import time
from typing import Any

import httpx2
from lightkube import ApiError, Client, KubeConfig
from lightkube.resources.core_v1 import ConfigMap, Pod
from report import PAGE_SIZE, RETRY_SECONDS, described, options, say


def list_all(client: Client, kind: Any) -> str:
    """Says what there is; returns its resourceVersion."""
    listed = client.list(kind, namespace="*", chunk_size=PAGE_SIZE)
    say("listed", items=[described(item.to_dict()) for item in listed])
    return listed.resourceVersion


def main() -> None:
    chosen = options()
    client = Client(config=KubeConfig.from_file(chosen.kubeconfig))
    kind, rv = {"configmaps": ConfigMap, "pods": Pod}[chosen.resource], None
    while True:
        try:
            rv = rv or list_all(client, kind)
            for type_, item in client.watch(kind, namespace="*", resource_version=rv):
                rv = item.metadata.resourceVersion
                say("event", type=type_, object=described(item.to_dict()))
        except ApiError as error:
            if error.status.code != 410:
                raise
            say("expired")
            rv = None
        except httpx2.TransportError as error:
            say("broken", why=repr(error))
            time.sleep(RETRY_SECONDS)


main()
