"""An API server that stops, dies, freezes, breaks off or refuses the proxy: said plainly, and over when it is over."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.support.binaries import Binaries
from tests.support.grants import EVERYTHING, grant, rule
from tests.support.identities import Identity
from tests.support.link import Link
from tests.support.manifests import config_map
from tests.support.objects import RefusedError
from tests.support.polling import poll
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import PROXY_RULES, RealCluster
from tests.support.watching import WatchStream

pytestmark = pytest.mark.timeout(240, func_only=True)

SEEN, HIDDEN = "faults-seen", "faults-hidden"
PATH = "/api/v1/configmaps"
ALICE, ROOT = Identity(name="alice"), Identity(name="root")
POLICIES = {"alice.yaml": grant("alice", rule("configmaps"), namespace=SEEN), "root.yaml": grant("root", *EVERYTHING)}
RECOVERY_SECONDS = 60.0
GRACE_SECONDS = 30.0  # the proxy keeps streams open for ten while it tries to get the upstream back

_names = iter(range(10_000))


@pytest.fixture(scope="module")
def cluster(real_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """A cluster of this module's own: it is stopped and killed."""
    with RealCluster(tmp_path_factory.mktemp("faulty"), real_binaries) as cluster:
        for space in (SEEN, HIDDEN):
            cluster.create_namespace(space)
        yield cluster


@pytest.fixture(scope="module")
def link(cluster: RealCluster) -> Iterator[Link]:
    certificate = cluster.client_certificate(cluster.proxy_identity.name)
    with Link(cluster.url, cluster.pki, certificate) as link:
        yield link


@pytest.fixture(scope="module")
def proxy(cluster: RealCluster, link: Link, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """One proxy for all tests: after each fault it has recovered, or the next test fails."""
    flags = ("--watch-bookmark-interval", "0.2")
    directory = tmp_path_factory.mktemp("faults")
    with ProxyProcess(cluster, directory, POLICIES, upstream=link.url, flags=flags) as process:
        yield process


@pytest.fixture
def alice(proxy: ProxyProcess) -> Iterator[httpx.Client]:
    with proxy.client(ALICE) as client:
        recovered(client)
        yield client


def recovered(client: httpx.Client) -> None:
    """Waits until a list and a watch are served again."""
    poll(
        lambda: (
            client.get(PATH).status_code == 200
            and client.get(PATH, params={"watch": "1", "timeoutSeconds": "1"}).status_code == 200
        ),
        timeout_seconds=RECOVERY_SECONDS,
        failure=lambda: client.get(PATH).text,
    )


def create(cluster: RealCluster, space: str = SEEN) -> str:
    name = f"cm-{next(_names)}"
    cluster.create(config_map(name, space, data={}))
    return name


def is_named(name: str) -> Any:
    return lambda event: event["object"]["metadata"].get("name") == name


def unavailable(answer: httpx.Response) -> str:
    """The message of a 503 as it has to be."""
    status = answer.json()
    assert (answer.status_code, status["kind"], status["reason"]) == (503, "Status", "ServiceUnavailable")
    assert int(answer.headers["retry-after"]) >= 1
    message: str = status["message"]
    return message


@dataclass(slots=True)
class Informer:
    """A client that lists, watches, and comes back at the resourceVersion it has seen; relists when it is told to."""

    client: httpx.Client
    objects: dict[str, str] = field(default_factory=dict)
    rv: str = ""
    relists: int = 0

    def catch_up(self, name: str) -> None:
        """Follows until it holds the object of this name."""
        poll(lambda: self._step(name), timeout_seconds=RECOVERY_SECONDS, failure=lambda: f"{name}: {self.objects}")

    def _step(self, name: str) -> bool:
        try:
            if not self.rv:
                listed = self.client.get(PATH).raise_for_status().json()
                self.rv = listed["metadata"]["resourceVersion"]
                self.objects = {i["metadata"]["name"]: i["metadata"]["resourceVersion"] for i in listed["items"]}
            self._watch(name)
        except httpx.HTTPStatusError as error:
            unavailable(error.response)
        return name in self.objects

    def _watch(self, name: str) -> None:
        parameters = {"resourceVersion": self.rv, "allowWatchBookmarks": "1", "timeoutSeconds": "3"}
        with WatchStream(self.client, PATH, parameters) as stream:
            try:
                stream.take_until(is_named(name))
            except EOFError:
                assert stream.wait_ended() is None, "the proxy's streams end cleanly whatever happens upstream"
            for event in list(stream.events):
                self._take(event["type"], event["object"])

    def _take(self, kind: str, shown: dict[str, Any]) -> None:
        if kind == "ERROR":
            assert shown["code"] == 410
            self.rv = ""
            self.relists += 1
            return
        metadata = shown["metadata"]
        self.rv = metadata["resourceVersion"]
        if kind == "BOOKMARK":
            return
        assert metadata["namespace"] == SEEN
        name = metadata["name"]
        assert (kind == "ADDED") == (name not in self.objects), f"{kind} of {name}"
        if kind == "DELETED":
            del self.objects[name]
        else:
            self.objects[name] = metadata["resourceVersion"]


def truth(cluster: RealCluster) -> dict[str, str]:
    items = cluster.admin.get(f"/api/v1/namespaces/{SEEN}/configmaps").json()["items"]
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}


