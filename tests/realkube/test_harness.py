"""The harness itself: a real cluster that does what the tests on it rely on, and a link that is bad on purpose."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from tests.support.identities import ADMIN, TOKEN_USERS, Identity
from tests.support.kubectl import KubectlStream, kubectl
from tests.support.link import Link
from tests.support.manifests import pod
from tests.support.objects import RefusedError
from tests.support.realkube import RealCluster
from tests.support.watching import WatchEvent, WatchStream

LAG_MS = 1000  # long against a read on loopback, so that the order of what arrives shows the lag
NOBODY = Identity(name="nobody")
FORBIDDEN = 'pods is forbidden: User "nobody" cannot list resource "pods" in API group "" at the cluster scope'

_namespaces = iter(range(1000))


@pytest.fixture
def namespace(real_cluster: RealCluster) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"harness-{next(_namespaces)}"
    real_cluster.create_namespace(name)
    yield name
    real_cluster.delete_namespace(name)


@pytest.fixture
def link(real_cluster: RealCluster) -> Iterator[Link]:
    """A link in front of the cluster; upstream it is the proxy's identity."""
    certificate = real_cluster.client_certificate(real_cluster.proxy_identity.name)
    with Link(real_cluster.url, real_cluster.pki, certificate) as link:
        yield link


@pytest.fixture
def client(real_cluster: RealCluster, link: Link) -> Iterator[httpx.Client]:
    """A client of the link."""
    with httpx.Client(base_url=link.url, verify=real_cluster.pki.client_context(None), trust_env=False) as client:
        yield client


def pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def concerns(name: str) -> Callable[[WatchEvent], bool]:
    return lambda event: bool(event["object"]["metadata"]["name"] == name)


def test_pod_is_listed_and_watched_through_its_life(real_cluster: RealCluster, namespace: str) -> None:
    """A pod can be created, changed and deleted without any controller, and a watch tells all of it."""
    with WatchStream(real_cluster.admin, pods(namespace), {}) as watch:
        real_cluster.create(pod("a", namespace, labels={"app": "a"}, node="node1"))
        listed = real_cluster.admin.get(pods(namespace)).json()["items"]
        real_cluster.apply(pod("a", namespace, labels={"app": "b"}, node="node1"))
        real_cluster.patch(pod("a", namespace), {"status": {"phase": "Running"}}, subresource="status")
        real_cluster.delete(pod("a", namespace))
        events = watch.take_until(lambda event: event["type"] == "DELETED")
    assert [(each["metadata"]["name"], each["spec"]["nodeName"]) for each in listed] == [("a", "node1")]
    *changes, marked, deleted = events
    assert [event["type"] for event in changes] == ["ADDED", "MODIFIED", "MODIFIED"]
    assert "deletionTimestamp" in marked["object"]["metadata"]  # as for every pod that is bound to a node
    assert deleted["object"]["metadata"]["labels"] == {"app": "b"}
    assert deleted["object"]["status"]["phase"] == "Running"


@pytest.mark.parametrize("identity", [ADMIN, TOKEN_USERS[0]])
def test_kubectl_prints_the_pods(real_cluster: RealCluster, namespace: str, identity: Identity) -> None:
    """kubectl works with a client certificate and with a token."""
    real_cluster.create(pod("a", namespace))
    result = kubectl(real_cluster.kubeconfig(identity), "get", "pods", "-n", namespace, "-o", "name")
    assert (result.returncode, result.stdout, result.stderr) == (0, "pod/a\n", "")


def test_kubectl_watch_prints_a_line_for_each_change(real_cluster: RealCluster, namespace: str) -> None:
    """The lines of `kubectl get -w` can be followed while it runs."""
    real_cluster.create(pod("a", namespace))
    with KubectlStream(real_cluster.kubeconfig(ADMIN, namespace=namespace), "get", "pods", "-w") as stream:
        header, first = stream.take_until(lambda line: line.startswith("a "))
        real_cluster.create(pod("b", namespace))
        second = stream.take_until(lambda line: line.startswith("b "))
    assert header.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert first.split()[:3] == ["a", "0/1", "Pending"]
    assert [line.split()[0] for line in second] == ["b"]


