"""What fails around the proxy itself: its disk, its clock, its files, its file descriptors. It serves, and says so."""

import re
import resource
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from proxy.server.expiry_timer import MAX_WAIT_SECONDS
from tests.realkube.test_credentials import authentication_configuration, token
from tests.support.credentials import TokenSigner
from tests.support.grants import grant, rule
from tests.support.identities import Identity
from tests.support.link import Link
from tests.support.manifests import Manifest, config_map
from tests.support.polling import poll
from tests.support.proxy_process import ProxyProcess
from tests.support.raw_client import RawClient
from tests.support.realkube import RealCluster
from tests.support.running_issuer import RunningIssuer
from tests.support.settable_clock import SettableClock
from tests.support.telemetry import ADMIN_FLAGS, audit_events, metric, poll_metric
from tests.support.watching import WatchEvent, WatchStream

SPACE = "own-faults"
PATH = f"/api/v1/namespaces/{SPACE}/configmaps"
ALICE = Identity(name="alice")
POLICIES = {
    "alice.yaml": grant("alice", rule("configmaps"), namespace=SPACE),
    "jane.yaml": grant("oidc:jane", rule("configmaps"), namespace=SPACE),
}
WAIT_SECONDS = 40.0
HOUR = 3600

_names = iter(range(10_000))


@pytest.fixture(scope="module", autouse=True)
def namespace(real_cluster: RealCluster) -> Iterator[None]:
    real_cluster.create_namespace(SPACE)
    yield
    for item in real_cluster.admin.get(PATH).json()["items"]:
        real_cluster.delete(config_map(item["metadata"]["name"], SPACE, data={}))
    real_cluster.delete_namespace(SPACE)


def create(cluster: RealCluster) -> Manifest:
    created = config_map(f"cm-{next(_names)}", SPACE, data={})
    cluster.create(created)
    return created


def delivers(stream: WatchStream, cluster: RealCluster) -> None:
    """The stream tells of a change that is made now."""
    name = create(cluster)["metadata"]["name"]
    stream.take_until(lambda event: bool(event["object"]["metadata"].get("name") == name))


def says(proxy: ProxyProcess, text: str, times: int = 1) -> None:
    """Waits until the log holds the text so often."""
    poll(
        lambda: proxy.log.read_text().count(text) >= times,
        timeout_seconds=WAIT_SECONDS,
        failure=lambda: f"`{text}` is not said {times} times\n{proxy.log.read_text()[-3000:]}",
    )


def limit(pid: int, kind: int, value: int) -> Callable[[], None]:
    """Sets a soft limit of a running process; returns what takes it back."""
    soft, hard = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (value, hard))
    return lambda: _unlimit(pid, kind, soft, hard)


def _unlimit(pid: int, kind: int, soft: int, hard: int) -> None:
    resource.prlimit(pid, kind, (soft, hard))


# --- the disk of the audit log ---