def test_a_stopped_api_server_is_503_until_it_is_back(
    cluster: RealCluster, proxy: ProxyProcess, alice: httpx.Client
) -> None:
    """Open watches end cleanly within the grace; nothing has to be restarted but the API server."""
    informer = Informer(alice)
    informer.catch_up(create(cluster))
    with WatchStream(alice, PATH, {"resourceVersion": informer.rv}) as stream, proxy.client(ROOT) as root:
        cluster.stop()
        try:
            for client, path in ((alice, PATH), (root, PATH), (root, "/api/v1/nodes/x"), (root, "/version")):
                assert "API server" in unavailable(client.get(path))
            assert stream.wait_ended(timeout=GRACE_SECONDS) is None
            assert stream.events == []
            for options in ({"watch": "1"}, {"watch": "1", "resourceVersion": informer.rv}, {"resourceVersion": "0"}):
                assert "API server" in unavailable(alice.get(PATH, params=options))
        finally:
            cluster.start()
        recovered(alice)
        recovered(root)
    informer.catch_up(create(cluster))
    assert informer.objects == truth(cluster)


def test_a_crash_of_the_api_server_loses_and_doubles_nothing(cluster: RealCluster, alice: httpx.Client) -> None:
    informer = Informer(alice)
    informer.catch_up(create(cluster))
    names = [create(cluster)]
    cluster.restart(signum=signal.SIGKILL)
    names += [create(cluster), create(cluster)]
    create(cluster, HIDDEN)
    informer.catch_up(names[-1])
    assert informer.objects == truth(cluster)


def test_a_connection_that_breaks_is_seen_by_no_watch(cluster: RealCluster, alice: httpx.Client, link: Link) -> None:
    """The upstream watch is taken up again where it was; the client's stream goes on."""
    informer = Informer(alice)
    informer.catch_up(create(cluster))
    with WatchStream(alice, PATH, {"resourceVersion": informer.rv}) as stream:
        link.cut()
        create(cluster, HIDDEN)
        name = create(cluster)
        stream.take_until(is_named(name))
        assert [event["object"]["metadata"]["name"] for event in stream.events] == [name]


@pytest.mark.parametrize("fault", [Link.cut, Link.cut_mid_frame])
def test_a_broken_upstream_watch_loses_and_doubles_nothing(
    cluster: RealCluster, alice: httpx.Client, link: Link, fault: Any
) -> None:
    informer = Informer(alice)
    informer.catch_up(create(cluster))
    with WatchStream(alice, PATH, {"resourceVersion": informer.rv}) as stream:
        names = []
        for _ in range(4):
            fault(link)
            names += [create(cluster), create(cluster)]
            create(cluster, HIDDEN)
        try:
            stream.take_until(is_named(names[-1]))
        except EOFError:
            assert stream.wait_ended() is None
        shown = [event["object"]["metadata"]["name"] for event in stream.events]
        assert shown == names[: len(shown)]
    informer.catch_up(names[-1])
    assert informer.objects == truth(cluster)


def test_a_frozen_upstream_holds_back_and_then_delivers_everything(
    cluster: RealCluster, alice: httpx.Client, link: Link
) -> None:
    informer = Informer(alice)
    informer.catch_up(create(cluster))
    with WatchStream(alice, PATH, {"resourceVersion": informer.rv}) as stream:
        link.freeze()
        names = [create(cluster), create(cluster)]
        create(cluster, HIDDEN)
        link.thaw()
        stream.take_until(is_named(names[-1]))
        assert [event["object"]["metadata"]["name"] for event in stream.events] == names
    informer.catch_up(names[-1])
    assert informer.objects == truth(cluster)


def test_reads_while_watches_lag_are_never_older_than_a_write_before_them(
    cluster: RealCluster, alice: httpx.Client, link: Link
) -> None:
    """A list without resourceVersion does not come from the cache; a watch from it misses and repeats nothing."""
    informer = Informer(alice)
    informer.catch_up(create(cluster))
    link.freeze(watches_only=True)
    try:
        name = create(cluster)
        listed = alice.get(PATH).json()
        assert name in {item["metadata"]["name"] for item in listed["items"]}
        with WatchStream(alice, PATH, {"resourceVersion": listed["metadata"]["resourceVersion"]}) as stream:
            later = create(cluster)
            link.thaw()
            stream.take_until(is_named(later))
            shown = [event["object"]["metadata"]["name"] for event in stream.events]
            assert shown == [later]
    finally:
        link.thaw()