def test_nobody_is_forbidden_in_the_words_of_kubernetes(real_cluster: RealCluster) -> None:
    """RBAC is on: a user without any binding gets a 403, over HTTP and in kubectl."""
    with real_cluster.client(NOBODY) as client:
        response = client.get("/api/v1/pods")
    assert (response.status_code, response.json()["message"]) == (HTTPStatus.FORBIDDEN, FORBIDDEN)
    result = kubectl(real_cluster.kubeconfig(NOBODY), "get", "pods", "-A")
    assert (result.returncode, result.stderr) == (1, f"Error from server (Forbidden): {FORBIDDEN}\n")


def test_proxy_identity_may_read_everything_and_change_nothing(real_cluster: RealCluster, namespace: str) -> None:
    """The proxy's own identity upstream has least privilege."""
    with real_cluster.client(real_cluster.proxy_identity) as client:
        for path in ("/api/v1/secrets", "/apis/apps/v1/deployments", "/openapi/v3", "/readyz"):
            assert client.get(path).status_code == HTTPStatus.OK
        refused = client.post(pods(namespace), json=pod("a", namespace))
    assert refused.status_code == HTTPStatus.FORBIDDEN


def test_grant_is_in_force_when_it_returns(real_cluster: RealCluster, namespace: str) -> None:
    """What `grant` gives holds at once, in its namespace and not beyond."""
    dave = Identity(name="dave")
    with real_cluster.client(dave) as client:
        real_cluster.grant(
            dave, [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}], namespace=namespace
        )
        assert client.get(pods(namespace)).status_code == HTTPStatus.OK
        assert client.get(pods("default")).status_code == HTTPStatus.FORBIDDEN


def test_audit_log_tells_who_asked_for_what(real_cluster: RealCluster) -> None:
    """A request is in the audit log as soon as it is answered."""
    with real_cluster.client(Identity(name="erin", groups=("team-e", "team-f"))) as client:
        client.get("/api/v1/namespaces/audited/pods")
    [event] = [each for each in real_cluster.audit_events() if each["user"]["username"] == "erin"]
    assert event["user"]["groups"] == ["team-e", "team-f", "system:authenticated"]
    assert (event["verb"], event["objectRef"]["namespace"]) == ("list", "audited")
    assert event["responseStatus"]["code"] == HTTPStatus.FORBIDDEN


