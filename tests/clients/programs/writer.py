"""Writes as each library makes them, of one ConfigMap in the kubeconfig's namespace: create, patch, apply, delete.

What the server answered is said after each; the patch is of the kind the library takes if it is not told.
"""

import argparse
import asyncio
from typing import Any

from report import say

NAME = "written"
PATCH = {"data": {"value": "patched"}}


def manifest(namespace: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": namespace},
        "data": data,
    }


def with_kubernetes(kubeconfig: str, namespace: str) -> None:
    from kubernetes import client, config, dynamic

    config.load_kube_config(kubeconfig)
    core = client.CoreV1Api()
    say("created", data=core.create_namespaced_config_map(namespace, manifest(namespace, value="created")).data)
    say("patched", data=core.patch_namespaced_config_map(NAME, namespace, PATCH).data)
    resource = dynamic.DynamicClient(core.api_client).resources.get(api_version="v1", kind="ConfigMap")
    applied = resource.server_side_apply(
        body=manifest(namespace, more="applied"), name=NAME, namespace=namespace, field_manager="writer"
    )
    say("applied", data=applied.to_dict()["data"])
    say("deleted", status=core.delete_namespaced_config_map(NAME, namespace)["status"])


def with_kubernetes_asyncio(kubeconfig: str, namespace: str) -> None:
    from kubernetes_asyncio import client, config

    async def write() -> None:
        await config.load_kube_config(kubeconfig)
        async with client.ApiClient() as api:
            core = client.CoreV1Api(api)
            created = await core.create_namespaced_config_map(namespace, manifest(namespace, value="created"))
            say("created", data=created.data)
            say("patched", data=(await core.patch_namespaced_config_map(NAME, namespace, PATCH)).data)
            applied = await core.patch_namespaced_config_map(
                NAME,
                namespace,
                manifest(namespace, more="applied"),
                field_manager="writer",
                _content_type="application/apply-patch+yaml",
            )
            say("applied", data=applied.data)
            say("deleted", status=(await core.delete_namespaced_config_map(NAME, namespace)).status)

    asyncio.run(write())


def with_lightkube(kubeconfig: str, namespace: str) -> None:
    from lightkube import Client, KubeConfig
    from lightkube.resources.core_v1 import ConfigMap

    client = Client(config=KubeConfig.from_file(kubeconfig), field_manager="writer")
    say("created", data=client.create(ConfigMap.from_dict(manifest(namespace, value="created"))).data)
    say("patched", data=client.patch(ConfigMap, NAME, PATCH, namespace=namespace).data)
    say("applied", data=client.apply(ConfigMap.from_dict(manifest(namespace, more="applied"))).data)
    client.delete(ConfigMap, NAME, namespace=namespace)
    say("deleted", status="Success")


def with_kr8s(kubeconfig: str, namespace: str) -> None:
    import kr8s

    api = kr8s.api(kubeconfig=kubeconfig)
    written = kr8s.objects.ConfigMap(manifest(namespace, value="created"), api=api)
    written.create()
    say("created", data=written.raw["data"])
    written.patch(PATCH)
    say("patched", data=written.raw["data"])
    written.patch({"data": {"more": "applied"}})  # it has no server-side apply
    say("applied", data=written.raw["data"])
    written.delete()
    written.wait("delete")
    say("deleted", status="Success")


WRITERS = {
    "kubernetes": with_kubernetes,
    "kubernetes-asyncio": with_kubernetes_asyncio,
    "lightkube": with_lightkube,
    "kr8s": with_kr8s,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--library", choices=WRITERS, required=True)
    parser.add_argument("--namespace", required=True)
    chosen = parser.parse_args()
    WRITERS[chosen.library](chosen.kubeconfig, chosen.namespace)


main()