def test_an_upstream_that_refuses_connections_is_503_that_says_so(
    cluster: RealCluster, alice: httpx.Client, link: Link
) -> None:
    link.refuse()
    try:
        assert "cannot be reached" in unavailable(alice.get(PATH))
    finally:
        link.accept()
    recovered(alice)


def test_an_upstream_that_refuses_the_proxy_is_503_and_never_the_callers_403(
    cluster: RealCluster, proxy: ProxyProcess, alice: httpx.Client
) -> None:
    """Whoever reads a 403 here would look for the mistake in their own permissions."""
    informer = Informer(alice)
    informer.catch_up(create(cluster))
    name = cluster.proxy_identity.name
    binding = f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}"
    with proxy.client(ROOT) as root:
        assert cluster.admin.delete(binding).is_success
        try:
            poll(lambda: alice.get(PATH).status_code == 503, timeout_seconds=20, failure=lambda: alice.get(PATH).text)
            for client, path, options in (
                (alice, PATH, {}),
                (alice, PATH, {"limit": "1"}),
                (root, PATH, {}),
                (root, PATH, {"limit": "1"}),
                (root, f"{PATH.replace('configmaps', 'namespaces/x/configmaps')}/x", {}),
                (root, "/api/v1/nodes", {"watch": "1"}),
                (root, "/metrics", {}),
            ):
                message = unavailable(client.get(path, params=options))
                assert "refuses the proxy's own identity" in message
                assert name not in message
        finally:
            cluster.grant(cluster.proxy_identity, PROXY_RULES)
        recovered(alice)
        recovered(root)
    with pytest.raises(RefusedError):
        cluster.get(config_map("absent", SEEN, data={}))
    informer.catch_up(create(cluster))
    assert informer.objects == truth(cluster)


def test_an_etcd_that_was_restored_is_a_relist_and_no_silence(
    cluster: RealCluster, proxy: ProxyProcess, alice: httpx.Client
) -> None:
    """resourceVersions go back: what a client holds, and where it would go on, is of a past that is void."""
    informer = Informer(alice)
    kept = create(cluster)
    informer.catch_up(kept)
    backup = cluster.back_up()
    recovered(alice)
    lost = [create(cluster) for _ in range(30)]
    informer.catch_up(lost[-1])
    future = informer.rv
    with WatchStream(alice, PATH, {"resourceVersion": future}) as stream:
        cluster.restore(backup)
        assert stream.wait_ended(timeout=GRACE_SECONDS) is None
        assert stream.events == []
    recovered(alice)
    with WatchStream(alice, PATH, {"resourceVersion": future}) as stream:
        assert stream.wait_ended() is None
        [refused] = stream.events
        assert (refused["type"], refused["object"]["code"], refused["object"]["reason"]) == ("ERROR", 410, "Expired")
    answer = alice.get(PATH, params={"resourceVersion": future})
    assert answer.status_code == 504, "client-go lists anew without a resourceVersion then"
    assert answer.json()["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    informer.catch_up(create(cluster))
    assert informer.objects == truth(cluster)
    assert kept in informer.objects
    assert not informer.objects.keys() & set(lost)
    relists = informer.relists
    for _ in range(3):
        informer.catch_up(create(cluster))
    assert informer.relists == relists, "from then on it goes on as before"
    assert "has gone back" in proxy.log.read_text()


@pytest.mark.parametrize("user", [ALICE, ROOT], ids=lambda user: str(user.name))
def test_an_etcd_that_was_restored_while_nobody_watched_refuses_no_resume_for_long(
    cluster: RealCluster, proxy: ProxyProcess, alice: httpx.Client, user: Identity
) -> None:
    """What was known of higher resourceVersions must not count against lower ones."""
    backup = cluster.back_up()
    path = f"/api/v1/namespaces/{SEEN}/secrets" if user is ROOT else PATH
    with proxy.client(user) as client:
        recovered(alice)
        for _ in range(30):
            create(cluster)
        assert client.get(path).is_success
        cluster.restore(backup)
        recovered(alice)

        def resumes() -> bool:
            rv = client.get(path, params={"limit": "1"}).json()["metadata"]["resourceVersion"]
            cluster.create(config_map(f"cm-{next(_names)}", SEEN, data={}))
            with WatchStream(client, path, {"resourceVersion": rv, "timeoutSeconds": "1"}) as stream:
                stream.wait_ended()
                return all(event["type"] != "ERROR" for event in stream.events)

        poll(resumes, timeout_seconds=20, failure=lambda: "every resume is refused")
