"""The oracle's world: one cluster with RBAC, the proxy in both list modes with the same policy, and who asks them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.binaries import Binaries
from tests.support.expanded_rbac import expanded, load
from tests.support.identities import Identity
from tests.support.manifests import Manifest
from tests.support.oracle.callers import API_GROUP, TOKENS, RandomRbac
from tests.support.oracle.contents import EVERY_NAMESPACE, fill
from tests.support.oracle.sides import Certificates, Side
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import IMPERSONATION_RULES, PROXY_RULES, RealCluster

_SENTINEL = Identity(name="oracle-sentinel")
_SENTINEL_RULES = ({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},)
_RBAC_KINDS = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Three servers with the same objects and the same policy. `rv` and `token` are for requests to name."""

    cluster: RealCluster
    direct: Side
    strict: Side
    filtering: Side
    rv: str
    token: str


@contextmanager
def oracle_world(directory: Path, binaries: Binaries, seed: int) -> Iterator[World]:
    """A cluster of its own, whose policy is made from the seed."""
    with ExitStack() as stack:
        cluster = stack.enter_context(RealCluster(directory / "cluster", binaries, token_users=TOKENS))
        cluster.grant(cluster.proxy_identity, [*PROXY_RULES, *IMPERSONATION_RULES])
        fill(cluster)
        manifests = RandomRbac(random.Random(seed)).manifests()
        written = [*_in_force(cluster), *manifests]
        policy = load(written)
        for manifest in written:
            if manifest in manifests or "aggregationRule" in manifest:
                cluster.apply(expanded(manifest, policy))
        # Each kind reaches the authorizer in the order of its changes: behind the last of each kind all are there.
        cluster.grant(_SENTINEL, _SENTINEL_RULES)
        cluster.grant(_SENTINEL, _SENTINEL_RULES, namespace=EVERY_NAMESPACE[0])
        certificates = Certificates(cluster)
        sides = {"direct": stack.enter_context(Side(cluster.url, certificates))}
        for mode in ("strict", "filter"):
            flags = ["--list-mode", mode]
            proxy = ProxyProcess(cluster, directory / mode, {"p.yaml": written}, flags=flags, tokens=TOKENS)
            stack.enter_context(proxy)
            sides[mode] = stack.enter_context(Side(proxy.url, certificates))
        listed = cluster.admin.get("/api/v1/namespaces/oracle-a/configmaps", params={"limit": 1}).json()["metadata"]
        yield World(
            cluster=cluster,
            direct=sides["direct"],
            strict=sides["strict"],
            filtering=sides["filter"],
            rv=listed["resourceVersion"],
            token=listed["continue"],
        )


def fingerprint(cluster: RealCluster) -> dict[str, Any]:
    """Every object of the oracle's namespaces, and what is in none, by its path: with its resourceVersion."""
    found = {}
    for root in ("/api/v1", "/apis/apps/v1", "/apis/batch/v1", "/apis/samples.example/v1", f"/apis/{API_GROUP}/v1"):
        for resource in cluster.admin.get(root).json()["resources"]:
            if "/" not in resource["name"] and "list" in resource["verbs"] and resource["name"] != "componentstatuses":
                for item in cluster.admin.get(f"{root}/{resource['name']}").json()["items"] or ():
                    metadata = item["metadata"]
                    found[root, resource["name"], metadata.get("namespace"), metadata["name"]] = metadata[
                        "resourceVersion"
                    ]
    return {" ".join(map(str, key)): rv for key, rv in found.items()}


def _in_force(cluster: RealCluster) -> list[Manifest]:
    """What the API server has of its own: the roles and bindings it begins with."""
    found = []
    for kind in _RBAC_KINDS:
        for item in cluster.admin.get(f"/apis/{API_GROUP}/v1/{kind.lower()}s").json()["items"]:
            metadata = {
                name: item["metadata"][name] for name in ("name", "namespace", "labels") if name in item["metadata"]
            }
            rest = {name: value for name, value in item.items() if name != "metadata" and value is not None}
            found.append({"apiVersion": f"{API_GROUP}/v1", "kind": kind, "metadata": metadata, **rest})
    return found
