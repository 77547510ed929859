"""What an operator learns of the proxy in front of a real kube-apiserver: audit log, metrics, health."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.identities import Identity
from tests.support.link import Link
from tests.support.manifests import Manifest, config_map, pod, role, role_binding
from tests.support.polling import poll
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster
from tests.support.telemetry import (
    ADMIN_FLAGS,
    WAIT_SECONDS,
    AuditEvent,
    admin_get,
    audit_event,
    audit_events,
    counts,
    metric,
    poll_metric,
)
from tests.support.watching import WatchStream

SEEN, HIDDEN = "telemetry-seen", "telemetry-hidden"
VIEWER = Identity(name="viewer", groups=("viewers",))
BY_TOKEN = Identity(name="viewer", groups=("viewers",), token="a-token-that-nobody-may-read")
OUTSIDER = Identity(name="outsider")
PODS = "/api/v1/pods"
READS = [{"apiGroups": [""], "resources": ["pods", "configmaps"], "verbs": ["get", "list", "watch"]}]
POLICY: list[Manifest] = [role("viewer", READS, SEEN), role_binding("viewer", user="viewer", namespace=SEEN)]
SECRET_VALUE = "what-is-in-the-object"


@pytest.fixture(scope="module")
def namespaces(real_cluster: RealCluster) -> Iterator[None]:
    """One namespace that the viewer sees, and one it does not."""
    for namespace in (SEEN, HIDDEN):
        real_cluster.create_namespace(namespace)
        real_cluster.create(pod("first", namespace))
        real_cluster.create(config_map("settings", namespace, data={"key": SECRET_VALUE}))
    yield
    for namespace in (SEEN, HIDDEN):
        real_cluster.delete_namespace(namespace)


@pytest.fixture(scope="module")
def audit_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the proxy writes its audit log."""
    return tmp_path_factory.mktemp("audit") / "audit.log"


@pytest.fixture(scope="module")
def proxy(
    real_cluster: RealCluster, namespaces: None, tmp_path_factory: pytest.TempPathFactory, audit_log: Path
) -> Iterator[ProxyProcess]:
    """A proxy with everything on, for all tests here that do not end it."""
    flags = ("--audit-log-path", str(audit_log), "--max-watches-per-user", "1", *ADMIN_FLAGS)
    directory = tmp_path_factory.mktemp("telemetry")
    with ProxyProcess(real_cluster, directory, {"p.yaml": POLICY}, flags=flags, tokens=[BY_TOKEN]) as process:
        yield process


@pytest.fixture
def policies(proxy: ProxyProcess) -> Iterator[None]:
    """Puts back what the test makes of the policy."""
    yield
    proxy.write_policies({"p.yaml": [role("other", READS, None)]})
    proxy.write_policies({"p.yaml": POLICY})


def audited(proxy: ProxyProcess, audit_log: Path, answer: httpx.Response) -> AuditEvent:
    return audit_event(proxy, audit_log, answer.headers["audit-id"])


def test_a_get_is_audited_with_who_asked_for_what_and_what_allowed_it(proxy: ProxyProcess, audit_log: Path) -> None:
    with proxy.client(VIEWER) as client:
        answer = client.get(f"/api/v1/namespaces/{SEEN}/pods/first", headers={"user-agent": "tester/1"})
    event = audited(proxy, audit_log, answer)
    assert answer.status_code == 200
    assert "watchkeeper-filtered" not in answer.headers
    assert (event["kind"], event["apiVersion"], event["level"]) == ("Event", "audit.k8s.io/v1", "Metadata")
    assert (event["verb"], event["requestURI"]) == ("get", f"/api/v1/namespaces/{SEEN}/pods/first")
    assert event["user"]["username"] == "viewer"
    assert event["user"]["groups"] == ["viewers", "system:authenticated"]
    assert event["sourceIPs"] == ["127.0.0.1"]
    assert event["userAgent"] == "tester/1"
    assert event["objectRef"] == {"resource": "pods", "namespace": SEEN, "name": "first", "apiVersion": "v1"}
    assert event["responseStatus"]["code"] == 200
    assert event["requestReceivedTimestamp"] <= event["stageTimestamp"]
    assert event["annotations"] == {
        "authorization.k8s.io/decision": "allow",
        "authorization.k8s.io/reason": (
            f'RBAC: allowed by RoleBinding "viewer/{SEEN}" of Role "viewer" to User "viewer"'
        ),
        "watchkeeper.io/scope": "everything",
        "watchkeeper.io/filtered": "false",
    }