def test_a_disk_that_is_full_costs_events_that_are_counted_until_there_is_room_again(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    """The file may not grow: the kernel cuts a write short and refuses the next, as a full file system does."""
    audit_log = tmp_path / "audit.log"
    flags = ("--audit-log-path", str(audit_log), *ADMIN_FLAGS)
    with (
        ProxyProcess(real_cluster, tmp_path, POLICIES, flags=flags) as proxy,
        proxy.client(ALICE) as client,
        WatchStream(client, PATH, {}) as stream,
    ):
        assert client.get(PATH).status_code == 200
        poll_metric(proxy, 2, "watchkeeper_audit_events_written_total")
        full_at = max(audit_log.stat().st_size, proxy.log.stat().st_size) + 300  # in the middle of an event
        make_room = limit(proxy.pid, resource.RLIMIT_FSIZE, full_at)
        for _ in range(10):
            assert client.get(PATH).status_code == 200
        delivers(stream, real_cluster)
        poll(
            lambda: metric(proxy, "watchkeeper_audit_events_dropped_total") >= 5,
            timeout_seconds=WAIT_SECONDS,
            failure=lambda: "nothing was lost",
        )
        written = metric(proxy, "watchkeeper_audit_events_written_total")
        dropped = metric(proxy, "watchkeeper_audit_events_dropped_total")
        assert written + dropped == 12
        make_room()
        answer = client.get(PATH)
        poll_metric(proxy, written + 1, "watchkeeper_audit_events_written_total")
        assert metric(proxy, "watchkeeper_audit_events_dropped_total") == dropped
        *_, last = audit_log.read_text().splitlines()
        assert answer.headers["audit-id"] in last, "and it stands on a line of its own"
        says(proxy, "is written again")


# --- the clock ---


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningIssuer]:
    with RunningIssuer(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


@pytest.mark.timeout(240, func_only=True)
def test_a_clock_that_jumps_ends_what_has_expired_and_nothing_else(
    real_cluster: RealCluster, issuer: RunningIssuer, tmp_path: Path
) -> None:
    """An hour ahead, back again, and four minutes behind: the wall clock of the proxy alone."""
    signer = TokenSigner("key-1")
    issuer.publish(signer)
    clock = SettableClock(tmp_path)
    audit_log = tmp_path / "audit.log"
    flags = (
        *("--authentication-config", str(authentication_configuration(issuer, tmp_path))),
        *("--audit-log-path", str(audit_log), "--watch-bookmark-interval", "0.2", *ADMIN_FLAGS),
    )
    bearer = token(issuer, signer, exp=int(datetime.now(UTC).timestamp()) + HOUR // 2)
    with ExitStack() as stack:
        proxy = stack.enter_context(
            ProxyProcess(real_cluster, tmp_path, POLICIES, flags=flags, environment=clock.environment)
        )
        alice = stack.enter_context(proxy.client(ALICE))
        jane = stack.enter_context(proxy.client(Identity(name="jane", token=bearer)))
        poll(lambda: jane.get(PATH).is_success, timeout_seconds=WAIT_SECONDS, failure=lambda: "the keys do not come")
        lasting = stack.enter_context(WatchStream(alice, PATH, {"allowWatchBookmarks": "1"}))
        ending = stack.enter_context(WatchStream(jane, PATH, {}))
        for stream in (lasting, ending):
            delivers(stream, real_cluster)

        clock.jump(HOUR)
        assert jane.get(PATH).status_code == 401, "at once, although it was verified before"
        assert ending.wait_ended(timeout=MAX_WAIT_SECONDS + WAIT_SECONDS) is None
        answer = alice.get(PATH)
        assert answer.status_code == 200
        delivers(lasting, real_cluster)
        bookmarked(lasting)
        poll(
            lambda: any(each["auditID"] == answer.headers["audit-id"] for each in audit_events(audit_log)),
            timeout_seconds=WAIT_SECONDS,
            failure=lambda: "it is not audited",
        )
        [event] = [each for each in audit_events(audit_log) if each["auditID"] == answer.headers["audit-id"]]
        ahead = datetime.fromisoformat(event["requestReceivedTimestamp"]) - datetime.now(UTC)
        assert HOUR - 60 < ahead.total_seconds() < HOUR + 60

        for seconds in (0, -240):
            clock.jump(seconds)
            assert (alice.get(PATH).status_code, jane.get(PATH).status_code) == (200, 200)
            delivers(lasting, real_cluster)
            bookmarked(lasting)
        assert metric(proxy, "watchkeeper_cache_relists_total", resource="configmaps") == 0
        log = proxy.log.read_text()
        assert "Traceback" not in log
        assert "ERROR" not in log


def bookmarked(stream: WatchStream) -> None:
    def is_bookmark(event: WatchEvent) -> bool:
        return bool(event["type"] == "BOOKMARK")

    stream.take_until(is_bookmark)


# --- file descriptors ---


def test_without_file_descriptors_streams_go_on_and_everything_is_served_when_there_are_some_again(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    """Clients take all there are, also those of a connection to the API server that breaks meanwhile."""
    certificate = real_cluster.client_certificate(real_cluster.proxy_identity.name)
    with ExitStack() as stack:
        link = stack.enter_context(Link(real_cluster.url, real_cluster.pki, certificate))
        proxy = stack.enter_context(
            ProxyProcess(real_cluster, tmp_path, POLICIES, upstream=link.url, flags=ADMIN_FLAGS)
        )
        alice = stack.enter_context(proxy.client(ALICE))
        stream = stack.enter_context(WatchStream(alice, PATH, {}))
        delivers(stream, real_cluster)
        assert alice.get(PATH).status_code == 200
        opened = len(list(Path(f"/proc/{proxy.pid}/fd").iterdir()))
        make_room = limit(proxy.pid, resource.RLIMIT_NOFILE, opened + 10)
        with ExitStack() as greedy:
            for _ in range(60):
                greedy.enter_context(RawClient(proxy.port, None))
            poll(
                lambda: len(list(Path(f"/proc/{proxy.pid}/fd").iterdir())) >= opened + 8,
                timeout_seconds=WAIT_SECONDS,
                failure=lambda: "there are still file descriptors",
            )
            delivers(stream, real_cluster)
            assert alice.get(PATH).status_code in (200, 503), "it may need another connection to the API server"
            used = cpu_seconds(proxy.pid)
            for _ in range(20):
                delivers(stream, real_cluster)
            assert cpu_seconds(proxy.pid) - used < 2.0, "it does not spin"
            link.cut()
            for _ in range(60):
                greedy.enter_context(RawClient(proxy.port, None))
            assert alice.get(PATH).status_code in (200, 503)
        make_room()
        poll(
            lambda: served(proxy),
            timeout_seconds=WAIT_SECONDS,
            failure=lambda: f"it does not recover\n{proxy.log.read_text()[-3000:]}",
        )
        delivers(stream, real_cluster)
        assert "ended by a bug" not in proxy.log.read_text()
        assert len(proxy.log.read_text()) < 200_000, "it does not fill the disk about it"


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far. Source: proc(5), fields 14 and 15 of stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def served(proxy: ProxyProcess) -> bool:
    """True when a client that comes now is served."""
    try:
        with proxy.client(ALICE) as client:
            return client.get(PATH).status_code == 200
    except httpx.TransportError:
        return False


# --- files ---


def test_a_policy_folder_that_is_taken_away_and_comes_back_is_followed_again(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    with ProxyProcess(real_cluster, tmp_path, POLICIES, flags=ADMIN_FLAGS) as proxy, proxy.client(ALICE) as client:
        away = proxy.policies.rename(tmp_path / "away")
        says(proxy, "the last good policy stays in force")
        assert client.get(PATH).status_code == 200
        poll_metric(proxy, 0, "watchkeeper_policy_last_reload_successful")
        away.rename(proxy.policies)
        poll_metric(proxy, 1, "watchkeeper_policy_last_reload_successful")
        proxy.policies.rename(tmp_path / "old")
        proxy.policies.mkdir()
        proxy.write_policies({"bob.yaml": grant("bob", rule("configmaps"), namespace=SPACE)})
        assert client.get(PATH).status_code == 403
        proxy.write_policies(POLICIES)
        assert client.get(PATH).status_code == 200
        assert "ended by a bug" not in proxy.log.read_text()


def half_written(folder: Path) -> None:
    (folder / "half.yaml").write_text("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: x, name")


def dangling(folder: Path) -> None:
    (folder / "dangling.yaml").symlink_to("nowhere")


def empty(folder: Path) -> None:
    for each in folder.iterdir():
        each.unlink()


def no_text(folder: Path) -> None:
    (folder / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")


@pytest.mark.parametrize("spoil", [half_written, dangling, empty, no_text])
def test_a_policy_folder_that_cannot_be_used_leaves_the_last_good_policy_in_force(
    real_cluster: RealCluster, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    """What is still good in it does not count: a part of a policy is another policy."""
    with (
        ProxyProcess(real_cluster, tmp_path, POLICIES, flags=ADMIN_FLAGS) as proxy,
        proxy.client(ALICE) as client,
        WatchStream(client, PATH, {}) as stream,
    ):
        spoil(proxy.policies)
        says(proxy, "the last good policy stays in force")
        assert client.get(PATH).status_code == 200
        delivers(stream, real_cluster)
        for each in proxy.policies.iterdir():
            each.unlink()
        proxy.write_policies({"bob.yaml": grant("bob", rule("configmaps"), namespace=SPACE)})
        assert client.get(PATH).status_code == 403


def test_a_serving_certificate_of_garbage_leaves_the_last_good_one_in_use(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    """And a good one is in use for new connections then, while the streams of the old one go on."""
    with (
        ProxyProcess(real_cluster, tmp_path, POLICIES) as proxy,
        proxy.client(ALICE) as client,
        WatchStream(client, PATH, {}) as stream,
    ):
        files = proxy.certificate
        before = certificate_of(proxy)
        for file in (files.cert_file, files.key_file):
            file.write_bytes(b"garbage")
        says(proxy, "what was loaded before stays in use")
        assert served(proxy)
        assert certificate_of(proxy) == before
        newer = real_cluster.pki.server(["127.0.0.1", "localhost"])
        newer.key_file.replace(files.key_file)
        newer.cert_file.replace(files.cert_file)
        poll(
            lambda: certificate_of(proxy) != before,
            timeout_seconds=WAIT_SECONDS,
            failure=lambda: f"the new certificate is not used\n{proxy.log.read_text()[-2000:]}",
        )
        assert served(proxy)
        delivers(stream, real_cluster)


def certificate_of(proxy: ProxyProcess) -> str:
    return ssl.get_server_certificate(("127.0.0.1", proxy.port))


# --- the start ---


def test_a_proxy_that_starts_before_its_api_server_ends_and_says_why_and_serves_when_begun_again(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    """Whoever supervises it begins it again; it is ready only once it serves."""
    certificate = real_cluster.client_certificate(real_cluster.proxy_identity.name)
    with Link(real_cluster.url, real_cluster.pki, certificate) as link:
        link.refuse()
        proxy = ProxyProcess(real_cluster, tmp_path, POLICIES, upstream=link.url)
        with pytest.raises(AssertionError, match="the proxy ended with 1"):
            proxy.start()
        [said] = [line for line in proxy.log.read_text().splitlines() if line.startswith("watchkeeper: ")]
        assert re.search("the API server cannot be reached: .*refused", said)
        link.accept()
        with proxy:
            assert served(proxy)
