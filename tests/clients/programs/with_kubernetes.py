"""The `kubernetes` package: lists in pages, watches from there, lists again when it is told 410."""

import time
from typing import Any

import urllib3
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from report import PAGE_SIZE, RETRY_SECONDS, described, options, say


def list_all(call: Any, api: client.ApiClient) -> str:
    """Says what there is; returns its resourceVersion."""
    items, pages, token = [], 0, None
    while True:
        page = call(limit=PAGE_SIZE, _continue=token)
        pages += 1
        items += [described(api.sanitize_for_serialization(item)) for item in page.items]
        token = page.metadata._continue
        if not token:
            say("listed", items=items, pages=pages)
            return str(page.metadata.resource_version)


def main() -> None:
    chosen = options()
    config.load_kube_config(chosen.kubeconfig)
    core = client.CoreV1Api()
    call = {"configmaps": core.list_config_map_for_all_namespaces, "pods": core.list_pod_for_all_namespaces}
    following, rv = call[chosen.resource], None
    while True:
        watching = watch.Watch()
        try:
            rv = rv or list_all(following, core.api_client)
            for event in watching.stream(following, resource_version=rv, allow_watch_bookmarks=True):
                rv = watching.resource_version
                if event["type"] != "BOOKMARK":
                    say("event", type=event["type"], object=described(event["raw_object"]))
        except ApiException as error:
            if error.status != 410:
                raise
            say("expired")
            rv = None
        except urllib3.exceptions.HTTPError as error:
            say("broken", why=repr(error))
            rv = watching.resource_version or rv
            time.sleep(RETRY_SECONDS)


main()