def test_an_event_has_the_fields_of_the_api_servers_own(
    proxy: ProxyProcess, real_cluster: RealCluster, audit_log: Path
) -> None:
    """Whatever reads kube-apiserver's audit log reads this one: the same request, told by both."""
    with proxy.client(VIEWER) as client:
        answer = client.get(f"/api/v1/namespaces/{SEEN}/configmaps/settings")
    event = audited(proxy, audit_log, answer)
    [upstream] = [
        each
        for each in real_cluster.audit_events()
        if each["requestURI"] == event["requestURI"]
        and each["stage"] == "ResponseComplete"
        and each["user"]["username"] == "watchkeeper"
    ]
    ours, theirs = set(event), set(upstream)
    assert ours <= theirs | {"impersonatedUser"}
    assert theirs - ours <= {"requestObject", "responseObject"}
    for name in ("kind", "apiVersion", "stage", "verb", "objectRef"):
        assert event[name] == upstream[name]
    assert len(event["stageTimestamp"]) == len(upstream["stageTimestamp"])


def test_a_filtered_list_says_so_in_a_header_and_in_the_audit_log(proxy: ProxyProcess, audit_log: Path) -> None:
    with (
        proxy.client(VIEWER) as client,
        counts(proxy, 1, "watchkeeper_authorization_decisions_total", decision="filtered"),
        counts(proxy, 1, "watchkeeper_requests_total", verb="list", resource="pods", code="200"),
    ):
        answer = client.get(PODS, params={"limit": "500", "no": "such"})
        event = audited(proxy, audit_log, answer)
    assert answer.headers["watchkeeper-filtered"] == "true"
    assert [item["metadata"]["namespace"] for item in answer.json()["items"]] == [SEEN]
    assert event["requestURI"] == "/api/v1/pods?limit=500"
    assert event["objectRef"] == {"resource": "pods", "apiVersion": "v1"}
    assert event["annotations"]["watchkeeper.io/scope"] == f"namespaces={SEEN}"
    assert event["annotations"]["watchkeeper.io/filtered"] == "true"


def test_a_denial_is_audited_and_counted(proxy: ProxyProcess, audit_log: Path) -> None:
    with (
        proxy.client(OUTSIDER) as client,
        counts(proxy, 1, "watchkeeper_authorization_decisions_total", decision="deny"),
        counts(proxy, 1, "watchkeeper_requests_total", verb="list", resource="pods", code="403"),
    ):
        answer = client.get(f"/api/v1/namespaces/{HIDDEN}/pods")
        event = audited(proxy, audit_log, answer)
    assert answer.status_code == event["responseStatus"]["code"] == 403
    assert event["user"]["username"] == "outsider"
    assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"


def test_who_is_not_authenticated_has_no_user_in_the_audit_log(proxy: ProxyProcess, audit_log: Path) -> None:
    with (
        proxy.client(None) as client,
        counts(proxy, 1, "watchkeeper_authentication_failures_total", kind="bearer_unknown"),
        counts(proxy, 0, "watchkeeper_authentication_failures_total", kind="no_credentials"),
    ):
        answer = client.get(PODS, headers={"authorization": "Bearer stolen-token"})
        event = audited(proxy, audit_log, answer)
    assert answer.status_code == event["responseStatus"]["code"] == 401
    assert event["user"] == {}
    assert "annotations" not in event


