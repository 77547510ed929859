"""The development API server over TLS: what its clients, the proxy and kubectl among them, may rely on."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.api.status import ServiceUnavailable
from proxy.devserver.kinds import PODS
from proxy.devserver.server import DevelopmentServer, ServingTls
from tests.support.binaries import Binaries
from tests.support.devserver import client_of, development_server
from tests.support.identities import write_kubeconfig
from tests.support.kubectl import KubectlStream, kubectl
from tests.support.manifests import namespace, pod
from tests.support.pki import Pki
from tests.support.polling import poll
from tests.support.watching import WatchStream

PODS_PATH = "/api/v1/pods"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def server(pki: Pki) -> Iterator[DevelopmentServer]:
    with development_server(pki, bookmark_interval_seconds=0.05) as server:
        server.create(namespace("default"))
        yield server


@pytest.fixture
def client(server: DevelopmentServer, pki: Pki) -> Iterator[httpx.Client]:
    with client_of(server, pki) as client:
        yield client


@pytest.fixture
def kubeconfig(server: DevelopmentServer, pki: Pki, tmp_path: Path) -> Path:
    return write_kubeconfig(
        tmp_path / "kubeconfig", server=server.url, ca_file=pki.ca_file, credential=pki.client("admin")
    )


def is_named(event: dict[str, Any], kind: str, name: str) -> bool:
    return (event["type"], event["object"]["metadata"].get("name")) == (kind, name)


def test_a_client_without_a_certificate_of_its_ca_is_not_served(
    server: DevelopmentServer, pki: Pki, tmp_path: Path
) -> None:
    stranger = Pki(tmp_path / "other")
    context = pki.client_context(None)
    foreign = stranger.client("admin")
    with_foreign = pki.client_context(foreign)
    for refused in (context, with_foreign):
        with (
            httpx.Client(verify=refused, trust_env=False) as client,
            pytest.raises((httpx.TransportError, ssl.SSLError)),
        ):
            client.get(f"{server.url}{PODS_PATH}")


def test_a_watch_is_live_and_ends_cleanly_when_the_server_says(server: DevelopmentServer, client: httpx.Client) -> None:
    with WatchStream(client, PODS_PATH, {"resourceVersion": str(server.rv)}) as stream:
        created = server.create(pod("p"))
        stream.take_until(lambda event: is_named(event, "ADDED", "p"))
        server.replace({**created, "status": {"phase": "Running"}})
        stream.take_until(lambda event: is_named(event, "MODIFIED", "p"))
        server.delete(created)
        stream.take_until(lambda event: is_named(event, "DELETED", "p"))
        assert server.open_watches == 1
        server.end_watches()
        assert stream.wait_ended() is None


def test_an_idle_watch_sends_its_headers_at_once(server: DevelopmentServer, client: httpx.Client) -> None:
    with WatchStream(client, PODS_PATH, {"resourceVersion": str(server.rv)}) as stream:
        assert stream.response.status_code == 200
        assert stream.response.headers["content-type"] == "application/json"
        assert stream.events == []


def test_bookmarks_come_at_the_interval_and_timeout_seconds_ends_the_watch(
    server: DevelopmentServer, client: httpx.Client
) -> None:
    parameters = {"resourceVersion": str(server.rv), "allowWatchBookmarks": "true", "timeoutSeconds": "1"}
    with WatchStream(client, PODS_PATH, parameters) as stream:
        assert stream.wait_ended() is None
        assert {event["type"] for event in stream.events} == {"BOOKMARK"}
        assert stream.events[-1]["object"]["metadata"]["resourceVersion"] == str(server.rv)


def test_a_watch_before_the_history_is_a_200_with_an_error_event(
    server: DevelopmentServer, client: httpx.Client
) -> None:
    server.create(pod("p"))
    server.compact()
    with WatchStream(client, PODS_PATH, {"resourceVersion": "1"}) as stream:
        assert stream.wait_ended() is None
        [event] = stream.events
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_a_client_that_goes_away_frees_its_watch(server: DevelopmentServer, client: httpx.Client) -> None:
    with WatchStream(client, PODS_PATH, {}), WatchStream(client, PODS_PATH, {}):
        assert server.open_watches == 2
    poll(lambda: server.open_watches == 0, timeout_seconds=10.0, failure=lambda: f"{server.open_watches} are open")


def test_while_told_so_it_refuses_everything(server: DevelopmentServer, client: httpx.Client) -> None:
    server.refuse_with(ServiceUnavailable("away", retry_after_seconds=7))
    refused = client.get(PODS_PATH)
    assert (refused.status_code, refused.headers["retry-after"], refused.json()["message"]) == (503, "7", "away")
    server.refuse_with(None)
    assert client.get(PODS_PATH).status_code == 200


def test_it_remembers_requests_as_they_arrived(server: DevelopmentServer, client: httpx.Client) -> None:
    client.get(f"{PODS_PATH}?limit=1&x=%2F", headers={"X-Remote-User": "someone"})
    [request] = server.requests
    assert (request.method, request.target) == ("GET", f"{PODS_PATH}?limit=1&x=%2F")
    assert ("x-remote-user", "someone") in request.headers


def test_a_restarted_server_has_its_objects_and_its_history(pki: Pki) -> None:
    with development_server(pki) as first:
        first.create(namespace("default"))
        before = first.rv
        first.create(pod("p"))
    with development_server(pki, port=first.port, storage=first.storage) as second, client_of(second, pki) as client:
        assert [body["metadata"]["name"] for body in second.objects(PODS)] == ["p"]
        with WatchStream(client, PODS_PATH, {"resourceVersion": str(before)}) as stream:
            stream.take_until(lambda event: is_named(event, "ADDED", "p"))


def test_a_body_over_the_bound_is_refused(client: httpx.Client) -> None:
    answer = client.post("/api/v1/namespaces/default/pods", content=b"x" * (3 * 1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["reason"]) == (413, "RequestEntityTooLarge")


def test_stopping_ends_the_streams_of_clients_cleanly(pki: Pki) -> None:
    server = development_server(pki)
    with client_of(server, pki) as client:
        with server:
            stream = WatchStream(client, PODS_PATH, {"resourceVersion": "1"})
        with stream:
            assert stream.wait_ended() is None


def test_kubectl_works_as_with_a_cluster(
    real_binaries: Binaries, server: DevelopmentServer, kubeconfig: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "pod.json"
    manifest.write_text(json.dumps(pod("p", labels={"app": "web"}, node="node1")))

    with KubectlStream(kubeconfig, "get", "pods", "-A", "--watch", "--show-labels") as watching:
        assert kubectl(kubeconfig, "create", "-f", str(manifest)).stdout == "pod/p created\n"
        row = watching.take_until(lambda line: " p " in line)[-1]
        assert row.split() == ["default", "p", "0/1", "Pending", "0", "0s", "app=web"]
        assert kubectl(kubeconfig, "label", "pod", "p", "tier=green").stdout == "pod/p labeled\n"
        watching.take_until(lambda line: "tier=green" in line)

    wide = kubectl(kubeconfig, "get", "pods", "-o", "wide").stdout.splitlines()
    assert wide[0].split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert "node1" in wide[1]
    assert "Node:" in kubectl(kubeconfig, "describe", "pod", "p").stdout
    assert kubectl(kubeconfig, "apply", "-f", str(manifest)).returncode == 0
    assert kubectl(kubeconfig, "get", "pod", "p", "-o", "jsonpath={.spec.nodeName}").stdout == "node1"
    assert "deleted" in kubectl(kubeconfig, "delete", "pod", "p").stdout
    gone = kubectl(kubeconfig, "get", "pod", "p")
    assert (gone.returncode, gone.stderr) == (1, 'Error from server (NotFound): pods "p" not found\n')


def test_kubectl_prints_every_kind(real_binaries: Binaries, server: DevelopmentServer, kubeconfig: Path) -> None:
    server.delete(namespace("default"))
    server.seed_traffic()
    kinds = "pods,services,endpoints,endpointslices,configmaps,secrets,nodes,namespaces,deployments,leases"
    shown = kubectl(kubeconfig, "get", kinds, "-A")
    assert shown.returncode == 0, shown.stderr
    assert "deployment.apps/web" in shown.stdout
    assert "endpointslice.discovery.k8s.io/web-1" in shown.stdout


def test_files_that_cannot_be_read_are_found_before_it_starts(pki: Pki, tmp_path: Path) -> None:
    own = pki.server()
    with pytest.raises(FileNotFoundError):
        DevelopmentServer(ServingTls(cert_file=own.cert_file, key_file=tmp_path / "absent", client_ca_file=pki.ca_file))


def test_traffic_flows_while_it_has_a_rate(server: DevelopmentServer, client: httpx.Client) -> None:
    server.delete(namespace("default"))
    server.seed_traffic()
    with WatchStream(client, PODS_PATH, {"resourceVersion": str(server.rv)}) as stream:
        server.set_traffic_rate(500)
        stream.take_until(lambda event: event["type"] == "DELETED")
        server.set_traffic_rate(0)
        stopped = server.rv
    assert server.rv == stopped
