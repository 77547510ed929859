"""Many pods in some namespaces, and callers who list them: what the rows about lists have in common.

Every second pod has the label `half=0` and the node `node-0`, one in a hundred the label `few=yes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.support.load import Answered, Load, Requests
from benchmarks.support.stage import WATCHKEEPER, Stage, cluster_role, cluster_role_binding
from benchmarks.support.writer import padded_pod
from tests.support.identities import Identity

PODS = "/api/v1/pods"

_CREATORS = 4


def namespace(number: int) -> str:
    """The name of a namespace with pods."""
    return f"team-{number}"


def fill(processes: Stage, *, pods: int, namespaces: int, size_bytes: int) -> None:
    """Creates the pods, each of about this size as it is served."""
    for number in range(namespaces):
        processes.cluster.create_namespace(namespace(number))

    def create(number: int) -> None:
        labels = {"half": str(number % 2), "few": "yes" if number % 100 == 0 else "no"}
        node = f"node-{number % 2}"
        where = namespace(number % namespaces)
        processes.cluster.create(padded_pod(f"pod-{number}", where, size_bytes, node=node, labels=labels))

    create(0)  # the kind is discovered before there are threads
    with ThreadPoolExecutor(max_workers=_CREATORS) as creators:
        list(creators.map(create, range(1, pods)))


def scoped(name: str, **selectors: object) -> Sequence[dict[str, Any]]:
    """The policy of a user of this name who reads the pods that the selectors choose."""
    return (
        cluster_role(name, "pods", group=WATCHKEEPER, **selectors),
        cluster_role_binding(name, name, ("User", name), group=WATCHKEEPER),
    )


def fetch(
    processes: Stage, url: str, identity: Identity, target: str, requests: int, *, connections: int = 1
) -> Answered:
    """So many GETs with the caller's client certificate."""
    certificate = processes.cluster.client_certificate(identity.name, identity.groups)
    asked = Requests(
        target=target,
        connections=connections,
        requests=requests,
        cert_file=str(certificate.cert_file),
        key_file=str(certificate.key_file),
    )
    with Load(url, processes.cluster.ca_file, asked) as load:
        return load.run()