def test_what_is_refused_before_it_is_understood_is_audited_too(proxy: ProxyProcess, audit_log: Path) -> None:
    with proxy.client(VIEWER) as client:
        answer = client.get("/api/v1/watch/pods")
        twice = client.get("/api/v1/pods?limit=1&limit=2&token=in-the-query")
    for each in (answer, twice):
        assert audited(proxy, audit_log, each)["responseStatus"]["code"] == each.status_code == 400
    assert audited(proxy, audit_log, twice)["requestURI"] == "/api/v1/pods"


def test_a_caller_that_asks_for_too_much_is_audited_with_its_429(proxy: ProxyProcess, audit_log: Path) -> None:
    with proxy.client(VIEWER) as client, WatchStream(client, PODS, {}):
        answer = client.get(PODS, params={"watch": "1"})
    event = audited(proxy, audit_log, answer)
    assert answer.status_code == event["responseStatus"]["code"] == 429
    assert event["user"]["username"] == "viewer"
    assert "watchkeeper.io/ended-because" not in event["annotations"]
    poll_metric(proxy, 0, "watchkeeper_open_watches", resource="pods")


def test_no_secret_is_in_the_audit_log_or_in_the_metrics(proxy: ProxyProcess, audit_log: Path) -> None:
    """Not the token, right or wrong, in whatever place; not what is in the objects; no header."""
    wrong = "wrong-token-of-somebody"
    with proxy.client(BY_TOKEN) as client:
        answers = [
            client.get(f"/api/v1/namespaces/{SEEN}/configmaps/settings"),
            client.get(f"/api/v1/namespaces/{SEEN}/configmaps", params={"token": wrong}),
            client.get(f"/api/v1/namespaces/{HIDDEN}/configmaps/settings", params={"access_token": wrong}),
            client.get(f"/api/v1/namespaces/{SEEN}/pods/first/proxy/x", params={"access_token": wrong}),
            client.get("/api/v1/namespaces//pods", params={"token": wrong}),
            client.get(PODS, headers={"authorization": f"Bearer {wrong}", "cookie": wrong, "x-remote-user": wrong}),
        ]
    assert SECRET_VALUE in answers[0].text
    assert [each.status_code for each in answers] == [200, 200, 403, 403, 400, 401]
    for answer in answers:
        audited(proxy, audit_log, answer)
    told = audit_log.read_text() + admin_get(proxy, "/metrics").text + proxy.log.read_text()
    for secret in (BY_TOKEN.token, wrong, SECRET_VALUE):
        assert secret is not None
        assert secret not in told


def test_a_watch_is_audited_at_both_ends_with_what_it_showed_and_kept_back(
    proxy: ProxyProcess, real_cluster: RealCluster, audit_log: Path
) -> None:
    """The totals are the same while it is open and after its end."""
    with (
        counts(proxy, 2, "watchkeeper_watch_events_delivered_total", resource="pods"),
        counts(proxy, 3, "watchkeeper_watch_events_suppressed_total", resource="pods"),
        counts(proxy, 1, "watchkeeper_watches_ended_total", resource="pods", reason="client_gone"),
    ):
        with (
            proxy.client(VIEWER) as client,
            WatchStream(client, PODS, {}) as stream,
            counts(proxy, 3, "watchkeeper_watch_events_suppressed_total", resource="pods"),
        ):
            head = stream.response.headers
            stream.take_until(lambda event: event["object"]["metadata"]["name"] == "first")
            poll_metric(proxy, 1, "watchkeeper_open_watches", resource="pods")
            started = audit_event(proxy, audit_log, head["audit-id"], stage="ResponseStarted")
            with counts(proxy, 1, "watchkeeper_watch_events_delivered_total", resource="pods"):
                for name in ("a", "b", "c"):
                    real_cluster.create(pod(name, HIDDEN))
                real_cluster.create(pod("last", SEEN))
                stream.take_until(lambda event: event["object"]["metadata"]["name"] == "last")
        event = audit_event(proxy, audit_log, head["audit-id"])
    assert head["watchkeeper-filtered"] == "true"
    assert started["responseStatus"]["code"] == event["responseStatus"]["code"] == 200
    assert event["verb"] == "watch"
    assert event["annotations"]["watchkeeper.io/delivered"] == "2"
    assert event["annotations"]["watchkeeper.io/suppressed"] == "3"
    assert event["annotations"]["watchkeeper.io/ended-because"] == "client gone"
    poll_metric(proxy, 0, "watchkeeper_open_watches", resource="pods")
    assert metric(proxy, "watchkeeper_cache_objects", resource="pods", form="object") >= 2