def test_refusal_carries_the_status_of_the_server(real_cluster: RealCluster) -> None:
    """A helper that the server refuses raises with the Status."""
    with pytest.raises(RefusedError, match='namespaces \\\\"absent\\\\" not found') as refused:
        real_cluster.create(pod("a", "absent"))
    assert (refused.value.code, refused.value.status["reason"]) == (HTTPStatus.NOT_FOUND, "NotFound")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_restart_ends_watches_and_keeps_objects(
    real_cluster: RealCluster, namespace: str, signum: signal.Signals
) -> None:
    """After a restart, graceful or not, the same URL serves the same object at the same resourceVersion."""
    created = real_cluster.create(pod("a", namespace))
    with WatchStream(real_cluster.admin, pods(namespace), {}) as watch:
        real_cluster.stop(signum=signum)
        failure = watch.wait_ended()
        assert (failure is None) == (signum is signal.SIGTERM)
        with pytest.raises(httpx.ConnectError):
            real_cluster.admin.get("/readyz")
        real_cluster.start()
    kept = real_cluster.get(pod("a", namespace))
    assert kept["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


def test_link_delays_the_watch_and_not_the_read(
    real_cluster: RealCluster, namespace: str, link: Link, client: httpx.Client
) -> None:
    """Through a lagging link a fresh read shows what the watch does not show yet, and later does."""
    with WatchStream(client, pods(namespace), {}) as watch:
        link.watch_delay_ms = LAG_MS
        real_cluster.create(pod("a", namespace))
        assert [each["metadata"]["name"] for each in client.get(pods(namespace)).json()["items"]] == ["a"]
        assert watch.events == []
        assert [event["type"] for event in watch.take_until(concerns("a"))] == ["ADDED"]


def test_link_freezes_watches_and_thaws_without_loss(
    real_cluster: RealCluster, namespace: str, link: Link, client: httpx.Client
) -> None:
    """A frozen watch is silent while reads go on, and loses nothing."""
    with WatchStream(client, pods(namespace), {}) as watch:
        link.freeze(watches_only=True)
        real_cluster.create(pod("a", namespace))
        real_cluster.create(pod("b", namespace))
        assert len(client.get(pods(namespace)).json()["items"]) == 2
        assert watch.events == []
        link.thaw()
        assert len(watch.take_until(concerns("b"))) == 2


def test_frozen_link_can_be_closed(real_cluster: RealCluster) -> None:
    """A test that fails while the link is frozen does not hang on its way out."""
    pki = real_cluster.pki
    with Link(real_cluster.url, pki, pki.client("watchkeeper")) as link:
        link.freeze()
        with httpx.Client(verify=pki.client_context(None), trust_env=False) as client, pytest.raises(httpx.ReadTimeout):
            client.get(link.url, timeout=0.3)


def test_link_freezes_everything(link: Link, client: httpx.Client) -> None:
    """A frozen link accepts a connection and never answers, until it thaws."""
    link.freeze()
    with pytest.raises(httpx.ReadTimeout):
        client.get("/readyz", timeout=0.3)
    link.thaw()
    assert client.get("/readyz").text == "ok"


@pytest.mark.parametrize("cut", [Link.cut, Link.cut_mid_frame])
def test_link_breaks_a_watch(
    real_cluster: RealCluster, namespace: str, link: Link, client: httpx.Client, cut: Callable[[Link], None]
) -> None:
    """A cut is a broken stream for the client, never an end that looks clean; the next connection works."""
    with WatchStream(client, pods(namespace), {}) as watch:
        real_cluster.create(pod("a", namespace))
        watch.take_until(concerns("a"))
        cut(link)
        real_cluster.create(pod("b", namespace))
        assert isinstance(watch.wait_ended(), httpx.TransportError)
        assert len(watch.events) == 1
    with WatchStream(client, pods(namespace), {"resourceVersion": "0"}) as watch:
        watch.take_until(concerns("b"))


def test_link_refuses_and_accepts_again(link: Link, client: httpx.Client) -> None:
    """A refusing link is a closed port."""
    link.refuse()
    with pytest.raises(httpx.ConnectError):
        client.get("/readyz")
    link.accept()
    assert client.get("/readyz").text == "ok"


def test_kubectl_works_through_the_link(real_cluster: RealCluster, namespace: str, link: Link) -> None:
    """A Go client takes the link for a server."""
    real_cluster.create(pod("a", namespace))
    kubeconfig = real_cluster.kubeconfig(NOBODY, server=link.url)
    result = kubectl(kubeconfig, "get", "pods", "-n", namespace, "-o", "name")
    assert (result.returncode, result.stdout) == (0, "pod/a\n")


def test_child_process_dies_with_a_test_run_that_is_killed() -> None:
    """No cluster survives the tests, however they end: the pipe that only the child still holds is closed."""
    program = """
        import sys
        from tests.support.processes import spawn
        child = spawn(["sleep", "600"], stdout=sys.stdout.buffer, stderr=sys.stderr.buffer)
        print(child.pid, flush=True)
        child.wait()
    """
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as run:
        assert run.stdout is not None
        assert int(run.stdout.readline()) != run.pid
        run.kill()
        assert run.communicate(timeout=10)[0] == b""
