"""kube-proxy, speaking to the proxy alone under the policy in `policies/kube-proxy`, programs what Services say.

The real one, in nftables mode, in a network namespace of its own.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.components import kube_proxy
from tests.support.identities import Identity
from tests.support.manifests import Manifest
from tests.support.network_namespace import NetworkNamespace
from tests.support.polling import poll
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster

POLICY = Path(__file__).parents[2] / "policies" / "kube-proxy" / "kube-proxy.yaml"
KUBE_PROXY = Identity(name="system:kube-proxy")
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "proxied"}}
ADDRESS = {"type": "InternalIP", "address": "127.0.0.1"}
SYNC_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """kube-proxy at work in `network`."""

    network: NetworkNamespace
    audit_log: Path
    log: Path

    def rules(self) -> str:
        """What kube-proxy has told the kernel."""
        return self.network.run(["nft", "list", "ruleset"])

    def events(self) -> list[dict[str, Any]]:
        """The proxy's audit Events so far: nobody else speaks to it."""
        *lines, _being_written = self.audit_log.read_text().split("\n")
        return [json.loads(line) for line in lines]

    def asked(self) -> set[tuple[str, str]]:
        """(verb, resource) of the requests so far."""
        return {(event["verb"], event["objectRef"]["resource"]) for event in self.events() if "objectRef" in event}


@pytest.fixture(scope="module")
def stage(real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A node, and kube-proxy on it."""
    if os.environ.get("WATCHKEEPER_REQUIRE_REALKUBE") != "1" and (os.geteuid() != 0 or shutil.which("nft") is None):
        pytest.skip("needs root, for a network namespace, and nft (apt-get install nftables)")
    directory = tmp_path_factory.mktemp("kube-proxy")
    audit_log = directory / "proxy" / "audit.log"
    real_cluster.create(NODE)
    real_cluster.patch(NODE, {"status": {"addresses": [ADDRESS]}}, subresource="status")
    policies = {"kube-proxy.yaml": list(yaml.safe_load_all(POLICY.read_text()))}
    flags = ["--audit-log-path", str(audit_log)]
    with ProxyProcess(real_cluster, directory / "proxy", policies, flags=flags) as proxy, NetworkNamespace() as network:
        network.relay(proxy.port)
        with kube_proxy("proxied", proxy.kubeconfig(KUBE_PROXY), directory, network=network) as component:
            yield Stage(network=network, audit_log=audit_log, log=component.log)
    real_cluster.delete(NODE)


def service(name: str, address: str) -> tuple[Manifest, Manifest]:
    """A Service and where it leads, as an endpointslice controller would say."""
    meta = {"name": name, "namespace": "default"}
    port = {"name": "http", "port": 80, "protocol": "TCP"}
    slice_meta = {**meta, "labels": {"kubernetes.io/service-name": name}}
    endpoint = {"addresses": [address], "conditions": {"ready": True}}
    return (
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [port]}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": slice_meta,
            "addressType": "IPv4",
            "ports": [{**port, "port": 8080}],
            "endpoints": [endpoint],
        },
    )


def test_services_lead_to_their_endpoints_while_they_are_there(real_cluster: RealCluster, stage: Stage) -> None:
    web, endpoints = service("web", "10.9.8.7")
    real_cluster.create(web)
    real_cluster.create(endpoints)
    poll(
        lambda: "10.9.8.7" in stage.rules() and "default/web/tcp/http" in stage.rules(),
        timeout_seconds=SYNC_SECONDS,
        failure=lambda: stage.rules() + stage.log.read_text(),
    )
    for manifest in (endpoints, web):
        real_cluster.delete(manifest)
    poll(lambda: "10.9.8.7" not in stage.rules(), timeout_seconds=SYNC_SECONDS, failure=stage.rules)


def test_the_policy_is_what_kube_proxy_asks(stage: Stage) -> None:
    """Nothing is refused; all that is granted is asked, but for `list` where a watch brings the initial events too."""
    rules = next(iter(yaml.safe_load_all(POLICY.read_text())))["rules"]
    granted = {(verb, resource) for rule in rules for verb in rule["verbs"] for resource in rule["resources"]}
    patched_when_it_comes_again = ("patch", "events")

    def unasked() -> set[tuple[str, str]]:
        asked = stage.asked()
        return granted - asked - {("list", resource) for verb, resource in asked if verb == "watch"}

    poll(
        lambda: unasked() == {patched_when_it_comes_again},
        timeout_seconds=SYNC_SECONDS,
        failure=lambda: f"granted and not asked: {unasked()}",
    )
    assert stage.asked() <= granted
    assert {event["annotations"]["authorization.k8s.io/decision"] for event in stage.events()} == {"allow"}