def test_a_stream_that_a_policy_ends_says_so(proxy: ProxyProcess, audit_log: Path, policies: None) -> None:
    """And the metrics tell when a policy cannot be used."""
    with (
        counts(proxy, 1, "watchkeeper_watches_ended_total", resource="pods", reason="scope_changed"),
        proxy.client(VIEWER) as client,
        WatchStream(client, PODS, {}) as stream,
    ):
        stream.take_until(lambda event: event["object"]["metadata"]["name"] == "first")
        more = role_binding("more", user="viewer", namespace=HIDDEN)
        proxy.write_policies({"p.yaml": [*POLICY, role("more", READS, HIDDEN), more]})
        stream.wait_ended()
        event = audit_event(proxy, audit_log, stream.response.headers["audit-id"])
    assert event["annotations"]["watchkeeper.io/ended-because"] == "scope changed"
    assert metric(proxy, "watchkeeper_policy_last_reload_successful") == 1
    proxy.write_policies({"p.yaml": [{"kind": "Nonsense"}]}, wait=False)
    poll_metric(proxy, 0, "watchkeeper_policy_last_reload_successful")
    assert admin_get(proxy, "/readyz").status_code == 200, "the last good policy serves"


def test_the_policy_in_force_is_named_in_the_metrics(proxy: ProxyProcess) -> None:
    *_, last = proxy.log.read_text().split("policy ")
    revision = last.split()[0]
    assert metric(proxy, "watchkeeper_policy_info", revision=revision) == 1
    assert metric(proxy, "watchkeeper_policy_last_reload_success_timestamp_seconds") > 1.7e9


def test_what_a_client_writes_makes_no_series(proxy: ProxyProcess) -> None:
    """Or anybody could fill the memory of the proxy and of Prometheus."""
    with proxy.client(VIEWER) as client:
        for path in ("/apis/made.up/v1/invented", "/invented", f"/api/v1/namespaces/{SEEN}/pods/first/invented"):
            client.get(path)
        client.request("INVENTED", PODS)
    with proxy.client(None) as client:
        client.get("/api/v1/invented")
    assert "invented" not in admin_get(proxy, "/metrics").text.lower()


def test_readiness_names_its_checks_and_turns_red_while_the_api_server_is_away(
    real_cluster: RealCluster, namespaces: None, tmp_path: Path
) -> None:
    certificate = real_cluster.client_certificate(real_cluster.proxy_identity.name)
    with (
        Link(real_cluster.url, real_cluster.pki, certificate) as link,
        ProxyProcess(real_cluster, tmp_path, {"p.yaml": POLICY}, upstream=link.url, flags=ADMIN_FLAGS) as proxy,
    ):
        assert admin_get(proxy, "/readyz").text == "ok"
        assert admin_get(proxy, "/readyz?verbose").text.splitlines() == [
            "[+]ping ok",
            "[+]policy ok",
            "[+]namespaces ok",
            "[+]upstream ok",
            "[+]shutdown ok",
            "readyz check passed",
        ]
        link.refuse()
        poll(
            lambda: admin_get(proxy, "/readyz").status_code == 500,
            timeout_seconds=WAIT_SECONDS,
            failure=lambda: admin_get(proxy, "/readyz?verbose").text,
        )
        assert "[-]upstream failed: the API server does not answer" in admin_get(proxy, "/readyz").text
        assert admin_get(proxy, "/livez").text == "ok", "to begin anew would not help"
        assert metric(proxy, "watchkeeper_upstream_errors_total", kind="connect") > 0
        link.accept()
        poll(
            lambda: admin_get(proxy, "/readyz").status_code == 200,
            timeout_seconds=WAIT_SECONDS,
            failure=lambda: admin_get(proxy, "/readyz?verbose").text,
        )


def test_the_probe_paths_on_the_secure_port_stay_the_api_servers(proxy: ProxyProcess, policies: None) -> None:
    everybody = [{"nonResourceURLs": ["/readyz"], "verbs": ["get"]}]
    proxy.write_policies(
        {"p.yaml": [role("probe", everybody, None), role_binding("probe", user="viewer", namespace=None)]}
    )
    with proxy.client(VIEWER) as client:
        answer = client.get("/readyz", params={"verbose": ""})
        assert "etcd" in answer.text
        assert client.get("/metrics").status_code == 403


def test_a_full_disk_is_counted_and_never_stops_serving(
    real_cluster: RealCluster, namespaces: None, tmp_path: Path
) -> None:
    flags = ("--audit-log-path", "/dev/full", *ADMIN_FLAGS)
    with ProxyProcess(real_cluster, tmp_path, {"p.yaml": POLICY}, flags=flags) as proxy:
        with proxy.client(VIEWER) as client:
            for count in range(1, 4):
                assert client.get(PODS).status_code == 200
                poll_metric(proxy, count, "watchkeeper_audit_events_dropped_total")
        assert proxy.log.read_text().count("No space left on device") == 1, "said once, not for each event"
        assert proxy.stop() == 0


def test_with_a_strict_audit_log_a_full_disk_ends_the_process_and_says_why(
    real_cluster: RealCluster, namespaces: None, tmp_path: Path
) -> None:
    full_later = tmp_path / "audit.log"
    flags = ("--audit-log-path", str(full_later), "--audit-log-strict")
    with ProxyProcess(real_cluster, tmp_path, {"p.yaml": POLICY}, flags=flags) as proxy:
        with proxy.client(VIEWER) as client, WatchStream(client, PODS, {}) as stream:
            stream.take_until(lambda event: event["object"]["metadata"]["name"] == "first")
            full_later.unlink()
            full_later.symlink_to("/dev/full")
            assert client.get(PODS).status_code == 200
            stream.wait_ended()
        poll(
            lambda: "watchkeeper: --audit-log-strict" in proxy.log.read_text(),
            timeout_seconds=WAIT_SECONDS,
            failure=proxy.log.read_text,
        )
        assert proxy.wait_ended() == 1
        *_, last = proxy.log.read_text().splitlines()
        assert last == (
            f"watchkeeper: --audit-log-strict: the audit log `{full_later}` cannot be written: No space left on device"
        )
        assert "Traceback" not in proxy.log.read_text()


def test_the_last_events_are_written_when_the_process_ends(
    real_cluster: RealCluster, namespaces: None, tmp_path: Path
) -> None:
    """An open watch ends with the process, and is told as that."""
    audit_log = tmp_path / "audit.log"
    flags = ("--audit-log-path", str(audit_log), "--log-format", "json")
    with (
        ProxyProcess(real_cluster, tmp_path, {"p.yaml": POLICY}, flags=flags) as proxy,
        proxy.client(VIEWER) as client,
        WatchStream(client, PODS, {}) as stream,
    ):
        stream.take_until(lambda event: event["object"]["metadata"]["name"] == "first")
        assert proxy.stop(signum=signal.SIGTERM) == 0
    assert audit_events(audit_log)[-1]["annotations"]["watchkeeper.io/ended-because"] == "drain"
    records = [json.loads(line) for line in proxy.log.read_text().splitlines()]
    assert {"time", "level", "logger", "message"} <= set(records[0])
